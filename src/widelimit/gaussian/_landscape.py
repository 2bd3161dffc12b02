"""What a function of several Gaussians looks like, from its values: where it is not smooth, and whether it is a ridge.

Along a line, the fourth difference of step h is O(h⁴) where φ is smooth, O(hJ) at a kink (φ' jumps by J) and O(J) at a step.
Shrinking h towards the largest one tells them apart, and finds the place to rounding. Kinks at the same hyperplane on all lines
give its normal: on a line moved by ε e_j the kink moves by -ε a_j/(a·step).
"""

from collections.abc import Callable
from enum import IntEnum
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from widelimit.gaussian._pointwise import Pointwise
from widelimit.gaussian._tower import tower

Parameters = tuple[Any, ...] | None  # of numbers, as the function takes them
_CHUNK = 4096  # one shape, hence one compilation, for all that is asked of a function
_LINES = 12
_REACH = 6.0
_CELLS = 512
_STEP = 2 * _REACH / _CELLS
_ROUNDS = (
    7,
    7,
)  # refinements by four: after the first, a kink still shows and a jump of φ'' does not; then down to rounding
_MOST = 6  # kinks looked for on one line
_SHIFT = 0.05  # between parallel lines, whose kinks give the hyperplane's normal
_SAME = 1e-6
_SHARE = 0.02  # of the points: kinks, where a derivative is a convention, are hit by no more


class Regularity(IntEnum):
    """How smooth a function is."""

    STEPS = 0
    KINKS = 1
    SMOOTH = 2


class Hyperplanes(NamedTuple):
    """Kinks or steps on the parallel hyperplanes a·u = c: the unit normal a, and the offsets c."""

    normal: np.ndarray
    offsets: tuple[float, ...]


class Unevaluable(TypeError):
    """A function that cannot be evaluated at numbers: parameters that cannot be one, or what only its own program holds."""


def values(phi: Pointwise, u: np.ndarray, params: Parameters = None) -> np.ndarray:
    """φ at the columns of u (p, ...), in float64, now, even while JAX traces; known parameters not given are put at one.

    Raises:
        Unevaluable: if φ cannot be evaluated so.
    """
    return _at(phi, np.asarray(u, np.float64), 0, params)


def gradients(phi: Pointwise, u: np.ndarray, params: Parameters = None) -> np.ndarray:
    """∇φ at the columns of u (p, ...), as `values`; shape (p, ...)."""
    return _at(phi, np.asarray(u, np.float64), 1, params)


def number(phi: Pointwise, params: Parameters = None) -> float:
    """The value of a function without Gaussian arguments, as `values`."""
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        try:
            return float(phi.fn(*_parameters(phi, params)))
        except TypeError as error:
            raise Unevaluable(phi.label) from error


def _parameters(phi: Pointwise, given: Parameters) -> tuple[Any, ...]:
    return (1.0,) * phi.remember("parameters", lambda: 0) if given is None else given


def _at(phi: Pointwise, u: np.ndarray, order: int, params: Parameters) -> np.ndarray:
    params = _parameters(phi, params)
    flat = u.reshape(len(u), -1)
    count = flat.shape[1]
    pieces = np.pad(flat, ((0, 0), (0, -count % _CHUNK))).reshape(len(u), -1, _CHUNK)
    with jax.ensure_compile_time_eval(), jax.enable_x64(True), np.errstate(all="ignore"):
        fn = phi.remember(("at once", order), lambda: jax.jit(partial(_evaluated, phi, order)))
        try:
            out = [np.asarray(fn(pieces[:, i], params), np.float64) for i in range(pieces.shape[1])]
        except TypeError as error:
            raise Unevaluable(phi.label) from error
    out = np.concatenate(out, -1)
    return out[..., :count].reshape(*out.shape[:-1], *u.shape[1:])


def _evaluated(phi: Pointwise, order: int, u: jax.Array, params: tuple) -> jax.Array:
    return tower(phi, order)(u, params)


def regularity(phi: Pointwise) -> Regularity:
    """The worst that is met along a few lines. A function that cannot be evaluated is taken for one with kinks."""
    return phi.remember("regularity", lambda: _regularity(phi))


def _regularity(phi: Pointwise) -> Regularity:
    if phi.arity == 0:
        return Regularity.SMOOTH
    try:
        found = _search(phi, *_lines(phi.arity))
    except Unevaluable:
        return Regularity.KINKS
    worst = found.kinds.min(initial=Regularity.SMOOTH)
    return Regularity(int(worst))


class _Found(NamedTuple):
    """Candidates on each line, (lines, candidates): where, and how regular the function is there."""

    places: np.ndarray
    kinds: np.ndarray


def _lines(p: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts and unit steps (p, lines)."""
    starts, steps = np.random.default_rng(0).normal(size=(2, p, _LINES))
    return 0.5 * starts, steps / np.linalg.norm(steps, axis=0)


def _search(phi: Pointwise, starts: np.ndarray, steps: np.ndarray) -> _Found:
    """The roughest places of φ on lines."""

    def on_lines(t: np.ndarray) -> np.ndarray:
        shape = (slice(None), slice(None)) + (None,) * (t.ndim - 1)
        return np.nan_to_num(values(phi, starts[shape] + t * steps[shape]), posinf=0.0, neginf=0.0)

    grid = np.linspace(-_REACH, _REACH, _CELLS + 1) + _STEP * 1e-2 * np.pi
    sampled = on_lines(np.broadcast_to(grid, (starts.shape[1], len(grid))))
    rough = _fourth(sampled)
    centres = _peaks(rough, grid[2:-2])
    scale = sampled.std(1)[:, None] + 1e-9 * np.abs(sampled).max(1)[:, None] + 1e-300
    centres, step, size = _refine(on_lines, centres, _STEP, _ROUNDS[0])
    kinked = size > 1e-4 * step * scale
    centres, step, size = _refine(on_lines, centres, step, _ROUNDS[1])
    stepped = kinked & (size > 1e-5 * scale)
    kinds = np.where(stepped, Regularity.STEPS, np.where(kinked, Regularity.KINKS, Regularity.SMOOTH))
    return _Found(centres, kinds)


def _fourth(f: np.ndarray) -> np.ndarray:
    return np.abs(f[..., 4:] - 4 * f[..., 3:-1] + 6 * f[..., 2:-2] - 4 * f[..., 1:-3] + f[..., :-4])


def _peaks(rough: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """The places of the largest values of each row, no two of them neighbours."""
    rough, out = rough.copy(), np.empty((len(rough), _MOST))
    rows = np.arange(len(rough))
    for k in range(_MOST):
        best = rough.argmax(1)
        out[:, k] = grid[best]
        for near in range(-3, 4):
            rough[rows, np.clip(best + near, 0, rough.shape[1] - 1)] = -1.0
    return out


def _refine(
    on_lines: Callable[[np.ndarray], np.ndarray], centres: np.ndarray, step: float, rounds: int
) -> tuple[np.ndarray, float, np.ndarray]:
    """Follow the largest fourth difference to smaller steps: the places, the last step, the differences."""
    size = np.zeros_like(centres)
    for _ in range(rounds):
        step /= 4
        points = centres[..., None] + step * np.arange(-12, 13)
        rough = _fourth(on_lines(points))
        best = rough.argmax(-1)
        size = rough.max(-1)
        centres = centres + step * (best - 10)
    return centres, step, size


def hyperplanes(phi: Pointwise) -> Hyperplanes | None:
    """The parallel hyperplanes on which all kinks and steps lie (no offsets: φ is smooth), if that is where they lie."""
    return phi.remember("hyperplanes", lambda: _hyperplanes(phi))


def _hyperplanes(phi: Pointwise) -> Hyperplanes | None:
    p = phi.arity
    if regularity(phi) is Regularity.SMOOTH:
        return Hyperplanes(np.eye(max(p, 1))[0][:p], ())
    starts, steps = _lines(p)
    moved = np.concatenate([starts, *(starts + _SHIFT * np.eye(p)[:, [j]] for j in range(p))], 1)
    try:
        found = _search(phi, moved, np.tile(steps, (1, p + 1)))
    except Unevaluable:
        return None
    sets = [row[kind < Regularity.SMOOTH] for row, kind in zip(found.places, found.kinds, strict=True)]
    planes = [plane for i in range(_LINES) for plane in _planes(sets[i::_LINES], starts[:, i], steps[:, i])]
    return _parallel(planes)


def _planes(sets: list[np.ndarray], start: np.ndarray, step: np.ndarray) -> list[tuple[np.ndarray, float] | None]:
    """(normal, offset) at each kink of a line, from the lines moved along each axis; None where they do not fit."""
    out: list[tuple[np.ndarray, float] | None] = []
    for place in sets[0]:
        if abs(place) > _REACH - 1:
            continue  # its neighbours may lie outside
        if not all(len(s) for s in sets[1:]):
            return [None]
        near = np.asarray([s[np.abs(s - place).argmin()] for s in sets[1:]])
        normal = (place - near) / _SHIFT
        if abs(normal @ step - 1) > _SAME:
            out.append(None)
            continue
        length = np.linalg.norm(normal) * np.sign(normal[np.abs(normal) > 1e-3][0])
        out.append((normal / length, float(normal @ (start + place * step) / length)))
    return out


def _parallel(planes: list[tuple[np.ndarray, float] | None]) -> Hyperplanes | None:
    good = [plane for plane in planes if plane is not None]
    if not good or len(good) < 0.8 * len(planes):
        return None
    normals = np.stack([a for a, _ in good])
    normal = neat(np.median(normals, 0))
    if np.abs(normals - normal).max() > _SAME:
        return None
    offsets: list[float] = []
    for c in sorted(c for _, c in good):
        if not offsets or c - offsets[-1] > _SAME:
            offsets.append(c)
    return Hyperplanes(normal, tuple(0.0 if abs(c) < _SAME else c for c in offsets)) if len(offsets) <= _MOST else None


def neat(normal: np.ndarray) -> np.ndarray:
    """A unit vector whose components are in small whole ratios, if rounding cannot tell it from the one given."""
    ratios = normal / np.abs(normal).max()
    neat = np.round(ratios * 5040) / 5040
    ratios = np.where(np.abs(neat - ratios) < _SAME, neat, ratios)
    return ratios / np.linalg.norm(ratios)


def has_steps(phi: Pointwise) -> bool:
    """Whether a function of several Gaussians is discontinuous somewhere; one that cannot be evaluated is taken to be."""
    try:
        values(phi, np.zeros((phi.arity, 1)))
    except Unevaluable:
        return True
    return regularity(phi) is Regularity.STEPS


def is_own_derivative(phi: Pointwise) -> bool:
    """Whether automatic derivatives are those of the values (up to kinks): central differences at random points."""
    u, step = np.random.default_rng(5).normal(size=(phi.arity, 512)), 1e-5
    moved = u[:, None] + step * np.eye(phi.arity)[..., None]
    back = u[:, None] - step * np.eye(phi.arity)[..., None]
    try:
        slopes, differences = gradients(phi, u), (values(phi, moved) - values(phi, back)) / (2 * step)
    except Unevaluable:
        return False
    wrong = (
        np.abs(slopes - differences) > 1e-5 * (np.abs(slopes) + np.abs(differences)) + 1e-7 * np.abs(differences).max()
    )
    return bool(wrong.mean() <= _SHARE)
