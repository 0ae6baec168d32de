"""Processes: the agent beside a worker, the zygotes and hosts that it owns, and the leases on them. No Celery."""
