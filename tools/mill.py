"""`make up` and `make down`: a whole mill of several processes on this machine, its servers included.

PostgreSQL, RabbitMQ and the four services run in the background. Everything they keep lies in `.mill`: data, pictures,
logs, and `mill.json`, which says what runs where. Each step may be repeated: what runs already is left alone. So that
there can be several, MILL_HOME names another folder, and MILL_PORTS=free takes any ports that are free.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

ROOT = Path(__file__).parent.parent
HOME = Path(os.environ.get("MILL_HOME") or ROOT / ".mill").absolute()
LOGS = HOME / "logs"
STATE = HOME / "mill.json"
IMAGEMILL = str(Path(sys.executable).with_name("imagemill"))
SERVICES = ("storage", "processor", "downloader", "gateway")
"""In the order in which they are started, and the other way round stopped."""
PORTS = {
    "gateway": 50051,
    "storage": 50052,
    "downloader": 50053,
    "processor": 50054,
    "postgres": 50055,
    "rabbitmq": 50056,
    "rabbitmq-nodes": 50057,
    "rabbitmq-names": 50058,
}
"""The ports that are taken unless something else has them."""
FREE_PORTS = os.environ.get("MILL_PORTS") == "free"
START_S = 60.0
STOP_S = 40.0
_RABBITMQ = ("/usr/lib/rabbitmq/bin", "/usr/local/lib/rabbitmq/bin", "/usr/local/sbin", "/usr/sbin")


class Trouble(Exception):
    """The mill can't be brought up or down; the text says why, and what to do."""


def up() -> None:
    """Start what does not run, and say how to use it."""
    LOGS.mkdir(parents=True, exist_ok=True)
    state = read_state()
    start_postgres(state)
    start_rabbitmq(state)
    environment = settings_of(state)
    run([IMAGEMILL, "migrate"], environment)
    for service in SERVICES:
        told = environment | {"IMAGEMILL_LISTEN": address(state, service)}
        start(state, service, [IMAGEMILL, service], told, partial(serves, state, service))
    target = address(state, "gateway")
    to = "" if target == "127.0.0.1:50051" else f" --to {target}"
    say(f"The mill is up at {target}.")
    say(f"  Pictures:  {HOME / 'blobs'}")
    say(f"  Logs:      {LOGS}")
    say(f"Hand a list in with: .venv/bin/imagemill submit urls.txt --watch{to}")
    say("Stop it with: make down. It keeps its batches, and goes on with them at the next make up.")


def down() -> None:
    """Stop everything in good order, what feeds before what is fed."""
    state = read_state()
    running = [name for name in (*reversed(SERVICES), "rabbitmq", "rabbitmq-names", "postgres") if runs(state, name)]
    for name in running:
        # PostgreSQL's word for: end sessions, then stop.
        stop(state, name, signal.SIGINT if name == "postgres" else signal.SIGTERM)
    say("The mill is down." if running else "There was no mill up.")


def start_postgres(state: dict[str, Any]) -> None:
    """Make the cluster at first, then start it."""
    folder = HOME / "postgres"
    port = port_of(state, "postgres")
    as_owner = unprivileged(folder)
    if not (folder / "data").exists():
        state.setdefault("password", secrets.token_hex(16))
        write_state(state)
        say("Making a database.")
        with_password = folder / "password"
        with_password.write_text(state["password"])
        hand_over(with_password)
        words = ["--username=mill", "--auth=scram-sha-256", f"--pwfile={with_password}", "--encoding=UTF8"]
        run([*as_owner, postgres("initdb"), *words, "--no-locale", "-D", str(folder / "data.new")], {}, folder)
        with_password.unlink()
        (folder / "data.new").rename(folder / "data")
    settings = (f"port={port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={folder}")
    words = [word for setting in settings for word in ("-c", setting)]
    command = [*as_owner, postgres("postgres"), "-D", str(folder / "data"), *words]
    ready = [postgres("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    start(state, "postgres", command, {}, lambda: subprocess.run(ready, check=False).returncode == 0, folder)
    named = [postgres("psql"), "-h", "127.0.0.1", "-p", str(port), "-U", "mill", "-tAXqc"]
    password = {"PGPASSWORD": state["password"]}
    if not run([*named, "SELECT 1 FROM pg_database WHERE datname = 'mill'", "postgres"], password):
        run([*named, "CREATE DATABASE mill", "postgres"], password)


def start_rabbitmq(state: dict[str, Any]) -> None:
    """Start a node that meets no other one of this machine."""
    folder = HOME / "rabbitmq"
    (folder / "home").mkdir(parents=True, exist_ok=True)
    port, nodes, names = (port_of(state, name) for name in ("rabbitmq", "rabbitmq-nodes", "rabbitmq-names"))
    (folder / "plugins").write_text("[].\n")
    (folder / "rabbitmq.conf").write_text(f"listeners.tcp.default = 127.0.0.1:{port}\n")
    environment = {
        "HOME": str(folder / "home"),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(names),
        # What is stored belongs to this name.
        "RABBITMQ_NODENAME": "imagemill@localhost",
        "RABBITMQ_DIST_PORT": str(nodes),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(LOGS),
        "RABBITMQ_PID_FILE": str(folder / "node.pid"),
    }
    epmd = [rabbitmq("epmd"), "-address", "127.0.0.1", "-port", str(names)]
    start(state, "rabbitmq-names", epmd, environment, lambda: answers(names))
    start(state, "rabbitmq", [rabbitmq("rabbitmq-server")], environment, lambda: greets(port))


def settings_of(state: dict[str, Any]) -> dict[str, str]:
    """What every service is told."""
    ports = state["ports"]
    return {
        "IMAGEMILL_DATABASE_URL": f"postgresql://mill:{state['password']}@127.0.0.1:{ports['postgres']}/mill",
        "IMAGEMILL_BROKER_URL": f"amqp://guest:guest@127.0.0.1:{ports['rabbitmq']}/",
        "IMAGEMILL_BLOB_URL": f"file://{HOME / 'blobs'}",
        "IMAGEMILL_STORAGE_TARGET": address(state, "storage"),
    }


def start(
    state: dict[str, Any],
    name: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    is_ready: Callable[[], bool],
    folder: Path = ROOT,
) -> None:
    """Start a program in the background unless it runs, and wait until it can be used."""
    if not runs(state, name):
        say(f"Starting {name} at {address(state, name)}.")
        with (LOGS / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        state["programs"][name] = {"pid": process.pid, "since": since(process.pid)}
        write_state(state)
    deadline = time.monotonic() + START_S
    while not is_ready():
        if not runs(state, name):
            raise Trouble(f"{name} has ended at its start; {LOGS / f'{name}.log'} says why.")
        if time.monotonic() > deadline:
            raise Trouble(f"{name} can't be used after {START_S:g} s; {LOGS / f'{name}.log'} says why.")
        time.sleep(0.1)


def stop(state: dict[str, Any], name: str, number: signal.Signals) -> None:
    """Ask a program to end, and wait for it."""
    say(f"Stopping {name}.")
    pid = state["programs"][name]["pid"]
    os.kill(pid, number)
    deadline = time.monotonic() + STOP_S
    while runs(state, name):
        if time.monotonic() > deadline:
            raise Trouble(f"{name} (process {pid}) has not ended within {STOP_S:g} s; {LOGS} may say why.")
        time.sleep(0.05)
    del state["programs"][name]
    write_state(state)


def runs(state: Mapping[str, Any], name: str) -> bool:
    """Whether a program that was started here still lives: not another one that has its number now."""
    known = state["programs"].get(name)
    return known is not None and known["since"] is not None and since(known["pid"]) == known["since"]


def since(pid: int) -> int | None:
    """When a process was started, by the kernel's clock; None when there is none, or it only waits to be forgotten."""
    with contextlib.suppress(ChildProcessError):  # an earlier call's
        os.waitpid(pid, os.WNOHANG)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])


def port_of(state: dict[str, Any], name: str) -> int:
    """The port that a program listens on: its usual one, or a free one when something else has it."""
    if name not in state["ports"] or not (runs(state, name.partition("-nodes")[0]) or is_free(state["ports"][name])):
        usual = PORTS[name]
        state["ports"][name] = usual if is_free(usual) and not FREE_PORTS else free_port()
        write_state(state)
    return int(state["ports"][name])


def address(state: dict[str, Any], name: str) -> str:
    """Where a program listens."""
    return f"127.0.0.1:{port_of(state, name)}"


def is_free(port: int) -> bool:
    """Whether nothing listens on a port."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def answers(port: int) -> bool:
    """Whether something takes connections."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False


def greets(port: int) -> bool:
    """Whether a RabbitMQ that has booted answers: its greeting is a method frame on channel 0."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(3) == b"\x01\x00\x00"
    except OSError:
        return False


def serves(state: dict[str, Any], service: str) -> bool:
    """Whether a service reports SERVING. A gateway must have a storage service for that, and a worker as well."""
    with grpc.insecure_channel(address(state, service)) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2.0)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def unprivileged(folder: Path) -> list[str]:
    """What makes a command run as somebody who owns `folder`: PostgreSQL does not run as root."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return []
    hand_over(folder)
    owner = somebody()
    command = ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
    if subprocess.run([*command, "test", "-w", str(folder)], check=False).returncode != 0:
        raise Trouble(
            f"PostgreSQL does not run as root, and {owner.pw_name} can't get to {folder}. "
            "Move the project to where others may look, or run make up as somebody else."
        )
    return command


def hand_over(path: Path) -> None:
    """Make PostgreSQL's user the owner, where this is root."""
    if os.geteuid() == 0:
        owner = somebody()
        os.chown(path, owner.pw_uid, owner.pw_gid)


def somebody() -> pwd.struct_passwd:
    """The user that PostgreSQL runs as where this is root."""
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise Trouble("PostgreSQL does not run as root, and there is no user postgres or nobody. Use another account.")


def postgres(name: str) -> str:
    """A program of PostgreSQL; Debian keeps them out of the PATH, a folder a major version."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name, reverse=True)
    return found(name, [str(path) for path in versions])


def rabbitmq(name: str) -> str:
    """A program of RabbitMQ. Debian's in /usr/sbin come last: they change the user."""
    return found(name, _RABBITMQ)


def found(name: str, folders: Sequence[str]) -> str:
    """The path of a program."""
    path = shutil.which(name, path=os.pathsep.join((*folders, os.environ.get("PATH", ""))))
    if path is None:
        raise Trouble(f"{name} is nowhere to be found; tools/servers.sh installs it on Debian and Ubuntu.")
    return path


def run(command: Sequence[str], environment: Mapping[str, str], folder: Path = ROOT) -> str:
    """Run a command to its end, and return what it prints."""
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Trouble(f"{Path(command[0]).name} failed:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def read_state() -> dict[str, Any]:
    """What was started, and where."""
    try:
        state: dict[str, Any] = json.loads(STATE.read_text())
    except FileNotFoundError:
        state = {}
    return {"ports": {}, "programs": {}} | state


def write_state(state: Mapping[str, Any]) -> None:
    """Remember what was started. The file holds the database's password: it is its owner's alone."""
    temporary = STATE.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(state, file, indent=2)
    temporary.replace(STATE)


def say(text: str) -> None:
    """Tell whoever runs this."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has gone, as `head` does; the work goes on.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> int:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wish", choices=("up", "down"))
    try:
        {"up": up, "down": down}[parser.parse_args().wish]()
    except Trouble as trouble:
        sys.stderr.write(f"mill: {trouble}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
