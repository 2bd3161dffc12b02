"""The type checker of the suite: for all functions of the package but those inside others.

These are made anew at each call, and so would be what checks them. And jaxtyping's own wrapper, which binds the names of axes
anew in each call, is only for the sixth of all functions that name any. Both save a third of the suite's time.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any, get_type_hints

import jaxtyping
from beartype import beartype

_SHAPES = re.compile(r"\b(Float|Int|Integer|Inexact|Num|Bool|Shaped|Complex|Real|PyTree|Key|UInt\d*)\d*\[")
_whole = jaxtyping.jaxtyped


def checked(fn: Callable) -> Callable:
    return beartype(fn)


def jaxtyped(fn: Any = None, *, typechecker: Any) -> Any:
    """In place of `jaxtyping.jaxtyped`, with which the import hook decorates every function and class."""
    if fn is None:
        return functools.partial(jaxtyped, typechecker=typechecker)
    if not inspect.isfunction(fn):
        return _whole(fn, typechecker=typechecker)
    if "<locals>" in fn.__qualname__:
        return fn
    return _whole(fn, typechecker=typechecker) if _names_axes(fn) else typechecker(_resolved(fn))


def _names_axes(fn: Callable) -> bool:
    return any(_SHAPES.search(str(annotation)) for annotation in fn.__annotations__.values())


def _resolved(fn: Callable) -> Callable:
    """With types for names; those that no module holds while the package runs (imported for type checkers only) are left out."""
    try:
        fn.__annotations__ = get_type_hints(fn, include_extras=True)
    except NameError:
        fn.__annotations__ = {}
    return fn


jaxtyping.jaxtyped = jaxtyped
