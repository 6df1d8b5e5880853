"""The command with two seconds for each rendering instead of thirty, which no option can say.

`python -m tests.scenarios.impatient run ...`
"""

from __future__ import annotations

from functools import partial

from imagemill.cli import main
from imagemill.embedded import settings
from processor_svc.pool import PoolSettings

DEADLINE_S = 2.0

if __name__ == "__main__":
    settings.PoolSettings = partial(PoolSettings, deadline_s=DEADLINE_S)  # type: ignore[misc, assignment]  # a class
    main()
