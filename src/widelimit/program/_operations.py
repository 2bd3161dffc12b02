"""Coordinatewise operations as formulas."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax

from widelimit.program import _formula as f

_PASSING = frozenset(
    ("convert", "reshape", "broadcast_in_dim", "squeeze", "expand_dims", "transpose", "copy", "stop_gradient", "real")
)
_RENAMED = {"logistic": "sigmoid"}


def operation(name: str, fn: Callable[..., Any], args: Sequence[f.Formula]) -> f.Formula:
    """What an operation makes of its arguments."""
    match name:
        case "add" | "add_any":
            return f.plus(*args)
        case "sub":
            return f.plus(args[0], f.times(f.number(-1), args[1]))
        case "mul":
            return f.times(*args)
        case "neg":
            return f.times(f.number(-1), *args)
        case "div":
            return f.times(args[0], f.inverse(args[1]))
        case "reciprocal":
            return f.inverse(*args)
        case "rsqrt":
            return f.inverse(f.call("sqrt", *args))
        case "integer_pow" | "square":
            return f.power(args[0], _exponent(fn))
    if name in _PASSING or not name:
        return args[0]
    if name.endswith("·"):
        return f.times(f.number(float(name[:-1])), *args)
    if name.startswith("reduce_"):
        return f.call(name, *_whole(args))
    if name.startswith("select") and len(args) == 3:
        return _choice(args[0], args[2], args[1])
    if name == "max" and f.number(-math.inf) in args:
        return next(a for a in args if a != f.number(-math.inf))
    return f.call(_RENAMED.get(name, name), *args)


def _choice(which: f.Formula, yes: f.Formula, no: f.Formula) -> f.Formula:
    """where(which, yes, no); an index that is counted from the end where it is negative stands as itself."""
    counted = yes.operation == "sum" and yes.args[0] == no and yes.args[1].operation == "number"
    return no if counted and which == f.call("lt", no, f.number(0)) else f.call("where", which, yes, no)


def _whole(args: Sequence[f.Formula]) -> Sequence[f.Formula]:
    """The vector whose positions are the arguments, where they are those of one."""
    read = {a.args[0] if a.operation == "index" else None for a in args}
    return tuple(read) if len(args) > 1 and len(read) == 1 and None not in read else args


def _exponent(fn: Callable[..., Any]) -> int:
    with jax.ensure_compile_time_eval():
        return round(math.log2(float(fn(2.0))))
