from celery import shared_task
from flask import current_app


@shared_task(bind=True)
def price(self, items):
    total = 0
    for done, (_, cost) in enumerate(items, 1):
        if cost < 0:
            raise ValueError("nothing costs less than nothing")
        total += cost
        self.update_state(state="PROGRESS", meta={"done": done, "of": len(items)})
    return round(total * (1 + current_app.config["TAX"]), 2)


@shared_task(bind=True, max_retries=3, default_retry_delay=60)
def restock(self, deliveries):
    if self.request.retries < deliveries:
        raise self.retry()
    return "on the shelf"
