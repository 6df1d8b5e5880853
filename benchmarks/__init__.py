"""How fast the mill is, measured beside others in the same run; see `python -m benchmarks --help`."""
