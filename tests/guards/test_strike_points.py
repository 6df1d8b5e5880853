"""Between any two effects of the hot path a test can have the process die: after each of them stands a strike point."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from imagemill.strikes import Point
from tests.faults.courses import EMBEDDED, SERVICES
from tests.guards.tree import ROOT, name

HOT_PATH = ("gateway", "downloader_svc", "processor_svc", "storage_svc", "imagemill/runtime", "imagemill/adapters")

EFFECTS = re.compile(
    r"\.(publish|ack|reject|commit)$|blobs\.(adopt|copy|settle|delete)$|\._settle$|^entry\.done$|_consumer\.settle$"
    r"|storage\.(OpenBatch|AppendItems|SealBatch|ClaimItems|ConfirmClaim)$"
    r"|^intake\.(open_batch|append_items|seal_batch)$|^(fold|claim_items)$|^self\._deal$"
)
"""Calls whose effect outlives the process: something put, published, acknowledged or committed."""

NONE_NEEDED = {
    "imagemill/adapters/rabbitmq/broker.py RabbitBroker.publish": "forwards to the session",
    "imagemill/adapters/rabbitmq/broker.py RabbitBroker.redrive": "a command of people, who may repeat it",
    "imagemill/adapters/rabbitmq/consumer.py Consumer._received": "a canary is nobody's work",
    "imagemill/adapters/rabbitmq/consumer.py _Delivery.ack": "it is gathered with others; sending them has its point",
    "imagemill/adapters/rabbitmq/consumer.py _Hand.give_back": "a message that goes back is nowhere else",
    "imagemill/adapters/rabbitmq/session.py Session.publish": "each confirmation has its point",
    "imagemill/adapters/rabbitmq/session.py Session.broadcast": "each confirmation has its point",
    "imagemill/adapters/rabbitmq/session.py Session.prove": "each confirmation has its point",
    "imagemill/adapters/rabbitmq/topology.py _keep_latest": "queues are settled before there is work",
    "imagemill/adapters/rabbitmq/topology.py _prove": "queues are settled before there is work",
    "imagemill/adapters/rabbitmq/topology.py _renew": "queues are settled before there is work",
    "imagemill/adapters/rabbitmq/topology.py _epoch_records": "queues are settled before there is work",
    "imagemill/adapters/rabbitmq/topology.py settle": "queues are settled before there is work",
    "imagemill/adapters/sql/postgres.py PostgresRecords.write": "forwards to the connection",
    "imagemill/runtime/outbox.py Outbox._publish": "forwards to the broker; whoever calls it passes a point",
    "imagemill/runtime/stage.py Stage._announce": "forwards to the outbox",
    "storage_svc/service.py look_after_leases.look_after": "a marker is nobody's work, and nothing follows it",
    "storage_svc/events.py fold_again.deal": "what settles a dead letter is followed by a point",
}
"""Functions with an effect and no point after it, and why."""


def lacking(source: str, place: str) -> Iterator[tuple[str, int]]:
    """Yield each function, with the line, in which an effect is not directly followed by a strike point."""
    for function, statement, following in _statements(ast.parse(source), (), None):
        if _has_effect(statement) and not _is_strike(following):
            yield f"{place} {'.'.join(function)}", statement.lineno


def _statements(
    node: ast.AST, inside: tuple[str, ...], behind: ast.stmt | None
) -> Iterator[tuple[tuple[str, ...], ast.stmt, ast.stmt | None]]:
    """Yield every statement that holds no others, with the names around it, and the statement that follows it.

    What follows the last one of a `with` is what follows the `with`.
    """
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        block: Sequence[ast.stmt] = getattr(node, field, ())
        for statement, next_one in zip_longest(block, block[1:]):
            following = next_one or (behind if isinstance(node, ast.With | ast.AsyncWith) else None)
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield from _statements(statement, (*inside, statement.name), None)
            elif hasattr(statement, "body"):
                yield from _statements(statement, inside, following)
            else:
                yield inside, statement, following


def _has_effect(statement: ast.stmt) -> bool:
    return any(
        isinstance(node, ast.Call) and EFFECTS.search(ast.unparse(node.func)) is not None
        for node in ast.walk(statement)
    )


def _is_strike(statement: ast.stmt | None) -> bool:
    """Whether a statement passes a point, if only when something came of the effect."""
    if isinstance(statement, ast.If):
        return _is_strike(statement.body[0])
    return statement is not None and ast.unparse(statement).startswith("strike(Point.")


def hot_files() -> list[Path]:
    return sorted(path for room in HOT_PATH for path in (ROOT / room).rglob("*.py"))


def test_every_effect_of_the_hot_path_is_followed_by_a_strike_point() -> None:
    found: dict[str, list[int]] = {}
    for path in hot_files():
        for function, line in lacking(path.read_text(encoding="utf-8"), name(path)):
            found.setdefault(function, []).append(line)

    told = "Add strike(Point.…) as the next statement, and a point to imagemill/strikes.py if none fits."
    assert {function: lines for function, lines in found.items() if function not in NONE_NEEDED} == {}, told
    assert [function for function in NONE_NEEDED if function not in found] == [], "these need no exception any more"


def test_every_point_is_passed_somewhere() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in hot_files())
    passed = set(re.findall(r"strike\(Point\.(\w+)\)", code))

    assert passed == set(Point.__members__)


def test_every_point_is_struck_by_a_test() -> None:
    struck = {strike.point for course in (EMBEDDED, *SERVICES.values()) for strike in course}

    assert struck == set(Point)


def test_every_point_says_what_is_done_and_what_is_not() -> None:
    source = (ROOT / "imagemill" / "strikes.py").read_text(encoding="utf-8")
    for point in Point:
        assert re.search(rf'    {point.name} = "{point.value}"\n    """[A-Z][^"]+\."""\n', source), point


def test_control_an_effect_without_a_point_is_found() -> None:
    source = """
class Stage:
    async def good(self):
        await broker.publish(1)
        strike(Point.JOBS_PUBLISHED)
        if await storage.ClaimItems(1):
            await delivery.ack()
            strike(Point.JOBS_ACKNOWLEDGED)

    async def bad(self):
        async with unit:
            await broker.publish(1)
            await delivery.ack()
            strike(Point.JOBS_ACKNOWLEDGED)
"""

    assert list(lacking(source, "a.py")) == [("a.py Stage.bad", 12)]
