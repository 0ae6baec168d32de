"""The dashboard: workers, queues and tasks as they are now, on one page."""
