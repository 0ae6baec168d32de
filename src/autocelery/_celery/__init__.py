"""The only code that touches Celery's and kombu's insides, together with ``autocelery_host``."""
