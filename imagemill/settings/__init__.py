"""Every setting, declared once: what it is called, what it may be, what it means, and where its value came from.

A group (`groups.py`) is what one command or service can be told. `load` (`loading.py`) gives a group's values out of
command line, environment, file, profile and defaults, in that order, each with its origin. Nothing here is imported
that the command's help would have to wait for.
"""
