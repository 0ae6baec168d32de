"""Bringing in the schedules of other schedulers; what they are read from is never written to."""
