"""What runs in zygote and host: standard library and Celery only."""
