"""What is sent, and when."""

from __future__ import annotations

from tests.unit.doctor.cases.case import fires, silent

_ADD = "@app.task\ndef add(x, y=0):\n    return x + y\n"
_SHIP = "@app.task\ndef ship(order):\n    pass\n"
_TOLERANT = f"""
from autocelery import Autocelery
Autocelery(app)
{_ADD}
@app.task(signature="tolerant")
def done():
    pass
"""
_GIVING = """
def giving(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(None, *args)
    return wrapper
"""
_MODELS = "class Order(models.Model):\n    def save(self):\n        ship.delay(self)\n"


def _view(line: str) -> dict[str, str]:
    """Return a module that no worker imports, with a view that has this line."""
    head = (
        "from proj.models import Order\nfrom proj.tasks import add, ship\nfrom django.db import transaction\n"
    )
    return {"proj/views.py": f"{head}\ndef view(request, pk):\n    {line}\n"}


CASES = [
    fires("AC050", "get",
          _SHIP, files=_view("order = Order.objects.get(pk=pk)\n    ship.delay(order)"), says="views.py:7"),
    fires("AC050", "inline", _SHIP, files=_view("ship.delay(Order.objects.filter(pk=pk))")),
    fires("AC050", "loop", _SHIP, files=_view("for each in Order.objects.all():\n        ship.apply_async((each,))")),
    fires("AC050", "user", _SHIP, files=_view("ship.delay(order=request.user)")),
    fires("AC050", "sqlalchemy", _SHIP, files=_view("ship.delay(session.query(Order).first())")),
    fires("AC050", "self", _SHIP, files={
        "proj/models.py": f"from django.db import models\nfrom proj.tasks import ship\n{_MODELS}"}),
    silent("AC050", "key", _SHIP, files=_view("order = Order.objects.get(pk=pk)\n    ship.delay(order.pk)")),
    silent("AC050", "values", _SHIP, files=_view("ship.delay(Order.objects.values_list('pk', flat=True).first())")),
    silent("AC050", "dictionary", _SHIP, files=_view("ship.delay(request.GET.get('pk'))")),
    fires("AC050", "session-get", _SHIP, files=_view("ship.delay(db.session.get(Order, pk))")),
    fires("AC050", "select", _SHIP, files=_view(
        "query = select(Order).where(Order.pk == pk)\n    ship.delay(session.scalars(query).first())")),
    silent("AC050", "columns", _SHIP, files=_view(
        "for each in session.scalars(select(Order.id)).all():\n        ship.delay(each)")),
    silent("AC050", "session-of-flask", _SHIP, files=_view("ship.delay(session.get('cart', None))")),
    silent("AC050", "session-of-django", _SHIP, files=_view("ship.delay(request.session.get(CART_ID, []))")),
    silent("AC050", "session-of-requests", _SHIP, files=_view(
        "ship.delay(session.get(URL, timeout=5).json().get('id'))")),
    silent("AC050", "of-a-row", _SHIP, files=_view("ship.delay(Order.objects.get(pk=pk).meta.get('code'))")),
    silent("AC050", "key-in-the-end", _SHIP, files=_view(
        "if request:\n        order = Order.objects.first()\n    order = order.pk\n    ship.delay(order)")),
    fires("AC052", "with", _SHIP, files=_view("with transaction.atomic():\n        ship.delay(pk)")),
    silent("AC052", "on-commit", _SHIP, files=_view(
        "with transaction.atomic():\n        transaction.on_commit(lambda: ship.delay(pk))")),
    silent("AC052", "after", _SHIP, files=_view("with transaction.atomic():\n        pass\n    ship.delay(pk)")),
    silent("AC052", "delay-on-commit",
          _SHIP, files=_view("with transaction.atomic():\n        ship.delay_on_commit(pk)")),
    fires("AC053", "now", f"from datetime import datetime, timedelta\n{_ADD}def later():\n"
          "    add.apply_async((1,), eta=datetime.now() + timedelta(minutes=5))\n"),
    silent("AC053", "aware", f"from datetime import datetime, timedelta\n{_ADD}def later(zone):\n"
           "    add.apply_async((1,), eta=datetime.now().astimezone() + timedelta(minutes=5))\n"
           "    add.apply_async((1,), eta=zone.localize(datetime.now()))\n"
           "    add.apply_async((1,), eta=datetime.now().replace(hour=8, tzinfo=zone))\n"),
    silent("AC053", "no-message", "from datetime import datetime\nclass Delivery:\n    def __init__(self, eta):\n"
           "        pass\ndef later():\n    Delivery(eta=datetime.now())\n"),
    silent("AC053", "utc", f"from datetime import datetime, timedelta, timezone\n{_ADD}def later():\n"
           "    add.apply_async((1,), eta=datetime.now(timezone.utc) + timedelta(minutes=5))\n"),
    fires("AC054", "chain", f"{_ADD}@app.task\ndef done():\n    pass\ndef both():\n    chain(add.s(1), done.s())()\n",
          says="proj.tasks.done"),
    fires("AC054", "bar", f"{_ADD}@app.task\ndef done():\n    pass\ndef both():\n    (add.s(1) | done.s())()\n"),
    fires("AC054", "too-many", f"{_ADD}def both():\n    chain(add.s(1), add.s(1, 2))()\n"),
    silent("AC054", "fits", f"{_ADD}def both():\n    chain(add.s(1), add.s(2))()\n"),
    silent("AC054", "immutable",
          f"{_ADD}@app.task\ndef done():\n    pass\ndef both():\n    chain(add.s(1), done.si())()\n"),
    silent("AC054", "tolerant", f"{_TOLERANT}def both():\n    chain(add.s(1, 2), done.s())()\n"),
    silent("AC054", "bound", f"{_ADD}@app.task(bind=True)\ndef done(self, x):\n    pass\ndef both():\n"
           "    chain(add.s(1), done.s())()\n"),
    fires("AC055", "missing", f"{_ADD}def send():\n    add.delay()\n"),
    fires("AC055", "unknown",
          f"{_ADD}def send():\n    add.apply_async((1,), dict(z=1), kwargs={{'z': 1}})\n    add.delay(1, z=2)\n"),
    silent("AC055", "options", f"{_ADD}def send(**options):\n    add.apply_async(**options)\n"
           "    add.apply_async((1,), countdown=3, **options)\n"),
    silent("AC055", "tolerant", f"{_TOLERANT}def send():\n    done.delay(1)\n"),
    silent("AC055", "a-decorator-gives-the-rest", f"import functools\n{_GIVING}@app.task\n@giving\n"
           "def add(connection, x):\n    pass\ndef send():\n    add.delay(1)\n"),
    silent("AC055", "right",
          f"{_ADD}def send(args):\n    add.delay(1)\n    add.apply_async((1, 2))\n    add.delay(*args)\n"),
    fires("AC056", "set", f"{_ADD}def send():\n    add.delay({{1, 2}})\n", says="a set"),
    fires("AC056", "file", f"{_ADD}def send():\n    add.delay(open('x'))\n"),
    silent("AC056", "task-that-is-pickled", "@app.task(serializer='pickle')\ndef add(x):\n    pass\n"
           "def send():\n    add.delay({1, 2})\n"),
    silent("AC056", "list", f"{_ADD}def send():\n    add.delay([1, 2])\n"),
    silent("AC056", "pickle", f"{_ADD}def send():\n    add.delay({{1, 2}})\n", task_serializer="pickle"),
    fires("AC057", "password", "@app.task\ndef login(user, password):\n    pass\ndef send(p):\n"
          "    login.delay('a', password=p)\n"),
    silent("AC057", "no-secret", "@app.task\ndef login(user, password_reset_id, reset_password=False):\n    pass\n"
           "def send(p):\n    login.delay('a', password_reset_id=p, reset_password=True)\n"),
    silent("AC057", "name", "@app.task\ndef login(user):\n    pass\ndef send(p):\n    login.delay(user=p)\n"),
    fires("AC058", "read", f"{_ADD}def send(f):\n    add.delay(f.read())\n"),
    silent("AC058", "part", f"{_ADD}def send(f):\n    add.delay(f.read(64))\n"),
    silent("AC058", "path", f"{_ADD}def send(f):\n    add.delay(f.name)\n"),
]  # fmt: skip
