"""Environments: the third-party packages that a snapshot needs, the worker's own or an overlay that is built once."""
