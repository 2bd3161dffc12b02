"""Functions whose Gaussian expectations are known: a polynomial plus a weighted sum of atoms."""

from dataclasses import dataclass

from jaxtyping import Array


@dataclass(frozen=True)
class Rectified:
    """u₊ⁿ; for n = 0 the step 1[u > 0].

    Attributes:
        order: n.
        at_zero: value at 0 of the n-th derivative over n!, as the user's code gives it (n <= 1).
    """

    order: int
    at_zero: float = 0.5

    def __str__(self) -> str:
        return {0: "1[u>0]", 1: "max(u,0)"}.get(self.order, f"max(u,0)^{self.order}")


@dataclass(frozen=True)
class Ramp:
    """(u − t)₊ⁿ, t not 0; for n = 0 the step 1[u > t].

    Attributes:
        order: n.
        threshold: t.
        at_zero: value at t of the n-th derivative over n!, as the user's code gives it (n <= 1).
    """

    order: int
    threshold: float
    at_zero: float = 0.5

    def __str__(self) -> str:
        inner = _affine(1.0, -self.threshold)
        step = f"1[u>{self.threshold:.6g}]"
        return {0: step, 1: f"max({inner},0)"}.get(self.order, f"max({inner},0)^{self.order}")


@dataclass(frozen=True)
class Erf:
    """erf(a u + b)."""

    slope: float
    offset: float = 0.0

    def __str__(self) -> str:
        return f"erf({_affine(self.slope, self.offset)})"


@dataclass(frozen=True)
class ErfLine:
    """u erf(a u): the curved part of the exact GELU."""

    slope: float

    def __str__(self) -> str:
        return f"u*erf({self.slope:.6g}*u)"


@dataclass(frozen=True)
class ErfLineSlope:
    """d/du (u erf(a u)) = erf(a u) + (2a/√π) u exp(−a²u²)."""

    slope: float

    def __str__(self) -> str:
        return f"d/du[u*erf({self.slope:.6g}*u)]"


@dataclass(frozen=True)
class Sine:
    """sin(a u + p)."""

    frequency: float
    phase: float = 0.0

    def __str__(self) -> str:
        return f"sin({_affine(self.frequency, self.phase)})"


@dataclass(frozen=True)
class Exponential:
    """exp(a u)."""

    rate: float

    def __str__(self) -> str:
        return f"exp({self.rate:.6g}*u)"


@dataclass(frozen=True)
class Bump:
    """exp(−α (u − m)²)."""

    sharpness: float
    centre: float = 0.0

    def __str__(self) -> str:
        return f"exp(-{self.sharpness:.6g}*({_affine(1.0, -self.centre)})^2)"


Simple = Rectified | Ramp | Erf | ErfLine | ErfLineSlope | Sine | Exponential | Bump


@dataclass(frozen=True)
class Product:
    """uⁿ f(u)."""

    power: int
    factor: Simple

    def __str__(self) -> str:
        return f"{'u' if self.power == 1 else f'u^{self.power}'}*{self.factor}"


Atom = Simple | Product


@dataclass(frozen=True)
class Form:
    """Σ_k polynomial[k] u^k + Σ_j weight_j atom_j(u).

    Attributes:
        polynomial: coefficients, constant term first; empty for none.
        terms: pairs `(weight, atom)`. Weights are arrays where they depend on parameters.
        name: what a reader calls it.
    """

    polynomial: tuple[float | Array, ...]
    terms: tuple[tuple[float | Array, Atom], ...] = ()
    name: str = ""

    def __str__(self) -> str:
        powers = {0: "1", 1: "u"}
        parts = [(w, powers.get(k, f"u^{k}")) for k, w in enumerate(self.polynomial) if w]
        parts += [(w, str(atom)) for w, atom in self.terms]
        return " + ".join(_weighted(w, text) for w, text in parts) or "0"


def _weighted(weight: float, text: str) -> str:
    if weight == 1:
        return text
    return f"{weight:.6g}" if text == "1" else f"{weight:.6g}*{text}"


def _affine(slope: float, offset: float) -> str:
    inner = "u" if slope == 1 else f"{slope:.6g}*u"
    return inner if not offset else f"{inner} {'-' if offset < 0 else '+'} {abs(offset):.6g}"
