"""What the import hook decorates the package with in the suite: a check of types, and of axes where they are named.

Functions inside others are made anew at each call, and so would be what checks them: they are left out. jaxtyping's own
wrapper, which binds the names of axes anew in each call, is only for the sixth of all functions that name any.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any, get_type_hints

import jaxtyping

_SHAPES = re.compile(r"\b(Float|Int|Integer|Inexact|Num|Bool|Shaped|Complex|Real|PyTree|Key|UInt\d*)\d*\[")
_whole = jaxtyping.jaxtyped


def jaxtyped(fn: Any = None, *, typechecker: Any) -> Any:
    """In place of `jaxtyping.jaxtyped`, with which the import hook decorates every function and class."""
    if fn is None:
        return functools.partial(jaxtyped, typechecker=typechecker)
    if "<locals>" in fn.__qualname__:
        return fn
    if inspect.isclass(fn) or _names_axes(fn):
        return _whole(fn, typechecker=typechecker)
    return typechecker(_resolved(fn))


def _names_axes(fn: Callable) -> bool:
    return any(_SHAPES.search(str(annotation)) for annotation in fn.__annotations__.values())


def _resolved(fn: Callable) -> Callable:
    """With types for names."""
    try:
        fn.__annotations__ = get_type_hints(fn, include_extras=True)
    except NameError:
        fn.__annotations__ = {name: _type(annotation, fn) for name, annotation in fn.__annotations__.items()}
    return fn


def _type(annotation: Any, fn: Callable) -> Any:
    """Anything for a name that no module holds while the package runs: it is imported for type checkers only."""

    def one() -> None: ...

    one.__annotations__ = {"value": annotation}
    try:
        return get_type_hints(one, fn.__globals__, include_extras=True)["value"]
    except NameError:
        return Any


jaxtyping.jaxtyped = jaxtyped
