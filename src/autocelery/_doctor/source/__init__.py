"""The project's Python as it is written: read, never imported."""
