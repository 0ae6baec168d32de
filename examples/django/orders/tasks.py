from celery import shared_task
from django.db import transaction

from orders.models import Order


@shared_task
def send_invoice(pk):
    """Give an order its invoice; it takes the primary key, and reads the order as it is by then."""
    order = Order.objects.get(pk=pk)
    order.invoice = f"{order.pk:05d} for {order.customer}"
    order.save()
    return order.invoice


@shared_task
def remind():
    """Say which orders have no invoice yet; beat sends it each morning."""
    return [order.customer for order in Order.objects.filter(invoice="").order_by("pk")]


@shared_task
def total(amounts):
    return sum(amounts)


@shared_task(bind=True, max_retries=2, default_retry_delay=1)
def wait_for_payment(self, pk):
    """Look again until somebody has paid; each look is a transaction of its own."""
    with transaction.atomic():
        order = Order.objects.select_for_update().get(pk=pk)
        if self.request.retries < 2:
            raise self.retry()
        order.customer += " (paid)"
        order.save()
    return self.request.retries
