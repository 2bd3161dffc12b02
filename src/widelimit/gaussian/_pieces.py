"""Any recognised function as a sum of pieces: a polynomial times at most a step, a Gaussian factor and a wave.

Every atom is such a sum: erf(au + b) is the mean of the sign of u + b/a + σz over a standard normal z, σ² = 1/2a²;
u erf(au) is that times u; sin(au + p) = Im exp(iau + ip). Expectations of two pieces close, whichever their atoms
were, except a wave against a step, which is a normal distribution function of a complex argument.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from widelimit.gaussian._angle import angle
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
from widelimit.gaussian._moments import NOTHING, Step, line, moments, plus, times


@dataclass(frozen=True)
class Shape:
    """S(u − t) exp(−½ A u² + b u + l) sin(ωu + p); without a wave the last factor is 1.

    Attributes:
        step: S, a step or a sign, or nothing.
        place: t.
        sharpness: A.
        drift: b.
        size: l.
        wave: (ω, p), if there is one.
    """

    step: Step = NOTHING
    place: float = 0.0
    sharpness: float = 0.0
    drift: float = 0.0
    size: float = 0.0
    wave: tuple[float, float] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the law is left as it is."""
        return not (self.sharpness or self.drift or self.wave)


class Piece(NamedTuple):
    """p(u − t) times a shape; coefficients constant term first, arrays where they depend on parameters."""

    coefficients: tuple
    shape: Shape


def pieces(form: Form) -> list[Piece]:
    """The pieces of a form, one a shape."""
    found: dict[Shape, tuple] = {Shape(): form.polynomial} if form.polynomial else {}
    for weight, atom in form.terms:
        for coefficients, shape in _parts(atom):
            scaled = tuple(weight * x for x in coefficients)
            found[shape] = _added(found.get(shape, ()), scaled)
    return [Piece(p, shape) for shape, p in _stepped(found).items() if p]


def _parts(atom: Atom) -> Iterator[tuple[tuple[float, ...], Shape]]:
    match atom:
        case Rectified(n, at_zero):
            yield (0.0,) * n + (1.0,), Shape(Step(1, 0.0, at_zero if n < 2 else 0.5))
        case Ramp(n, place, at_zero):
            yield (0.0,) * n + (1.0,), Shape(Step(1, 0.0, at_zero if n < 2 else 0.5), place)
        case Erf(a, b):
            yield (math.copysign(1.0, a),), Shape(Step(2, 0.5 / a**2), -b / a + 0.0)
        case ErfLine(a):
            yield (0.0, math.copysign(1.0, a)), Shape(Step(2, 0.5 / a**2))
        case ErfLineSlope(a):
            yield from _parts(Erf(a))
            yield (0.0, 2 * a / math.sqrt(math.pi)), Shape(sharpness=2 * a * a)
        case Sine(a, p):
            yield (1.0,), Shape(wave=(a, p))
        case Exponential(a):
            yield (1.0,), Shape(drift=a)
        case Bump(a, m):
            yield (1.0,), Shape(sharpness=2 * a, drift=2 * a * m, size=-a * m * m)
        case Product(n, factor):
            for coefficients, shape in _parts(factor):
                yield _raised(coefficients, n, shape.place), shape


def _raised(coefficients: tuple[float, ...], n: int, place: float) -> tuple[float, ...]:
    """Of (x + t)ⁿ p(x)."""
    for _ in range(n):
        coefficients = _added((0.0, *coefficients), tuple(place * x for x in coefficients))
    return coefficients


def _added(p: tuple, q: tuple) -> tuple:
    longer, shorter = (p, q) if len(p) >= len(q) else (q, p)
    return tuple(a + b for a, b in zip(longer, shorter, strict=False)) + longer[len(shorter) :]


def _stepped(found: dict[Shape, tuple]) -> dict[Shape, tuple]:
    """p(1 + S) as 2p 1[x' > 0], where S is a sign: the tail of Φ or of a GELU keeps its digits."""
    for shape, p in list(found.items()):
        plain = found.get(Shape())
        if plain is None or shape.step.jump != 2 or not replace(shape, step=NOTHING, place=0.0).is_plain:
            continue
        here = _shifted(plain, shape.place)
        if _same(here, p):
            found = {k: v for k, v in found.items() if k not in (shape, Shape())}
            found[replace(shape, step=shape.step._replace(jump=1))] = tuple(2 * x for x in p)
    return found


def _shifted(p: tuple, place: float) -> tuple:
    """Of p(x + t)."""
    out: tuple = ()
    for coefficient in p[::-1]:
        out = _added((0.0, *out), tuple(place * x for x in out))
        out = _added(out, (coefficient,))
    return out[: len(p)]


def _same(p: tuple, q: tuple) -> bool:
    if not all(isinstance(x, float) for x in p + q):
        return False
    size = max(map(abs, p + q))
    return all(abs(a - b) <= 1e-15 * size for a, b in zip(p, q, strict=False)) and not any(
        (p if len(p) > len(q) else q)[min(len(p), len(q)) :]
    )


# --- expectations -------------------------------------------------------------------------


def closes(f: Form, g: Form) -> bool:
    """Whether E[f(u)g(v)] has a closed form: no wave meets a step."""
    left, right = pieces(f), pieces(g)
    return not (_waves(left) and _steps(right)) and not (_waves(right) and _steps(left))


def _waves(found: list[Piece]) -> bool:
    return any(piece.shape.wave for piece in found)


def _steps(found: list[Piece]) -> bool:
    return any(piece.shape.step.jump for piece in found)


def pair(f: Form, g: Form, law: tuple) -> Any:
    """E[f(u) g(v)] by the moments of each two pieces; law is (k11, c, k22, m1, m2), arrays."""
    return plus(*(_two(p, q, law) for p in pieces(f) for q in pieces(g)))


def mean(f: Form, k: Array, m: Array) -> Any:
    """E[f(u)]."""
    return plus(*(_one(piece, k, m) for piece in pieces(f)))


def _one(piece: Piece, k: Array, m: Array) -> Any:
    shape, degree = piece.shape, len(piece.coefficients) - 1
    if shape.is_plain:
        rows = line(degree, shape.step, k, m - shape.place)
        return plus(*(times(_weight(w), x) for w, x in zip(piece.coefficients, rows, strict=True)))
    nothing = jnp.zeros_like(k)
    return _two(piece, Piece((1.0,), Shape()), (k, nothing, nothing, m, nothing))


def _two(p: Piece, q: Piece, law: tuple) -> Any:
    waves = p.shape.wave, q.shape.wave
    if waves == (None, None):
        return _tilted(p, q, law, (p.shape.drift, q.shape.drift), p.shape.size + q.shape.size)
    (a, x), (b, y) = (wave or (0.0, 0.0) for wave in waves)
    if None in waves:
        drifts = p.shape.drift + 1j * a, q.shape.drift + 1j * b
        return _tilted(p, q, law, drifts, p.shape.size + q.shape.size + 1j * (x + y)).imag
    size = p.shape.size + q.shape.size
    same, opposite = (
        _tilted(p, q, law, (p.shape.drift + 1j * a, q.shape.drift + s * 1j * b), size + 1j * (x + s * y)).real
        for s in (-1, 1)
    )
    return (same - opposite) / 2


def _tilted(p: Piece, q: Piece, law: tuple, drifts: tuple, size: float | complex) -> Any:
    """E[p q] of two pieces whose waves are in the drifts: Gaussian factors change the law, and a number comes out."""
    log, moved = _law_under(law, (p.shape.sharpness, q.shape.sharpness), drifts)
    k11, c, k22, m1, m2 = moved
    moved = (k11, c, k22, m1 - p.shape.place, m2 - q.shape.place)
    powers = len(p.coefficients) - 1, len(q.coefficients) - 1
    table = moments(powers, (p.shape.step, q.shape.step), moved)
    weights = [(_weight(a), _weight(b)) for a in p.coefficients for b in q.coefficients]
    value = plus(*(times(*w, x) for w, x in zip(weights, (x for row in table for x in row), strict=True)))
    factor = plus(log, size if size else None)
    return value if factor is None else times(value, jnp.exp(factor))


def _weight(w: Any) -> Any:
    return None if isinstance(w, float) and w == 0 else w


def _law_under(law: tuple, sharp: tuple[float, float], drifts: tuple) -> tuple:
    """The law under the density exp(−½ xᵀAx + bᵀx)/Z, A diagonal, and log Z.

    With M = I + ΣA: Σ' = M⁻¹Σ, m' = M⁻¹m + Σ'b, log Z = −½ log det M + ½ bᵀΣ'b + bᵀM⁻¹m − ½ mᵀAM⁻¹m.
    """
    k11, c, k22, m1, m2 = law
    (a, b), (s, t) = sharp, drifts
    log = None
    if a or b:
        plane = angle(k11, c, k22).determinant
        det = 1 + a * k11 + b * k22 + a * b * plane
        log = -jnp.log(det) / 2 - (a * m1**2 * (1 + b * k22) + b * m2**2 * (1 + a * k11) - 2 * a * b * c * m1 * m2) / (
            2 * det
        )
        m1, m2 = ((1 + b * k22) * m1 - b * c * m2) / det, ((1 + a * k11) * m2 - a * c * m1) / det
        k11, c, k22 = (k11 + b * plane) / det, c / det, (k22 + a * plane) / det
    if s or t:
        square = (s * s * k11 + 2 * s * t * c + t * t * k22) / 2
        log = plus(log, square + s * m1 + t * m2)
        m1, m2 = m1 + s * k11 + t * c, m2 + s * c + t * k22
    return log, (k11, c, k22, m1, m2)
