"""Celery on automatic: a running fleet runs the code that is in front of you."""
