"""Elementwise equations on NumPy arrays, in float64 whatever the program's dtype: for numbers that a trace computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from widelimit._primitives import NUMPY, in_numpy
from widelimit.trace._jaxpr import Step

_UNCHANGED = frozenset({"copy", "copy_p", "stop_gradient", "reduce_precision"})
_WITH_PARAMS = frozenset({"integer_pow", "select_n", "convert_element_type", "bitcast_convert_type", "div"})
_BY_JAX = frozenset(
    {
        "erf_inv",
        "erf",
        "erfc",
        "logistic",
        "cbrt",
        "exp2",
        "log2",
        "round",
        "rem",
        "tan",
        "asin",
        "acos",
        "atan",
        "atan2",
        "sinh",
        "cosh",
        "asinh",
        "acosh",
        "atanh",
        "is_finite",
        "shift_right_arithmetic",
    }
)
ELEMENTWISE = frozenset(NUMPY) | _UNCHANGED | _WITH_PARAMS | _BY_JAX


def is_float(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.floating)


def is_key(dtype: Any) -> bool:
    return jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key)


def eps(dtype: Any) -> float:
    """A step of a floating dtype; whole numbers are exact."""
    return float(jnp.finfo(dtype).eps) if is_float(dtype) else 0.0


def widened(array: Any) -> np.ndarray:
    """A NumPy array, in float64 if it is of a floating dtype."""
    array = np.asarray(array)
    return array.astype(np.float64) if is_float(array.dtype) else array


def evaluate(step: Step, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """An elementwise equation on arrays (of one shape, or scalars)."""
    with np.errstate(all="ignore"):
        if (fn := in_numpy(step.eqns[0])) is not None:
            return widened(fn(*arrays))
        match step.name:
            case "bitcast_convert_type":
                return widened(np.asarray(arrays[0]).view(step.params["new_dtype"]))
            case "convert_element_type":
                return _converted(arrays[0], step.params["new_dtype"])
    return arrays[0] if step.name in _UNCHANGED else _by_jax(step, arrays)


def _converted(array: np.ndarray, dtype: Any) -> np.ndarray:
    return np.asarray(array, np.float64 if is_float(dtype) else dtype)


def _by_jax(step: Step, arrays: Sequence[np.ndarray]) -> np.ndarray:
    with jax.enable_x64(True):
        return widened(step.bind(*(jnp.asarray(a) for a in arrays))[0])
