"""Where the panels of a composite rule should end for a given function, whatever the Gaussian."""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy.special import ndtr

from widelimit.gaussian._kinks import concretely, kinks
from widelimit.gaussian._pointwise import Pointwise

_DEGREE = 9
_TOLERANCE = 1e-9
_ROUGHLY = 1e-6
_FAR = 1000.0
_INFINITE = 1e30
_REACH = 40.0
_WIDTHS = np.geomspace(2.0**-7, 2 * _FAR, 48)
_MOST = 600  # panels on either side: a wave of period 4 or more is followed as far as anything is
_MANY = 64  # marks that say a function keeps its structure far out
_CELLS, _SIGHT, _SUSPECTS, _HALVINGS = 256, 7.5, 3, 48
_BLIND = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


class Stretch(NamedTuple):
    """Where panels do not follow a function, and how far off they are there, as a share of its size near the origin."""

    low: float
    high: float
    error: float


class Mesh(NamedTuple):
    """Marks between which a function and its derivatives are polynomials to rounding, and the centres of its structure.

    Numbers, or arrays with a leading axis where they depend on parameters; ascending.
    """

    marks: tuple[float, ...] | Array
    centres: tuple[float, ...] | Array  # its kinks, or the middle of the marks
    unresolved: tuple[Stretch, ...] = ()

    @property
    def is_long(self) -> bool:
        """Whether the function keeps its structure far from the origin, as a wave does."""
        return isinstance(self.marks, tuple) and len(self.marks) > _MANY


BLIND = Mesh(tuple(sorted({0.0} | {sign * width for width in _BLIND for sign in (-1, 1)})), (0.0,))


def mesh(phi: Pointwise, order: int) -> Mesh:
    """The mesh of (φ, …, φ⁽ⁿ⁾), a function without parameters."""
    return phi.remember(("mesh", order), lambda: _make(phi, order))


def panel_marks(phi: Pointwise) -> tuple[float, ...]:
    """Places, ascending, its kinks among them, between which a function of one Gaussian is a polynomial to rounding.

    φ must have no parameters.
    """
    return mesh(phi, 0).marks


def _make(phi: Pointwise, order: int) -> Mesh:
    places = tuple(kink.place for kink in kinks(phi))
    scale = np.max(np.abs(concretely(phi, np.linspace(-4, 4, 65) + 1e-3, order)), 1)[:, None] + 1e-12
    marks, unresolved = list(places or (0.0,)), []
    stops = [-_FAR, *marks, _FAR]
    for a, b in pairwise(stops):
        # towards the outside from the outermost kinks, from left to right in between
        more, lost = _walk(phi, order, scale, *((b, a) if a == -_FAR else (a, b)))
        marks, unresolved = marks + more, unresolved + lost
    marks, unresolved = sorted(marks), unresolved + _outside(phi, order, scale)
    return Mesh(tuple(marks), places or (_nearest_the_middle(marks),), tuple(unresolved))


def _nearest_the_middle(marks: list[float]) -> float:
    return marks[len(marks) // 2] if len(marks) <= _MANY else min(marks, key=abs)


def _walk(
    phi: Pointwise, order: int, scale: np.ndarray, start: float, stop: float
) -> tuple[list[float], list[Stretch]]:
    """Ends of the widest panels on which the stack is a polynomial of degree 9, from start to before stop; and where it is none."""
    out: list[float] = []
    lost: list[Stretch] = []
    place, sign = start, np.sign(stop - start)
    while True:
        widths = np.minimum(_WIDTHS, abs(stop - place))
        misfit = (_misfit(phi, order, place, sign * widths) / scale).max(0)
        # up to the first misfit: what a narrow panel sees, a wide one may step over
        fitting = int(np.argmin(np.append(misfit < _TOLERANCE, False)))
        ahead = place + sign * widths[max(fitting - 1, 0)]
        if not fitting:
            lost.append(_stretch(place, ahead, misfit[0]))
        if abs(stop - ahead) <= 1e-9 * max(1, abs(stop)):
            return out, lost
        if len(out) == _MOST:
            return out, [*lost, _stretch(place, stop, misfit[-1])]
        place = float(ahead)
        out.append(place)


def _outside(phi: Pointwise, order: int, scale: np.ndarray) -> list[Stretch]:
    """Beyond where panels are sought: how far the next ones would be off, if they are."""
    ends = ((-_FAR, -_INFINITE), (_FAR, _INFINITE))
    misfits = [(_misfit(phi, order, a, np.sign(b) * np.array([_FAR])) / scale).max() for a, b in ends]
    return [_stretch(a, b, e) for (a, b), e in zip(ends, misfits, strict=True) if e > _ROUGHLY]


def _stretch(a: float, b: float, error: float) -> Stretch:
    return Stretch(float(min(a, b)), float(max(a, b)), float(error))


def unresolved_share(found: Mesh, mean: Array | None, variance: Array) -> Array:
    """The root of E[(f − f̃)²] over the stretches where panels do not follow f, as a share of the size of f near the origin."""
    centre, scale = (0.0 if mean is None else mean), jnp.sqrt(jnp.maximum(variance, 0))
    steep = 1 / jnp.maximum(scale, float(jnp.finfo(scale.dtype).tiny) * 1e10)
    total = jnp.zeros_like(scale + centre)
    for low, high, error in found.unresolved:
        ends = [jnp.clip((x - centre) * steep, -_REACH, _REACH) for x in (low, high)]
        total = total + error**2 * (ndtr(ends[1]) - ndtr(ends[0]))
    return jnp.sqrt(jnp.maximum(total, 0))


def _misfit(phi: Pointwise, order: int, start: float, widths: np.ndarray) -> np.ndarray:
    """Largest error (orders, widths) of the Chebyshev interpolant on each panel, away from its very ends."""
    nodes = np.cos(np.pi * (np.arange(_DEGREE + 1) + 0.5) / (_DEGREE + 1))
    probes = np.linspace(-0.999, 0.999, 24)
    chebyshev = np.polynomial.chebyshev.chebvander
    interpolate = chebyshev(probes, _DEGREE) @ np.linalg.inv(chebyshev(nodes, _DEGREE))
    u = start + 0.5 * widths[:, None] * (1 + np.concatenate([nodes, probes]))
    values = concretely(phi, u, order)
    error = values[..., : _DEGREE + 1] @ interpolate.T - values[..., _DEGREE + 1 :]
    return np.max(np.abs(error) / np.maximum(1, np.max(np.abs(values), -1, keepdims=True) / 10), -1)


def mesh_at_run_time(stack: tuple[Callable[[Array], Array], ...], mean: Array, scale: Array) -> Mesh:
    """A mesh of a function that depends on arrays: blind but for the places where f, f' or f'' seem to jump.

    Args:
        stack: f and its first three derivatives, elementwise.
        mean: of its argument.
        scale: the standard deviation, of the same shape.

    As in `_kinks`, the cells of a grid over 7.5 standard deviations where f⁽ᵏ⁾ and the trapezoidal integral of f⁽ᵏ⁺¹⁾ agree
    least are halved towards the disagreement. A place that is no kink does no harm.
    """
    shape = (_CELLS + 1, *(1,) * mean.ndim)
    grid = mean + scale * jnp.linspace(-_SIGHT, _SIGHT, _CELLS + 1, dtype=mean.dtype).reshape(shape)
    values = [jnp.broadcast_to(f(grid), grid.shape) for f in stack]
    found = []
    for low, high in pairwise(zip(values, stack, strict=True)):
        gaps = _gap(*((a[:-1], a[1:]) for a in (grid, low[0], high[0])))
        cells = jnp.moveaxis(lax.top_k(jnp.moveaxis(gaps, 0, -1), _SUSPECTS)[1], -1, 0)
        ends = (jnp.take_along_axis(grid, cells + shift, 0) for shift in (0, 1))
        found.append(_bisected(low[1], high[1], *ends))
    places = jnp.sort(jnp.concatenate(found), 0)
    blind = jnp.asarray(BLIND.marks, mean.dtype).reshape(-1, *(1,) * mean.ndim)
    marks = jnp.concatenate([places, jnp.broadcast_to(blind, (blind.shape[0], *mean.shape))])
    return Mesh(jnp.sort(marks, 0), places)


def _gap(ends: tuple[Array, Array], values: tuple[Array, Array], slopes: tuple[Array, Array]) -> Array:
    """|f(b) − f(a) − ½(b − a)(f'(a) + f'(b))|."""
    (a, b), (fa, fb), (da, db) = ends, values, slopes
    return jnp.abs(fb - fa - 0.5 * (b - a) * (da + db))


def _bisected(f: Callable, slope: Callable, a: Array, b: Array) -> Array:
    def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        a, b = ends
        points = jnp.stack([a, 0.5 * (a + b), b])
        values, slopes = f(points), slope(points)
        left, right = (_gap(*((x[i], x[i + 1]) for x in (points, values, slopes))) for i in (0, 1))
        return jnp.where(left >= right, a, points[1]), jnp.where(left >= right, points[1], b)

    a, b = lax.fori_loop(0, _HALVINGS, halve, (a, b))
    return 0.5 * (a + b)
