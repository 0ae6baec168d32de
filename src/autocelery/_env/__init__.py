"""Environments: the third-party packages that a snapshot needs; today the worker's own (see ARCHITECTURE.md)."""
