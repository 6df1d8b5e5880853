"""Runs a command without root's right to pass over file permissions, and otherwise as it is.

`python -m tests.scenarios.powerless command ...`: a root that lacks CAP_DAC_OVERRIDE meets the same refusals as
anybody, with no second user that would have to be able to read this project.
"""

from __future__ import annotations

import ctypes
import os
import sys

_PR_CAPBSET_DROP = 24
_CAP_DAC_OVERRIDE = 1

if __name__ == "__main__":
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        # The next execve() takes from root's rights what the bounding set lacks (capabilities(7)).
        if libc.prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, 0, 0, 0) != 0:
            sys.exit(f"the capability can't be dropped: {os.strerror(ctypes.get_errno())}")
    os.execv(sys.argv[1], sys.argv[1:])
