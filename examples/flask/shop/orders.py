from celery.result import AsyncResult
from flask import Blueprint, request

from shop.tasks import price

orders = Blueprint("orders", __name__, url_prefix="/orders")


@orders.post("")
def order():
    return {"id": price.delay(request.get_json()["items"]).id}, 202


@orders.get("/<task_id>")
def show(task_id):
    result = AsyncResult(task_id)
    if result.failed():
        return {"state": result.state, "error": str(result.result)}
    return {"state": result.state, "price": result.result if result.successful() else None}
