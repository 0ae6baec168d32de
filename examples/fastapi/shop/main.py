from typing import Annotated

from celery.result import AsyncResult
from fastapi import Depends, FastAPI
from pydantic import BaseModel

from autocelery.presets.fastapi import lifespan, result_of, tasks_router
from shop.celery import celery
from shop.tasks import bake, price

app = FastAPI(lifespan=lifespan(celery))
app.include_router(tasks_router(celery, interval=0.05))


class Order(BaseModel):
    items: list[tuple[str, float]]


@app.post("/orders", status_code=202)
def order(given: Order):
    return {"id": price.delay(given.items).id}


@app.post("/bread/{trays}", status_code=202)
def bread(trays: int):
    return {"id": bake.delay(trays).id}


@app.get("/orders/{task_id}/price")
def show(result: Annotated[AsyncResult, Depends(result_of(celery))]):
    return {"price": result.result if result.successful() else None}
