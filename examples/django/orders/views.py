from django.db import transaction
from django.http import JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from orders.models import Order
from orders.tasks import send_invoice


@csrf_exempt
@require_POST
@transaction.atomic
def place(request):
    """Take an order; its invoice is sent once the order is committed."""
    order = Order.objects.create(customer=request.POST["customer"], amount=request.POST["amount"])
    result = send_invoice.delay(order.pk)
    return JsonResponse({"order": order.pk, "task": result.id})
