"""One module a revision. What a release has shipped is never changed: the next step is a new module.

From 0007 on each says in `compatible_from` which is the oldest revision whose versions can work on what it leaves
behind; it never falls. A step that only adds repeats what the step before it says: tables, indexes that are not unique,
columns that may be null or have a default of the server's. Any other step says its own revision, or that of the first
version that no longer minds: a column is dropped one version after the last one that named it.
"""
