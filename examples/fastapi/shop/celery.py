from autocelery.presets.fastapi import celery_app

celery = celery_app("shop", include=["shop.tasks"], time_limit=600)
