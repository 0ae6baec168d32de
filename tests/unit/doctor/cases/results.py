"""Results."""

from __future__ import annotations

from tests.unit.doctor.cases.case import fires, silent

_ADD = "@app.task\ndef add(x, y):\n    return x + y\n"
_IGNORED = "@app.task(ignore_result=True)\ndef log(x):\n    pass\n"
_REDIS = "redis://localhost:6379/1"

CASES = [
    fires("AC030", "unread", _ADD, result_backend=_REDIS),
    silent("AC030", "read", f"{_ADD}def view():\n    return add.delay(1, 2).get()\n", result_backend=_REDIS),
    silent("AC030", "kept", f"{_ADD}def view():\n    return add.delay(1, 2).id\n", result_backend=_REDIS),
    silent("AC030", "ignored", _IGNORED, result_backend=_REDIS),
    silent("AC030", "no-backend", _ADD),
    fires("AC031", "none", result_backend=_REDIS, result_expires=None, says="result_expires = 86400"),
    fires("AC031", "zero", result_backend=_REDIS, result_expires=0),
    silent("AC031", "a-day", result_backend=_REDIS),
    silent("AC031", "no-backend", result_expires=None),
    fires("AC032", "database", result_backend="db+sqlite:///r.db"),
    silent("AC032", "with-beat", result_backend="db+sqlite:///r.db", files={"Procfile": "b: celery -A proj beat\n"}),
    silent("AC032", "redis", result_backend=_REDIS),
    fires("AC033", "get", f"{_ADD}def view():\n    return add.delay(1, 2).get()\n", says="proj.tasks.add"),
    silent("AC033", "backend", f"{_ADD}def view():\n    return add.delay(1, 2).get()\n", result_backend=_REDIS),
    silent("AC033", "signature", f"{_ADD}def view():\n    return add.s(1, 2).get('options')\n"),
    silent("AC033", "dictionary", f"{_ADD}def view(d):\n    return d.get(1)\n"),
    fires("AC034", "none", f"{_ADD}def all():\n    chord([add.s(1, 2)])(add.s(1))\n"),
    fires("AC034", "rpc", f"{_ADD}def all():\n    chord([add.s(1, 2)])(add.s(1))\n", result_backend="rpc://"),
    silent("AC034", "redis", f"{_ADD}def all():\n    chord([add.s(1, 2)])(add.s(1))\n", result_backend=_REDIS),
    fires("AC035", "memory", result_backend="cache+memory://"),
    silent("AC035", "memcached", result_backend="cache+memcached://127.0.0.1:11211/"),
    fires("AC036", "amqp", result_backend="amqp", says="rpc://"),
    silent("AC036", "rpc", result_backend="rpc://"),
    fires("AC037", "get", f"{_IGNORED}def view():\n    return log.delay(1).get()\n", result_backend=_REDIS),
    silent("AC037", "stored", f"{_ADD}def view():\n    return add.delay(1, 2).get()\n", result_backend=_REDIS),
    silent("AC037", "signature", f"{_IGNORED}def view():\n    return log.s(1).get('options')\n", result_backend=_REDIS),
    silent("AC037", "stored-this-time",
           f"{_IGNORED}def view():\n    return log.apply_async((1,), ignore_result=False).get()\n",
           result_backend=_REDIS),
    fires("AC037", "ignored-this-time",
          f"{_ADD}def view():\n    return add.apply_async((1, 2), ignore_result=True).get()\n", result_backend=_REDIS),
    silent("AC037", "no-backend", f"{_IGNORED}def view():\n    return log.delay(1).get()\n"),
    fires("AC038", "header", f"{_IGNORED}{_ADD}def all():\n    chord(log.s(i) for i in (1, 2))(add.s(1))\n",
          result_backend=_REDIS, says="proj.tasks.log"),
    silent("AC038", "inside-of-a-chain", f"{_IGNORED}{_ADD}def all():\n"
           "    chord([chain(log.s(1), add.si(1, 2)), log.s(1) | add.si(1, 2)])(add.s(1))\n", result_backend=_REDIS),
    fires("AC038", "end-of-a-chain", f"{_IGNORED}{_ADD}def all():\n"
          "    chord([chain(add.s(1, 2), log.s())])(add.s(1))\n", result_backend=_REDIS),
    silent("AC038", "body", f"{_IGNORED}{_ADD}def all():\n    chord([add.s(1, 2)])(log.s())\n", result_backend=_REDIS),
]  # fmt: skip
