"""What the demo asks for and what is to become of it: the list, line by line."""

from __future__ import annotations

from dataclasses import dataclass

GOOD = 50

RETRIES = 1
"""Further attempts in the demo: one shows that there are such, three would take the audience's patience."""

ALLOWED_NET = "127.0.0.1/32"
"""The demo's own server and nothing else. The address to be refused is a loopback one as well, 127.0.0.2, so that
nothing would leave this machine even if it were not refused."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the demo's list and what is to become of it; an empty `code` means success."""

    text: str
    code: str = ""
    story: str = ""
    """What a reader may notice; empty for the plain good ones."""
    duplicate: bool = False


def plan(port: int) -> list[Line]:
    """Write the list for a server on `port` of this machine."""
    here = f"http://127.0.0.1:{port}"
    good = [Line(f"{here}/photos/landscape-{number:02d}") for number in range(GOOD)]
    trouble = [
        Line(f"{here}/missing/boat.jpg", "SOURCE_NOT_FOUND", "answers 404: failed at once, no second try"),
        Line(f"{here}/flaky/harbour.jpg", "", "answers 503 twice, then well: succeeded"),
        Line(f"{here}/slow/glacier.jpg", "", "takes two seconds: succeeded, and nobody waited for it"),
        Line(f"{here}/truncated/tower.jpg", "CONTENT_TRUNCATED", "breaks off halfway: tried again, then failed"),
        Line(f"{here}/empty/void.jpg", "CONTENT_EMPTY", "sends nothing: tried again, then failed"),
        Line(f"{here}/html/login.jpg", "CONTENT_IS_HTML", "sends a login page: tried again, then failed"),
        Line(f"{here}/text/notes.jpg", "NOT_AN_IMAGE", "sends plain text: failed at once"),
        Line(
            f"{here}/copies/landscape-00-again.jpg", "", "has the bytes of line 1: rendered once, column duplicate_of",
            duplicate=True,
        ),
        Line(f"htp//127.0.0.1:{port}/typo.jpg", "SOURCE_INVALID", "is no URL: failed without a request"),
        Line(
            f"http://127.0.0.2:{port}/router.jpg",
            "ADDRESS_DENIED",
            "is a private address that nobody allowed: never dialled",
        ),
    ]  # fmt: skip
    # Trouble among the good ones, as in life; the first stays first, since another line repeats it.
    lines = good[:]
    for place, line in enumerate(trouble):
        lines.insert(5 * place + 3, line)
    return lines
