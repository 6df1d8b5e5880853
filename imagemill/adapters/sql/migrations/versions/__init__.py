"""One module a revision. What a release has shipped is never changed: the next step is a new module."""
