"""Trust, and settings that do not do what they say."""

from __future__ import annotations

from tests.unit.doctor.cases.case import fires, silent

CASES = [
    fires("AC090", "pickle", accept_content=["json", "pickle"], says="accept_content = ['json']"),
    silent("AC090", "json", accept_content=["json"]),
    fires("AC091", "not-accepted", task_serializer="pickle", accept_content=["json"]),
    silent("AC091", "accepted", task_serializer="yaml", accept_content=["json", "yaml"]),
    silent("AC091", "by-mime-type", accept_content=["application/json"]),
    fires("AC092", "literal", "URL = 'redis://:s3cr3t-w0rd@cache.internal:6379/0'\n", says="cache.internal"),
    silent("AC092", "environment", "import os\nURL = os.environ.get('X', 'redis://localhost')\n"),
    silent("AC092", "guest", "URL = 'amqp://guest:guest@localhost//'\n"),
    silent("AC092", "example", "URL = 'rediss://default:s3cr3t@redis.example.com:6380/0'\n"),
    silent("AC092", "container", "URL = 'amqp://shop:s3cr3t@broker:5672//'\n"),
    silent(
        "AC092",
        "place",
        "URL = 'amqp://%s:%s@mq.internal//'\nOTHER = 'amqp://shop:${PASSWORD}@mq.internal//'\n",
    ),
    silent("AC092", "template", "URL = 'redis://:{password}@cache.internal'\n"),
    fires("AC093", "none", broker_url="rediss://localhost:6379/0?ssl_cert_reqs=CERT_NONE"),
    fires("AC093", "options", broker_url="rediss://localhost/0", broker_use_ssl={"ssl_cert_reqs": "none"}),
    silent("AC093", "by-default", broker_url="amqps://localhost//", broker_use_ssl={"ca_certs": "ca.pem"}),
    silent("AC093", "required", broker_url="rediss://localhost:6379/0?ssl_cert_reqs=CERT_REQUIRED"),
    fires("AC094", "eager", task_always_eager=True),
    silent("AC094", "sent"),
    fires("AC095", "typo", task_ack_late=True, says="task_acks_late"),
    silent("AC095", "own", shop_currency="EUR"),
    fires(
        "AC096", "prefixed", broker_transport_options={"redis_socket_timeout": 5}, says="'socket_timeout': 5"
    ),
    silent("AC096", "right", broker_transport_options={"socket_timeout": 5}),
    fires("AC097", "none", broker_pool_limit=None),
    fires("AC097", "zero", broker_pool_limit=0),
    silent("AC097", "default"),
    fires("AC098", "publish", task_publish_retry=False),
    silent("AC098", "default"),
    fires("AC099", "far", broker_url="redis://cache.internal:6379/0"),
    silent(
        "AC099",
        "timeout",
        broker_url="redis://cache.internal/0",
        broker_transport_options={"socket_timeout": 9},
    ),
    silent("AC099", "here"),
]
