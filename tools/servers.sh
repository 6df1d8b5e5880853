#!/bin/sh
# Makes sure that the servers the tests run against are installed, and says what it does: RabbitMQ, PostgreSQL and
# Prometheus, as programs only. The tests start nodes of their own, on free ports and with data in temporary folders; no
# daemon of the system is started, now or at boot, and one that runs already is left alone.
#
# IMAGEMILL_TEST_BROKER_URL and IMAGEMILL_TEST_DATABASE_URL name servers that run already; most tests then use those. The
# tests that kill, wipe or starve a server still want one of their own. Safe to repeat, and safe to interrupt.
# With the argument redis-server it also installs that, which a benchmark's peer needs.
set -eu
cd "$(dirname "$0")/.."
log=.venv/servers.log
inhibitor=/usr/sbin/policy-rc.d
inhibited=

say() { printf 'servers: %s\n' "$*"; }
fail() {
    printf 'servers: %s\n' "$@" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

has_rabbitmq() {
    PATH="$PATH:/usr/sbin:/usr/local/sbin:/usr/lib/rabbitmq/bin" command -v rabbitmq-server >/dev/null
}

# Debian keeps the server's programs out of the PATH, one folder a major version.
has_postgres() {
    command -v initdb >/dev/null && return
    for program in /usr/lib/postgresql/*/bin/initdb; do [ -x "$program" ] && return; done
    return 1
}

has_prometheus() {
    command -v prometheus >/dev/null && command -v promtool >/dev/null
}

allow_daemons() {
    [ -z "$inhibited" ] || as_root rm -f "$inhibitor"
    inhibited=
}

# While this file says no, Debian's packages start none of the daemons they bring.
forbid_daemons() {
    [ ! -e "$inhibitor" ] || return 0
    inhibited=yes
    trap allow_daemons EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$inhibitor" >/dev/null
    as_root chmod 755 "$inhibitor"
}

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get "$@" >>$log 2>&1 && return
    tail -n 12 $log >&2
    return 1
}

# The cluster that Debian makes at installation would be started at the next boot; the tests don't need it.
forbid_cluster() {
    [ ! -e /etc/postgresql-common/createcluster.conf ] || return 0
    as_root mkdir -p /etc/postgresql-common
    printf 'create_main_cluster = false\n' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
}

install() {
    command -v apt-get >/dev/null || fail "the tests need$missing, and this system has no apt-get." \
        "Install RabbitMQ 3.10 or newer, PostgreSQL 14 or newer and Prometheus 2.42 or newer by its own means," \
        "then run make again." \
        "Most tests can use running ones: IMAGEMILL_TEST_BROKER_URL=amqp://user:password@host:5672/" \
        "and IMAGEMILL_TEST_DATABASE_URL=postgresql://user:password@host:5432/database, with: .venv/bin/pytest"
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || fail "the tests need$missing, and there is no sudo." \
        "Ask the administrator for: apt-get install$missing"
    say "installing system packages:$missing (as programs; no daemon is started)"
    : >$log
    forbid_daemons
    case $missing in *postgresql*) forbid_cluster ;; esac
    apt update -qq || fail "apt-get can't refresh its package lists; is there a network connection? Then run make again."
    # shellcheck disable=SC2086 # one word a package
    apt install -y -qq --no-install-recommends $missing ||
        fail "apt-get could not install:$missing. Its message is above; the whole story is in $log."
    allow_daemons
    # Where systemd runs, a package also enables what it could not start.
    if [ -d /run/systemd/system ]; then
        case $missing in *rabbitmq*) as_root systemctl disable --now rabbitmq-server >>$log 2>&1 || true ;; esac
        case $missing in *prometheus*) as_root systemctl disable --now prometheus >>$log 2>&1 || true ;; esac
    fi
}

missing=
has_rabbitmq || missing="$missing rabbitmq-server"
has_postgres || missing="$missing postgresql"
has_prometheus || missing="$missing prometheus"
[ "${1:-}" != redis-server ] || command -v redis-server >/dev/null || missing="$missing redis-server"
[ -z "$missing" ] || install
has_rabbitmq || fail "rabbitmq-server is still not to be found after its installation; see $log."
has_postgres || fail "initdb is still not to be found after its installation; see $log."
has_prometheus || fail "prometheus is still not to be found after its installation; see $log."
touch .venv/.ready-servers
say "ready"
