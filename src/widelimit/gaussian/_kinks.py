"""Where a function of one variable is not smooth, found from its values and its derivatives.

A kink of order k is a jump of φ⁽ᵏ⁾ (φ⁽⁰⁾ = φ: a step). Between the points of a grid, φ⁽ᵏ⁾ is compared with what
the trapezoidal rule makes of φ⁽ᵏ⁺¹⁾; where they differ, bisection follows the difference down to rounding.
A smooth function's difference dies on the way, a jump's does not.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from widelimit.gaussian._pointwise import Pointwise, derivative

ORDERS = 3
_CANDIDATES, _BANDS, _IN_BAND = 64, 16, 8  # cells looked into: the worst of all, and of each band of the grid
_HALVINGS = 60
_SMALLEST = 1e-6  # a jump below this share of the derivative's scale is noise
_SAME = 1e-9
_HUGE = 1e150
_CHUNK = 2048  # one shape, hence one compilation, for all that is asked of a function


class Kink(NamedTuple):
    """A place, and the jumps of φ, φ', φ'', φ‴ there (of φ‴ alone none is looked for)."""

    place: float
    jumps: tuple[float, ...]

    @property
    def order(self) -> int:
        """The lowest derivative that jumps."""
        return next(k for k, jump in enumerate(self.jumps) if jump)


def derivatives(phi: Pointwise, order: int) -> tuple[Pointwise, ...]:
    """(φ, φ', …, φ⁽ⁿ⁾) of a function of one Gaussian."""
    out = (phi,)
    for _ in range(order):
        out += (derivative(out[-1], 0),)
    return out


def concretely(phi: Pointwise, u: np.ndarray, order: int = 0) -> np.ndarray:
    """φ, …, φ⁽ⁿ⁾ at u, shape (n + 1, ...), in float64, now, even while JAX traces. Not-a-number becomes 0.

    φ must have no parameters.
    """
    u = np.asarray(u, np.float64)
    depth = max(order, ORDERS)
    pieces = np.append(u.ravel(), np.zeros(-u.size % _CHUNK)).reshape(-1, _CHUNK)
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        compiled = phi.remember(("compiled", depth), lambda: jax.jit(partial(_values, derivatives(phi, depth))))
        values = np.concatenate([np.asarray(compiled(piece), np.float64) for piece in pieces], 1)
    values = values[: order + 1, : u.size].reshape(order + 1, *u.shape)
    return np.clip(np.nan_to_num(values, posinf=0.0, neginf=0.0), -_HUGE, _HUGE)


def values_at(phi: Pointwise, u: np.ndarray) -> np.ndarray:
    """φ at u in float64, now, even while JAX traces: of a function of one Gaussian without parameters."""
    return concretely(phi, u)[0]


def _values(stack: tuple[Pointwise, ...], u: jax.Array) -> jax.Array:
    return jnp.stack([jnp.broadcast_to(f.fn(u), u.shape).astype(u.dtype) for f in stack])


def kinks(phi: Pointwise) -> tuple[Kink, ...]:
    """The kinks of order 0 to 2 of a function without parameters, from left to right, within |u| < 2000."""
    return phi.remember("kinks", lambda: _find(phi))


def _find(phi: Pointwise) -> tuple[Kink, ...]:
    left, right = _bisect(phi, *_suspects(phi))
    nudge = 1e-12 * (1 + np.abs(left))
    below, above = concretely(phi, left - nudge, ORDERS), concretely(phi, right + nudge, ORDERS)
    jumps = _gap(left - nudge, right + nudge, below, above)
    size = np.abs(below[:-1]) + np.abs(above[:-1])
    real = (np.abs(jumps) > _SMALLEST * _scale(phi)[:, None, None] + 1e-9 * size) & (size < 1e100)
    found: dict[float, list[float]] = {}
    for k in range(ORDERS):
        for cell in np.flatnonzero(real[k, k]):
            place = float(0.5 * (left[k, cell] + right[k, cell]))
            near = next((c for c in found if abs(c - place) < _SAME * max(1, abs(c))), place)
            at = found.setdefault(near, [0.0] * (ORDERS + 1))
            at[k], at[ORDERS] = float(jumps[k, k, cell]), float(above[ORDERS, k, cell] - below[ORDERS, k, cell])
    return tuple(Kink(_neat(c), tuple(found[c])) for c in sorted(found))


def _suspects(phi: Pointwise) -> tuple[np.ndarray, np.ndarray]:
    """The cells of the grid, a row an order, whose ends agree least.

    Some of every band of the grid: where a wave is faster than the grid, all cells disagree.
    """
    grid = _grid()
    values = concretely(phi, grid, ORDERS)
    gap = np.abs(_gap(grid[:-1], grid[1:], values[:, :-1], values[:, 1:]))
    size = np.abs(values[:-1, 1:]) + np.abs(values[:-1, :-1]) + _scale(phi)[:, None]
    share = gap / size
    cells = np.concatenate([_largest(share, _CANDIDATES), _largest_in_bands(share)], 1)
    return grid[cells], grid[cells + 1]


def _largest(share: np.ndarray, count: int) -> np.ndarray:
    return np.argsort(share, axis=-1)[..., -count:]


def _largest_in_bands(share: np.ndarray) -> np.ndarray:
    bands = share.reshape(len(share), _BANDS, -1)
    cells = _largest(bands, _IN_BAND) + np.arange(_BANDS)[:, None] * bands.shape[-1]
    return cells.reshape(len(share), -1)


def _grid() -> np.ndarray:
    """Steps of 0.4 % of √(1+u²); shifted, so that no neat number is a point of it."""
    return np.sinh(np.linspace(-8.3, 8.3, 4097) + 1e-4 * np.e)


def _scale(phi: Pointwise) -> np.ndarray:
    """The size of φ, φ', φ'' near the origin: what a quarter of the values exceed, since half of them may vanish."""
    near = np.abs(_grid()) < 10
    return phi.remember(
        "scale", lambda: np.quantile(np.abs(concretely(phi, _grid(), ORDERS)[:-1, near]), 0.75, axis=1) + 1e-3
    )


def _gap(a: np.ndarray, b: np.ndarray, fa: np.ndarray, fb: np.ndarray) -> np.ndarray:
    """What each f⁽ᵏ⁾(b) - f⁽ᵏ⁾(a) is beyond the trapezoidal integral of f⁽ᵏ⁺¹⁾."""
    return fb[:-1] - fa[:-1] - 0.5 * (b - a) * (fa[1:] + fb[1:])


def _bisect(phi: Pointwise, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Halve every cell (a row an order) towards the larger gap, down to rounding."""
    rows = np.arange(len(a))
    for _ in range(_HALVINGS):
        middle = 0.5 * (a + b)
        done = (middle <= a) | (middle >= b)
        fa, fm, fb = np.moveaxis(concretely(phi, np.stack([a, middle, b]), ORDERS), 1, 0)
        left = np.abs(_gap(a, middle, fa, fm)[rows, rows]) >= np.abs(_gap(middle, b, fm, fb)[rows, rows])
        a, b = np.where(left | done, a, middle), np.where(left & ~done, middle, b)
    return a, b


def _neat(place: float) -> float:
    """The fraction with a small denominator next to the place, if rounding cannot tell them apart."""
    neat = round(place * 5040) / 5040
    return neat if abs(neat - place) < 1e-11 * max(1, abs(place)) else place
