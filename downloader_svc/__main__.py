"""`python -m downloader_svc`: the service in a process of its own, by the settings of its environment."""

from __future__ import annotations

import sys

from downloader_svc.process import NAME, work
from imagemill.runtime.process import main
from imagemill.settings.service_groups import Downloader

if __name__ == "__main__":
    sys.exit(main(NAME, Downloader, work))
