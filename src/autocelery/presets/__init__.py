"""Celery configured as one would in production, in a line: one module a framework."""
