"""Notebooks and shells: where code is typed in, and is in no module that a host could import."""
