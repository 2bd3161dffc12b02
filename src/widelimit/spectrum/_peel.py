"""Lower bounds on the smallest eigenvalue of κ(X Xᵀ) from its spectrum on the sphere."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float
from numpy import ndarray

_EPS = 2.0**-52
_RADII = 24
_TURNS = 30
_SHAPES: dict[str, Callable[[ndarray, float], ndarray]] = {  # share of degree k that stays, with a cut near degree r
    "sharp": lambda k, r: (k >= r).astype(float),
    "quartic": lambda k, r: np.minimum(1.0, (k / r) ** 4),
    "rational": lambda k, r: k**4 / (k**4 + r**4),
    "heat": lambda k, r: -np.expm1(-((k / r) ** 4)),
    "steep heat": lambda k, r: -np.expm1(-((k / r) ** 8)),
}
_LARGE = 2000  # points beyond which no eigenvalue of polynomials of the data is computed


@dataclasses.dataclass(frozen=True)
class Peeled:
    """A bound, the c_k that gave it, and the cut they began from."""

    bound: float
    removed: Float[ndarray, " k"]
    cut: str


@dataclasses.dataclass(frozen=True, eq=False)
class Peeler:
    """λ_min(K) ≥ T(1) - ρ(|T(x_i·x_j)|, i ≠ j) with T = κ - Σ_k c_k P_k, for every choice of c_k ≥ 0.

    For c_k ≥ 0 the matrix Σ_k c_k P_k(x_i·x_j) is positive semi-definite (Schoenberg 1942; addition theorem), so
    K ⪰ T(X Xᵀ) whatever the c_k, and T has the eigenvalue bound of Gershgorin's discs, made as small as a diagonal scaling can:
    the spectral radius ρ of a non-negative matrix A is at most max_i (A v)_i / v_i for every v > 0 (Collatz, Wielandt). Nothing
    here need be exact but the values of κ and P_k: the c_k and v are only good guesses, and the rounding of the rest is taken off.

    `diagonal` is κ(1), `values` κ at the pairs i < j, `basis` P_k there, `weights` λ_k N(d, k).
    """

    count: int
    diagonal: float
    values: Float[ndarray, " m"]
    basis: Float[ndarray, "k m"]
    weights: Float[ndarray, " k"]

    def best(self, steps: int) -> Peeled:
        """The best cut, then projected ascent on the c_k: the bound is a concave function of them."""
        first = max((Peeled(self.bound(c), c, name) for name, c in self._cuts()), key=lambda p: p.bound)
        return self._ascend(first, steps)

    def bound(self, removed: ndarray) -> float:
        """The bound for these c_k, less its rounding error."""
        return self._evaluate(removed, _TURNS)[0]

    def _cuts(self) -> Iterator[tuple[str, ndarray]]:
        k = np.arange(len(self.weights))
        yield "nothing removed", np.zeros(len(k))
        for radius in np.unique(np.geomspace(1, max(len(k) - 1, 1), _RADII)):
            for name, shape in _SHAPES.items():
                yield f"{name} cut near degree {radius:.3g}", self.weights * (1 - shape(k, radius))

    def _evaluate(self, removed: ndarray, turns: int) -> tuple[float, ndarray]:
        """The bound, and its slope in the c_k."""
        rest = self.values - removed @ self.basis
        size = np.zeros((self.count, self.count))
        upper = np.triu_indices(self.count, 1)
        size[upper] = np.abs(rest)
        size += size.T
        vector, radius = _perron(size, turns)
        k = np.arange(len(removed))
        rounding = 2 * _EPS * self.count * (4 * self.diagonal + float(np.sum(removed * (k + 4))))
        slope = -1 + self.basis @ (2 * (vector[upper[0]] * vector[upper[1]]) * np.sign(rest))
        return self.diagonal - float(np.sum(removed)) - radius - rounding, slope

    def _ascend(self, start: Peeled, steps: int) -> Peeled:
        """Polyak's subgradient steps towards a level a little above the best, in units of the λ_k N(d, k)."""
        best, current, ahead = start, start.removed, 0.5
        for _ in range(steps if self.count > 1 else 0):
            value, slope = self._evaluate(current, _TURNS)
            if value > best.bound:
                best, ahead = Peeled(value, current, start.cut), min(1.5 * ahead, 0.5)
            else:
                ahead = max(0.9 * ahead, 1e-3)
            direction = slope * self.weights
            length = float(direction @ direction)
            if length == 0:
                break
            gap = best.bound - value + ahead * (abs(best.bound) + 1e-3 * self.diagonal / self.count)
            current = np.maximum(0.0, current + 0.5 * gap / length * direction)
        return best


def by_harmonics(
    count: int, basis: Float[ndarray, "k m"], eigenvalues: Float[ndarray, " k"], multiplicities: Float[ndarray, " k"]
) -> Peeled:
    """λ_min(K) ≥ τ λ_min(Σ_{k: λ_k ≥ τ} N(d, k) P_k(X Xᵀ)), the best over τ.

    What is taken off, Σ_k (λ_k - τ) N(d, k) P_k over λ_k ≥ τ and all of the others, is positive semi-definite. What is left is τ Y Yᵀ with
    Y the values of the harmonics of these degrees at the data: invertible as soon as no such polynomial combination
    vanishes on them, however fast the λ_k decay. Given lower bounds on the λ_k; the smallest eigenvalue of Y Yᵀ is taken less its rounding.
    """
    best, total, upper = (
        Peeled(0.0, np.zeros_like(eigenvalues), "nothing"),
        np.zeros((count, count)),
        np.triu_indices(count, 1),
    )
    if count > _LARGE:
        return best
    rank = 0.0
    for k in np.argsort(-eigenvalues, kind="stable"):
        level = float(eigenvalues[k])
        if level <= 0:
            break
        total[upper] += multiplicities[k] * basis[k]
        rank += multiplicities[k]
        if rank >= count:
            bound = level * _smallest(total, rank)
            if bound > best.bound:
                removed = np.maximum(eigenvalues - level, 0) * multiplicities
                best = Peeled(bound, removed, f"all but {level:.3g} of each of the degrees with λ_k >= {level:.3g}")
    return best


def _smallest(upper: Float[ndarray, "n n"], diagonal: float) -> float:
    """The smallest eigenvalue of a symmetric matrix given by its upper triangle, less a bound on its rounding error."""
    matrix = upper + upper.T + diagonal * np.eye(len(upper))
    return float(np.linalg.eigvalsh(matrix)[0]) - 64 * _EPS * len(upper) * diagonal


def _perron(size: Float[ndarray, "n n"], turns: int) -> tuple[Float[ndarray, " n"], float]:
    """Perron's vector of a non-negative symmetric matrix (norm 1), and an upper bound on its spectral radius."""
    vector = np.ones(len(size))
    bound = float(np.max(size @ vector, initial=0.0))
    if bound == 0:
        return vector / np.sqrt(len(size)), 0.0
    for _ in range(turns):
        image = size @ vector
        bound = min(bound, float(np.max(image / vector)))
        vector = image + 1e-2 * bound * vector  # stays positive where a row is zero
        vector /= vector.max()
    return vector / np.linalg.norm(vector), bound
