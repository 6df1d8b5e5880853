"""The command with two seconds for each rendering instead of thirty, which no option can say.

`python -m tests.scenarios.impatient run ...`
"""

from __future__ import annotations

from functools import partial
from unittest import mock

from imagemill.cli import main
from processor_svc.pool import PoolSettings

DEADLINE_S = 2.0

if __name__ == "__main__":
    with mock.patch("imagemill.embedded.settings.PoolSettings", partial(PoolSettings, deadline_s=DEADLINE_S)):
        main()
