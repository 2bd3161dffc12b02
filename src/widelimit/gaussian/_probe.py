"""Values of a user's function at chosen points, in the best precision that it has."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from widelimit.gaussian._forms import (
    Atom,
    Bump,
    Erf,
    ErfLine,
    ErfLineSlope,
    Exponential,
    Product,
    Ramp,
    Rectified,
    Sine,
)
from widelimit.gaussian._pointwise import Pointwise
from widelimit.gaussian._stepwise import stepwise


class Sample(NamedTuple):
    """Values of a function.

    Attributes:
        values: float64, one a point; not finite where the function is not.
        rounding: relative size of their rounding errors.
    """

    values: np.ndarray
    rounding: float


def probe(phi: Pointwise, points: np.ndarray, params: tuple = ()) -> Sample | None:
    """φ at `points`, also while JAX traces; `None` where the function cannot be evaluated at concrete points.

    Evaluated in float64 whatever the session's default, so that what is recognised does not depend on it;
    a function that insists on float32 is read in float32.
    """
    for dtype in (np.float64, np.float32):
        values = _evaluate(phi, points.astype(dtype), params)
        if values is not None:
            single = values.dtype != np.float64
            return Sample(values.astype(np.float64), float(np.finfo(np.float32 if single else np.float64).eps))
    return None


def _evaluate(phi: Pointwise, points: np.ndarray, params: tuple) -> np.ndarray | None:
    wide = points.dtype == np.float64
    try:
        with jax.ensure_compile_time_eval(), jax.enable_x64(wide), np.errstate(all="ignore"):
            values = np.asarray(stepwise(phi.fn, jnp.asarray(points), *params)[0])
    except (TypeError, ValueError, NotImplementedError, jax.errors.JAXTypeError):
        return None
    if values.ndim == 0:
        values = np.full(points.shape, values)
    if values.shape != points.shape or values.dtype.kind not in "fbiu":
        return None
    return values if values.dtype.kind == "f" else values.astype(points.dtype)


def grid() -> np.ndarray:
    """Points where a function shows itself: of every size from 1e-10 to 1e5, and densely up to 12."""
    sizes = np.geomspace(1e-10, 1e5, 301)
    return np.unique(np.concatenate([-sizes, sizes, dense()]))


def dense() -> np.ndarray:
    """The equally spaced points of the grid."""
    return np.linspace(-12, 12, 1999) + 1e-4 * np.sqrt(2)


_erf = np.vectorize(math.erf, otypes=[float])


def _rectified(atom: Rectified | Ramp, u: np.ndarray) -> np.ndarray:
    return np.where(u > 0, u**atom.order, atom.at_zero * (u == 0) * (atom.order == 0))


_VALUES: dict[type, Callable[..., np.ndarray]] = {
    Rectified: lambda f, u: _rectified(f, u),
    Ramp: lambda f, u: _rectified(f, u - f.threshold),
    Erf: lambda f, u: _erf(f.slope * u + f.offset),
    ErfLine: lambda f, u: u * _erf(f.slope * u),
    ErfLineSlope: lambda f, u: _erf(f.slope * u) + 2 * f.slope / math.sqrt(math.pi) * u * np.exp(-((f.slope * u) ** 2)),
    Sine: lambda f, u: np.sin(f.frequency * u + f.phase),
    Exponential: lambda f, u: np.exp(f.rate * u),
    Bump: lambda f, u: np.exp(-f.sharpness * (u - f.centre) ** 2),
    Product: lambda f, u: u**f.power * component_values(f.factor, u),
}


def component_values(atom: Atom, points: np.ndarray) -> np.ndarray:
    """An atom's values, in NumPy."""
    return _VALUES[type(atom)](atom, points)
