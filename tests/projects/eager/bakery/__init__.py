"""A small project whose tasks run with a worker and without one."""
