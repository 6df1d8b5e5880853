"""How long a call is tried again while the mill is away."""

from __future__ import annotations

import asyncio
import random
import time

from imagemill.client.errors import MillError

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0


class Patience:
    """Spaces the tries of one call, or of one watch, and ends them."""

    def __init__(self, limit_s: float) -> None:
        """`limit_s` is how long the mill may be away, in seconds."""
        self._limit_s = limit_s
        self.heard()

    def heard(self) -> None:
        """Begin anew: the mill has answered."""
        self._away_since: float | None = None
        self._pause_s = FIRST_PAUSE_S

    async def wait_after(self, error: MillError) -> None:
        """Wait before the next try, a little longer each time.

        Raises:
            MillError: `error`, when it won't pass by itself or the mill has been away for too long.
        """
        now = time.monotonic()
        # Not from the last answer: its reader may have been busy with it for longer than the limit.
        self._away_since = now if self._away_since is None else self._away_since
        left = self._away_since + self._limit_s - now
        if not error.may_pass or left <= 0:
            raise error
        # Many clients lose the same mill at the same moment; they must not all come back at the same moment.
        await asyncio.sleep(min(left, self._pause_s * random.uniform(0.5, 1.0)))
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
