"""What the docstrings under a model's fields say, read when somebody asks.

pydantic can do this, but for every model when it is made: it parses their sources, a tenth of a node's start, for help
that most processes never show.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise

from pydantic import BaseModel


def description_of(model: type[BaseModel], field: str) -> str:
    """The description of a field: its own, or else the docstring under it, also of the class it is inherited from."""
    described = model.model_fields[field].description
    if described is not None:
        return described
    for cls in model.__mro__:
        if cls is BaseModel:
            break
        found = _of_module(cls.__module__).get(cls.__qualname__, {})
        if field in found:
            return found[field]
    return ""


@cache
def _of_module(name: str) -> Mapping[str, Mapping[str, str]]:
    """By qualified name of a class and by field."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[name]))
    except (KeyError, OSError, TypeError):
        return {}  # made without a file, at a prompt
    return {qualname: dict(_attributes(cls)) for qualname, cls in _classes(tree, "")}


def _classes(tree: ast.AST, prefix: str) -> Iterator[tuple[str, ast.ClassDef]]:
    for node in ast.iter_child_nodes(tree):
        inner = prefix
        if isinstance(node, ast.ClassDef):
            yield prefix + node.name, node
            inner = f"{prefix}{node.name}."
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = f"{prefix}{node.name}.<locals>."
        yield from _classes(node, inner)


def _attributes(cls: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for node, following in pairwise(cls.body):
        match node, following:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, inspect.cleandoc(text)
