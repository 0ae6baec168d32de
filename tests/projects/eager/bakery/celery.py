import os

from celery import Celery

from autocelery import Autocelery

app = Celery("bakery", include=["bakery.tasks"])
prefix = os.environ.get("BAKERY_PREFIX", "")
if prefix:
    app.conf.update(
        broker_url=os.environ["BAKERY_REDIS"],
        result_backend=os.environ["BAKERY_REDIS"],
        broker_transport_options={"global_keyprefix": prefix},
        result_backend_transport_options={"global_keyprefix": prefix},
        broker_connection_retry_on_startup=False,
        redis_socket_timeout=30,
    )
app.conf.update(result_extended=True, task_publish_retry=False)
auto = Autocelery(app)
