from shop.celery import celery


@celery.task(bind=True)
def price(self, items):
    total = 0
    for done, (_, cost) in enumerate(items, 1):
        if cost < 0:
            raise ValueError("nothing costs less than nothing")
        total += cost
        self.update_state(state="PROGRESS", meta={"done": done, "of": len(items)})
    return total


@celery.task(bind=True)
def bake(self, trays):
    """Tell how far it is, slowly enough to be seen."""
    import time

    for done in range(1, trays + 1):
        self.update_state(state="PROGRESS", meta={"done": done, "of": trays})
        time.sleep(0.2)
    return trays
