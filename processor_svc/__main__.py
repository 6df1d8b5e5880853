"""`python -m processor_svc`: the service in a process of its own, by the settings of its environment."""

from __future__ import annotations

import sys

from imagemill.runtime.process import main
from imagemill.settings.service_groups import Processor
from processor_svc.process import NAME, work

if __name__ == "__main__":
    sys.exit(main(NAME, Processor, work))
