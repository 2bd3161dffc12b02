"""When two programs are the same: a key that is equal for programs that do the same operations on the same constants."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from widelimit.trace._jaxpr import Body, is_literal, opened


def array_key(value: Any) -> tuple:
    value = np.asarray(value)
    return value.dtype, value.shape, value.tobytes()


def key_of(value: Any) -> Any:
    """A parameter of an operation as something to compare: inner programs by what they compute."""
    if isinstance(value, dict):
        return tuple((k, key_of(v)) for k, v in sorted(value.items()))
    if isinstance(value, list | tuple):
        return (type(value), *map(key_of, value))
    if isinstance(value, np.ndarray | jax.Array):
        return array_key(value)
    if hasattr(value, "eqns") or hasattr(value, "jaxpr"):
        return program_key(opened(value))
    try:
        hash(value)
    except TypeError:
        return id(value)
    return value


def program_key(body: Body) -> tuple:
    """Operations in order, whatever the names of the variables."""
    numbers: dict[Any, int] = {}

    def of(atom: Any) -> Any:
        if is_literal(atom):
            return array_key(np.asarray(atom.val, atom.aval.dtype))
        aval = atom.aval
        of_aval = (getattr(aval, name, None) for name in ("shape", "dtype", "weak_type"))
        return numbers.setdefault(atom, len(numbers)), type(aval), *of_aval

    jaxpr = body.jaxpr
    heads = tuple(map(of, (*jaxpr.constvars, *jaxpr.invars)))
    lines = tuple(
        (e.primitive, key_of(e.params), tuple(map(of, e.invars)), tuple(map(of, e.outvars))) for e in jaxpr.eqns
    )
    return heads, lines, tuple(map(of, jaxpr.outvars)), tuple(map(key_of, body.consts))
