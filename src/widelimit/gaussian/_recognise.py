"""What a function is, read from its values: its form, however its code was spelled.

A form is proposed from a few values and accepted only if it reproduces the function at thousands of points,
of every size, to the rounding of those values, and around every place where a quantity in the code vanishes or turns.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np

from widelimit.gaussian._forms import (
    Atom,
    Bump,
    Erf,
    ErfLine,
    ErfLineSlope,
    Exponential,
    Form,
    Product,
    Ramp,
    Rectified,
    Sine,
)
from widelimit.gaussian._places import hidden_points
from widelimit.gaussian._pointwise import Pointwise, derivative
from widelimit.gaussian._probe import Sample, component_values, grid, probe
from widelimit.gaussian._products import guesses
from widelimit.gaussian._threshold import candidates

_HIGHEST = 16  # degree of a polynomial
_HIGHEST_RECTIFIED = 6
_BLOCK = 1024  # points are checked in multiples of it: few shapes, hence few compilations
_PROBES = 64  # likewise of points where derivatives are taken
_UNDERFLOW = 1e-290
_SLACK = 64.0  # roundings that a value may be away from its form


def recognise(phi: Pointwise) -> Form | None:
    """The form of a function of one Gaussian, `None` if it is none of those known.

    Found once for each function and kept with it.
    """
    return phi.remember("form", lambda: _recognised(phi))


def _recognised(phi: Pointwise) -> Form | None:
    found = recognise_at(phi, ())
    return found if found is None or _holds_in_hiding(found, phi) else None


def _holds_in_hiding(form: Form, phi: Pointwise) -> bool:
    """Whether the form is the function near all places where the function could differ from it."""
    points = hidden_points(phi, grid())
    if not len(points):
        return True
    short = -len(points) % _BLOCK
    points = np.append(points, points[-1:].repeat(short))
    sample = probe(phi, points)
    with np.errstate(all="ignore"):
        powers = [(w, points**k) for k, w in enumerate(form.polynomial) if w]
        parts = powers + [(w, component_values(atom, points)) for w, atom in form.terms]
        give = _give([atom for _, atom in form.terms], points)[:, 2:]
        size = sum((abs(w) * np.abs(x) for w, x in parts), np.zeros_like(points))
        size += give @ np.array([abs(w) for w, _ in form.terms]) + _slack_of_thresholds(form)
        fitted = sum((w * x for w, x in parts), np.zeros_like(points))
        highest = max([len(form.polynomial) - 1, *(getattr(atom, "order", 0) for _, atom in form.terms), 0])
        tolerance = _tolerance(sample, _SLACK, highest + _degree(form))
        return _agree(sample, fitted, size, tolerance)


def _degree(form: Form) -> int:
    """Of the polynomials before the atoms."""
    return max((2 * atom.power for _, atom in form.terms if isinstance(atom, Product)), default=0)


def _slack_of_thresholds(form: Form) -> float:
    """|w t|: how far a rounding of u − t moves the terms (u − t)₊."""
    kinks = [(w, atom.threshold) for w, atom in form.terms if isinstance(atom, Ramp) and atom.order]
    return float(sum(abs(w * t) for w, t in kinks))


def recognise_at(phi: Pointwise, params: tuple) -> Form | None:
    """The form of u ↦ φ(u; params) for concrete scalar parameters; nothing is kept."""
    points = grid()
    sample = probe(phi, points, params)
    if sample is None:
        return None
    with np.errstate(all="ignore"):
        return (
            _polynomial(points, sample)
            or _rectified(phi, params, points, sample)
            or _about_a_threshold(phi, params, points, sample)
            or _smooth(phi, params, points, sample)
        )


# --- polynomials, and polynomials with a kink at zero -------------------------------------


def _polynomial(points: np.ndarray, sample: Sample) -> Form | None:
    found = _fit(points, sample, _HIGHEST)
    if found is None:
        return None
    names = {0: "constant", 1: "linear"}
    name = "identity" if found == (0.0, 1.0) else names.get(len(found) - 1, "polynomial")
    return Form(found, (), name)


def _fit(points: np.ndarray, sample: Sample, highest: int, place: float = 0.0) -> tuple[float, ...] | None:
    """Coefficients of the polynomial of lowest degree through the points."""
    for degree in range(highest + 1):
        found = _interpolate(points, sample, degree)
        if found is not None and _matches(found, points, sample, place):
            return found
    return None


def _interpolate(points: np.ndarray, sample: Sample, degree: int) -> tuple[float, ...] | None:
    """Through the points nearest to the Chebyshev nodes of [-2, 2], or of the half with points."""
    low, high = max(points.min(), -2.0), min(points.max(), 2.0)
    nodes = (low + high) / 2 - (high - low) / 2 * np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    chosen = np.abs(points[:, None] - nodes).argmin(0)
    x, y = points[chosen], sample.values[chosen]
    if not np.all(np.isfinite(y)):
        return None
    coefficients = np.linalg.solve(np.vander(x, increasing=True), y)
    noise = np.abs(coefficients).max() * _tolerance(sample, 16.0, degree)
    return tuple(_tidy(coefficients, noise * np.ones_like(x)))


def _tidy(coefficients: np.ndarray, noise: np.ndarray) -> Iterator[float]:
    """Drops what is rounding, and rounds to a 64th what is a 64th but for rounding."""
    for coefficient, error in zip(coefficients.tolist(), noise.tolist(), strict=True):
        near = round(coefficient * 64) / 64
        yield near if abs(coefficient - near) <= error else coefficient


def _matches(coefficients: tuple[float, ...], points: np.ndarray, sample: Sample, place: float) -> bool:
    size = np.polyval(np.abs(coefficients)[::-1], np.abs(points) + abs(place))
    fitted = np.polyval(coefficients[::-1], points)
    return _agree(sample, fitted, size, _tolerance(sample, _SLACK, len(coefficients) - 1))


def _tolerance(sample: Sample, slack: float, degree: int) -> float:
    """Roundings grow about fourfold a degree in the interpolation; beyond half of the digits nothing is certain."""
    return min(slack * sample.rounding * 4.0**degree, math.sqrt(sample.rounding) / 16)


def _agree(sample: Sample, fitted: np.ndarray, size: np.ndarray, tolerance: float) -> bool:
    """Equal to rounding wherever both are finite, and finite in most places."""
    usable = np.isfinite(sample.values) & np.isfinite(fitted) & np.isfinite(size)
    error = np.abs(sample.values - fitted)[usable]
    return bool(usable.mean() > 0.5 and np.all(error <= tolerance * size[usable] + _UNDERFLOW))


def _rectified(phi: Pointwise, params: tuple, points: np.ndarray, sample: Sample, *, place: float = 0.0) -> Form | None:
    """A polynomial on each side of zero: ReLU and its relatives, steps, rectified monomials.

    The points are places less `place`, and have its rounding errors.
    """
    above, below = (
        _fit(points[side], Sample(sample.values[side], sample.rounding), _HIGHEST_RECTIFIED, place)
        for side in (points > 0, points < 0)
    )
    if above is None or below is None:
        return None
    length = max(len(above), len(below))
    above, below = (x + (0.0,) * (length - len(x)) for x in (above, below))
    noise = _SLACK * sample.rounding * max(map(abs, above + below))
    jumps = [a - b if abs(a - b) > noise else 0.0 for a, b in zip(above, below, strict=True)]
    terms = tuple((w, Rectified(n, _at_zero(phi, params, n, w, below[n]))) for n, w in enumerate(jumps) if w)
    return Form(_trimmed(below), terms, _rectified_name(above, below))


def _about_a_threshold(phi: Pointwise, params: tuple, points: np.ndarray, sample: Sample) -> Form | None:
    """A polynomial on each side of a place t other than 0: φ(x + t) is recognised, and x = u − t put back."""
    for place in () if params else candidates(phi, points, sample):
        moved = Pointwise(lambda x, t=place: phi.fn(x + t), 1, phi.label)
        inner = probe(moved, points)
        found = None if inner is None else _rectified(moved, (), points, inner, place=place)
        if found is not None and found.terms:
            return _moved_back(found, place)
    return None


def _moved_back(form: Form, place: float) -> Form:
    polynomial = np.polynomial.Polynomial(form.polynomial or (0.0,))(np.polynomial.Polynomial((-place, 1.0)))
    coefficients = tuple(0.0 if abs(x) < 1e-15 else float(x) for x in polynomial.coef)
    terms = tuple((w, Ramp(atom.order, place, atom.at_zero)) for w, atom in form.terms)
    return Form(_trimmed(coefficients), terms, f"{form.name} at {place:.6g}")


def _at_zero(phi: Pointwise, params: tuple, n: int, jump: float, below: float) -> float:
    """Where between the two sides the code puts the n-th derivative at exactly zero."""
    if n > 1:
        return 0.5
    sample = probe(derivative(phi, 0) if n else phi, np.zeros(1), params)
    if sample is None or not np.isfinite(sample.values[0]):
        return 0.5
    return float(round(64 * (sample.values[0] - below) / jump) / 64)


def _trimmed(polynomial: tuple[float, ...]) -> tuple[float, ...]:
    while polynomial and polynomial[-1] == 0:
        polynomial = polynomial[:-1]
    return polynomial


def _rectified_name(above: tuple[float, ...], below: tuple[float, ...]) -> str:
    if len(above) == 1:
        return "sign" if above[0] == -below[0] else "step"
    if len(above) > 2 or above[0] or below[0]:
        return "rectified polynomial"
    named = {(1.0, 0.0): "relu", (1.0, -1.0): "abs"}
    return named.get((above[1], below[1]), "two-slope")


# --- everything smooth: 1, u and one or two atoms ------------------------------------------


def _smooth(phi: Pointwise, params: tuple, points: np.ndarray, sample: Sample) -> Form | None:
    slopes = _Slopes(phi, params)
    for propose in (_erf_guess, _erf_line_guess, _erf_line_slope_guess, _wave_guess, _bump_guess):
        for name, atoms in propose(slopes):
            found = _combine(name, atoms, points, sample)
            if found is not None:
                return found
    for guess in guesses(points, sample):
        found = _combine(guess.name, list(guess.atoms), points, sample)
        if found is not None:
            return found
    return None


class _Slopes:
    """Derivatives of a function at chosen points, by order."""

    def __init__(self, phi: Pointwise, params: tuple):
        self._orders, self._params = [phi], params

    def __call__(self, order: int, *points: float) -> np.ndarray:
        while len(self._orders) <= order:
            self._orders.append(derivative(self._orders[-1], 0))
        filled = np.append(points, np.full(-len(points) % _PROBES, points[-1]))
        sample = probe(self._orders[order], filled, self._params)
        return np.full(len(points), np.nan) if sample is None else sample.values[: len(points)]


Guess = Iterator[tuple[str, list[Atom]]]
_STEPS = 2.0 ** np.arange(-8, 9)


def _erf_guess(slopes: _Slopes) -> Guess:
    """φ' is a constant plus a Gaussian density."""
    for slope, offset in _log_quadratic(lambda *x: slopes(1, *x)):
        yield "erf", [Erf(slope, offset)]


def _log_quadratic(fn: Callable[..., np.ndarray]) -> Iterator[tuple[float, float]]:
    """(a, b) with fn(u) = const + w exp(−(a u + b)²), if that is what it is."""
    values = fn(-1e4, 1e4, 0.0, *_STEPS, *-_STEPS)
    ends, middle, sides = values[:2], values[2], values[3:].reshape(2, -1)
    if not np.isclose(ends[0], ends[1], rtol=1e-6, atol=1e-9) or middle == ends[0]:
        return
    ratio = (sides - ends[0]) / (middle - ends[0])
    good = np.all((ratio > 1e-5) & (ratio < 1e5), 0)
    curvature = np.where(good, -np.log(np.abs(ratio)).sum(0) / 2, np.nan)
    best = np.nanargmin(np.abs(curvature - 0.5)) if good.any() else None
    if best is None or not curvature[best] > 0:
        return
    slope = math.sqrt(curvature[best]) / float(_STEPS[best])
    tilt = math.log(ratio[1, best] / ratio[0, best]) / (4 * float(_STEPS[best]))
    yield slope, _clean(tilt / slope)


def _clean(value: float) -> float:
    return 0.0 if abs(value) < 1e-9 else float(value)


def _inflected(fn: Callable[..., np.ndarray]) -> Iterator[float]:
    """a with fn(u) = w (1 − a²u²) exp(−a²u²), if that is what it is."""
    values = fn(0.0, *_STEPS)
    ratio = values[1:] / values[0]
    inside = np.flatnonzero((ratio > 0.05) & (ratio < 0.95))
    if not inside.size:
        return
    target, low, high = ratio[inside[0]], 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        above = (1 - middle) * math.exp(-middle) > target
        low, high = (middle, high) if above else (low, middle)
    yield math.sqrt((low + high) / 2) / float(_STEPS[inside[0]])


def _erf_line_guess(slopes: _Slopes) -> Guess:
    """φ'' of the exact GELU."""
    for slope in _inflected(lambda *x: slopes(2, *x)):
        yield "gelu", [ErfLine(slope)]


def _erf_line_slope_guess(slopes: _Slopes) -> Guess:
    """φ' of the derivative of the exact GELU."""
    for slope in _inflected(lambda *x: slopes(1, *x)):
        yield "gelu'", [ErfLineSlope(slope)]


def _wave_guess(slopes: _Slopes) -> Guess:
    """φ'''' = λ φ'': exponentials for λ > 0, sines for λ < 0."""
    places = np.linspace(-1.9, 2.1, 17)
    second, fourth = slopes(2, *places), slopes(4, *places)
    if not np.all(np.isfinite(second)) or not np.any(second):
        return
    best = np.abs(second).argmax()
    rate = math.sqrt(abs(fourth[best] / second[best]))
    if not 1e-6 < rate < 1e6:
        return
    if fourth[best] * second[best] > 0:
        yield "exponential", [Exponential(rate)]
        yield "exponential", [Exponential(-rate)]
        yield "exponential", [Exponential(rate), Exponential(-rate)]
    else:
        yield "sine", [Sine(rate, 0.0), Sine(rate, math.pi / 2)]


def _bump_guess(slopes: _Slopes) -> Guess:
    """A linear function plus a Gaussian density."""
    tilt = slopes(1, 1e4)[0]
    for slope, offset in _log_quadratic(lambda *x: slopes(0, *x) - tilt * np.array(x)):
        yield "Gaussian bump", [Bump(slope * slope, _clean(-offset / slope))]


def _combine(name: str, atoms: list[Atom], points: np.ndarray, sample: Sample) -> Form | None:
    """c0 + c1 u + Σ w_j atom_j by least squares where all are of moderate size, checked everywhere."""
    columns = np.stack([np.ones_like(points), points, *(component_values(f, points) for f in atoms)], 1)
    near = (np.abs(points) < 4) & np.isfinite(sample.values)
    if near.sum() < 100 or not np.all(np.isfinite(columns[near])):
        return None
    weights = _least_squares(columns[near], sample.values[near], sample.rounding)
    size = (np.abs(columns) + _give(atoms, points)) @ np.abs(weights)
    terms = _merged([(w, f) for w, f in zip(weights[2:].tolist(), atoms, strict=True) if w])
    degree = 2 * max((f.power for f in atoms if isinstance(f, Product)), default=0)
    if not _agree(sample, columns @ weights, size, _tolerance(sample, _SLACK, degree)):
        return None
    return Form(_trimmed(tuple(weights[:2].tolist())), terms, name)


def _least_squares(columns: np.ndarray, values: np.ndarray, rounding: float) -> np.ndarray:
    size = np.abs(columns).max(0) + 1e-300  # a column may underflow
    weights = np.linalg.lstsq(columns / size, values, rcond=None)[0] / size
    return np.array([*_tidy(weights, _SLACK * rounding * np.abs(values).max() / size)])


def _give(atoms: list[Atom], points: np.ndarray) -> np.ndarray:
    """|u f'(u)| of each column: how far a rounding of the inner parameters moves it."""
    step = 1e-6
    moved = [component_values(f, points * (1 + step)) - component_values(f, points) for f in atoms]
    return np.abs(np.stack([np.zeros_like(points), np.zeros_like(points), *moved], 1)) / step


def _merged(terms: list[tuple[float, Atom]]) -> tuple[tuple[float, Atom], ...]:
    """Sine and cosine of one frequency, times one power, as one sine with a phase; u erf(au) by its own name."""
    waves: dict[int, list[tuple[float, Sine]]] = {}
    rest = []
    for weight, atom in terms:
        power, inner = (atom.power, atom.factor) if isinstance(atom, Product) else (0, atom)
        if isinstance(inner, Sine):
            waves.setdefault(power, []).append((weight, inner))
        else:
            line = power == 1 and isinstance(inner, Erf) and not inner.offset
            rest.append((weight, ErfLine(inner.slope) if line else atom))
    found = ((power, *_one_wave(both)) for power, both in waves.items())
    return (*((w, Product(n, f) if n else f) for n, w, f in found), *rest)


def _one_wave(both: list[tuple[float, Sine]]) -> tuple[float, Sine]:
    if len(both) == 1:
        return both[0]
    (w, f), (v, g) = both
    c = w * math.cos(f.phase) + v * math.cos(g.phase), w * math.sin(f.phase) + v * math.sin(g.phase)
    return math.hypot(*c), Sine(f.frequency, math.atan2(c[1], c[0]))


def is_polynomial(phi: Pointwise) -> bool:
    """Whether a function is recognised as a polynomial of one Gaussian."""
    found = recognise(phi) if phi.arity == 1 else None
    return found is not None and not found.terms


def homogeneity(phi: Pointwise) -> int | None:
    """n with φ(a u) = aⁿ φ(u) for all a > 0 and n >= 1; `None` if there is none or it is not recognised."""
    found = recognise(phi) if phi.arity == 1 else None
    if found is None or not all(isinstance(atom, Rectified) for _, atom in found.terms):
        return None
    orders = {k for k, weight in enumerate(found.polynomial) if weight} | {atom.order for _, atom in found.terms}
    return orders.pop() if len(orders) == 1 and 0 not in orders else None
