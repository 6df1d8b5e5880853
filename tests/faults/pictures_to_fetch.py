"""The list that is worked off while things die, how the server answers for it, and what must come of each line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from imagemill.domain.items import State
from tests.support import pictures
from tests.support.picture_server import PictureServer, Reply, html, picture, status

BASE = pictures.jpeg(160, 120)
QUICK_S, SLOW_S = 0.02, 20.0
"""The shortest and the longest that one answer takes."""
WORKING = 0.75
"""The share of the time in which downloads go on."""
_GONE, _SECOND_TIME, _TWIN, _UNREADABLE = 3, 17, 29, 41
"""Of every fifty lines, those that are trouble."""


class PicturesToFetch:
    """Answers so slowly that the work lasts as long as the faults do, however much of the time nothing works."""

    def __init__(self, server: PictureServer, items: int, at_once: int) -> None:
        self.items = items
        self.seconds_left: Callable[[], float] = float
        """How long work must still last."""
        self._server = server
        self._at_once = at_once
        server.fallback = self._answer

    @property
    def urls(self) -> list[str]:
        """The list."""
        return [self._server.url(f"/{number}.jpg") for number in range(self.items)]

    def repeats(self, attempts: dict[int, int]) -> int:
        """How many requests there were beyond one for each attempt that an item has had."""
        asked = dict(self._server.requests)
        return sum(asked.get(f"/{number}.jpg", 0) - attempts.get(number, 1) for number in range(self.items))

    def _answer(self, path: str) -> Reply:
        left = max(self.items - len(self._server.requests), 1)
        pause_s = min(max(WORKING * self._at_once * self.seconds_left() / left, QUICK_S), SLOW_S)
        reply = _reply(int(path[1:].partition(".")[0]), again=self._server.requests[path] > 1)
        return replace(reply, bytes_per_s=len(reply.body) / pause_s) if reply.body else reply


def _reply(number: int, *, again: bool) -> Reply:
    place = number % 50
    if place == _GONE:
        return status(404)
    if place == _SECOND_TIME and not again:
        return html()
    if place == _UNREADABLE:
        return Reply(_drawing(number), headers={"Content-Type": "image/svg+xml"})
    return picture(pictures.numbered(BASE, number if place != _TWIN else number - 10))


def _drawing(number: int) -> bytes:
    """An image of a format that nobody renders."""
    return f'<svg xmlns="http://www.w3.org/2000/svg"><title>{number:099d}</title></svg>'.encode()


def end_of(number: int) -> State:
    """The state in which an item must end."""
    return State.FAILED if number % 50 in (_GONE, _UNREADABLE) else State.SUCCEEDED


def twin_of(number: int) -> int | None:
    """The lower index whose bytes an item must be found to have."""
    return number - 10 if number % 50 == _TWIN else None
