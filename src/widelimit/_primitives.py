"""What is known of JAX's operations by their names: which are calls, and what NumPy computes without compiling anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

# Where the body of a call is kept; the names changed between versions of JAX.
CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "eval_jaxpr": "call_jaxpr",
    "remat": "jaxpr",
    "remat2": "jaxpr",
    "checkpoint": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
}


def called(eqn: Any) -> Any:
    """What an equation evaluates, a closed program, if it is a call; loops and choices are none."""
    body = eqn.params.get(CALLS.get(eqn.primitive.name))
    return body if hasattr(body, "jaxpr") and hasattr(body, "consts") else None


def in_numpy(eqn: Any) -> Callable[..., Any] | None:
    """An elementwise operation as a function of NumPy arrays; `None` where NumPy has no such function."""
    match eqn.primitive.name:
        case "select_n" if len(eqn.invars) <= 32:  # as many as `choose` takes
            return lambda which, *cases: np.choose(np.asarray(which, np.intp), cases)
        case "integer_pow":
            return lambda x: x ** eqn.params["y"]
        case "div" if jnp.issubdtype(eqn.outvars[0].aval.dtype, jnp.floating):
            return np.divide
    return NUMPY.get(eqn.primitive.name)


# On floats of one dtype or whole numbers.
NUMPY: dict[str, Callable[..., np.ndarray]] = {
    "add": np.add,
    "add_any": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "neg": np.negative,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "square": np.square,
    "abs": np.abs,
    "sign": np.sign,
    "max": np.maximum,
    "min": np.minimum,
    "clamp": lambda low, x, high: np.minimum(np.maximum(x, low), high),
    "pow": np.power,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "floor": np.floor,
    "ceil": np.ceil,
    "nextafter": np.nextafter,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not": np.bitwise_not,
    "shift_left": np.left_shift,
    "shift_right_logical": np.right_shift,
}
