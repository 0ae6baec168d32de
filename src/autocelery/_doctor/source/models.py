"""Which expressions are rows of a database: objects of Django's and SQLAlchemy's models."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from autocelery._doctor.source.module import Function, Module, dotted

#: Methods of a manager, a query or a session that return one object, or many.
_ONE = frozenset(
    {
        "get", "first", "last", "latest", "earliest", "create", "get_or_404", "first_or_404", "one",
        "one_or_none", "scalar_one", "scalar_one_or_none",
    }
)  # fmt: skip
_MANY = frozenset({"all", "filter", "exclude", "order_by", "select_related", "prefetch_related"})
#: Functions that return an object.
_FUNCTIONS = frozenset({"get_object_or_404", "get_list_or_404"})
#: Methods after which values are left, and no objects.
_VALUES = frozenset({"values", "values_list", "with_entities", "count", "exists", "aggregate"})
#: Methods of SQLAlchemy's session whose result is rows of the models that they are given.
_OF_SESSION = frozenset({"get", "get_one", "query", "execute", "scalars", "scalar"})
_MODEL_BASES = ("models.Model", "db.Model", "django.db.models.Model", "DeclarativeBase")


def model_names(module: Module) -> frozenset[str]:
    """Return the classes of a module that are models by their bases."""
    found: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef) and any(
            module.meaning(base).endswith(_MODEL_BASES) or dotted(base) in found for base in node.bases
        ):
            found.add(node.name)
    return frozenset(found)


def is_object(module: Module, node: ast.expr, models: frozenset[str]) -> bool:
    """Whether an expression is, as far as the text tells, an object of a model, or a query for some.

    Args:
        module: where it stands.
        node: the expression.
        models: the names of the project's models.
    """
    if isinstance(node, ast.Name):
        function = module.function_around(node)
        return function is not None and _variable_is_object(module, function, node, models)
    return _makes_object(module, node, models)


def _makes_object(module: Module, node: ast.expr, models: frozenset[str]) -> bool:
    if dotted(node) == "request.user":
        return True
    if not isinstance(node, ast.Call):
        return False
    name = dotted(node.func).rpartition(".")[2] if dotted(node.func) else getattr(node.func, "attr", "")
    if name in _FUNCTIONS:
        return True
    if isinstance(node.func, ast.Name) and node.func.id in models:
        return True
    if not isinstance(node.func, ast.Attribute):
        return False
    if _is_session(node.func.value):
        return name in _OF_SESSION and _is_of_models(module, node, models)
    return name in (_ONE | _MANY) and _is_query(module, node.func.value, models)


def _is_query(module: Module, node: ast.expr, models: frozenset[str]) -> bool:
    """Whether an expression is ``Model.objects``, ``session.query(Model)`` or what follows on them."""
    for each in _chain(node):
        func = each.func if isinstance(each, ast.Call) else None
        if isinstance(each, ast.Call) and isinstance(func, ast.Attribute) and _is_session(func.value):
            return func.attr in _OF_SESSION and _is_of_models(module, each, models)
        if isinstance(each, ast.Attribute) and each.attr in _VALUES | _ONE:
            return False  # values; or what a row has, which may be anything
        if isinstance(each, ast.Attribute) and each.attr in ("objects", "_default_manager"):
            return True
        if isinstance(each, ast.Attribute) and each.attr == "query":
            base = dotted(each.value).rpartition(".")[2]
            return _is_class(base, models)
    return False


def _is_session(node: ast.expr) -> bool:
    """Whether an expression may be SQLAlchemy's session; those of requests, Flask and Django are called so too."""
    return dotted(node).rpartition(".")[2] in ("session", "db_session")


def _is_of_models(module: Module, call: ast.Call, models: frozenset[str]) -> bool:
    """Whether a session is asked for rows, ``get(User, 1)`` or ``scalars(select(User))``, and for no columns."""
    asked = call.args[0] if call.args else None
    if isinstance(asked, ast.Name):
        asked = _assigned(module.function_around(asked), asked) or asked
    for each in _chain(asked) if asked is not None else ():
        if isinstance(each, ast.Call) and dotted(each.func).rpartition(".")[2] == "select":
            asked = each.args[0] if len(each.args) == 1 else None
    return asked is not None and _is_class(dotted(asked).rpartition(".")[2], models)


def _is_class(name: str, models: frozenset[str]) -> bool:
    """Whether a name is a model's, or a class's as they are written: ``User``, and not ``USER``."""
    return name in models or (name[:1].isupper() and not name.isupper())


def _chain(node: ast.expr) -> Iterator[ast.expr]:
    """Yield the parts of ``a.b(c).d`` from right to left."""
    current: ast.expr | None = node
    while current is not None:
        yield current
        if isinstance(current, ast.Call):
            current = current.func
        elif isinstance(current, (ast.Attribute, ast.Subscript)):
            current = current.value
        else:
            current = None


def _variable_is_object(module: Module, function: Function, name: ast.Name, models: frozenset[str]) -> bool:
    if name.id == "self" and function.args.args and function.args.args[0].arg == "self":
        return any(isinstance(each, ast.ClassDef) and each.name in models for each in module.around(function))
    for argument in (*function.args.args, *function.args.kwonlyargs):
        if argument.arg == name.id and argument.annotation is not None:
            return dotted(argument.annotation).rpartition(".")[2] in models
    last = _assigned(function, name)
    return last is not None and _makes_object(module, last, models)


def _assigned(function: Function | None, name: ast.Name) -> ast.expr | None:
    """Return what a variable was given last above where it stands, or what a loop takes it from."""
    found: list[tuple[int, ast.expr]] = []
    for node in ast.walk(function) if function is not None else ():
        if isinstance(node, ast.For) and _is_named([node.target], name.id):
            found.append((node.lineno, node.iter))
        elif isinstance(node, ast.Assign) and _is_named(node.targets, name.id):
            found.append((node.lineno, node.value))
    above = [each for each in found if each[0] <= name.lineno]
    return max(above, key=lambda each: each[0])[1] if above else None


def _is_named(targets: Sequence[ast.expr], name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)
