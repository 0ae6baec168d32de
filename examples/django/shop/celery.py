"""The Celery app of shop: celery -A shop worker"""

from autocelery.presets.django import celery_app

app = celery_app("shop")
