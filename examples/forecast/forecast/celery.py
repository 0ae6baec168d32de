"""The Celery app."""

from celery import Celery

from autocelery import Autocelery

app = Celery(
    "forecast",
    broker="redis://localhost:6379/0",
    backend="redis://localhost:6379/0",
    include=["forecast.tasks"],
)
auto = Autocelery(app)
