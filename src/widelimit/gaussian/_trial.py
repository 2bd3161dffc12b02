"""A law at which rules for several Gaussians are measured, and what they integrate there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from widelimit.gaussian._landscape import Parameters, gradients, number, values
from widelimit.gaussian._nodes import SIZES, lattice
from widelimit.gaussian._pointwise import Pointwise

Points = tuple[np.ndarray, np.ndarray]  # nodes (n, K) of N(0, 1)ⁿ, and weights (K,)
_STANDARD = ((1.0, 0.5), (2.0, 0.75))  # variance, and correlation between the sides
LARGEST = max(variance for variance, _ in _STANDARD)


class Trial(NamedTuple):
    """φ(u) and ψ(v) under one joint law.

    Attributes:
        phi: the function of the first p coordinates.
        psi: that of the others.
        covariance: (n, n).
        mean: (n,).
        parameters: values of both functions' known parameters; those of `None` are put at one.
        sizes: of what `rows` gives, which is in units of them.
    """

    phi: Pointwise
    psi: Pointwise
    covariance: np.ndarray
    mean: np.ndarray
    parameters: tuple[Parameters, Parameters] = (None, None)
    sizes: tuple[float, ...] = (1.0, 1.0)

    @property
    def rank(self) -> int:
        return rank(self.phi, self.psi)

    def rows(self, points: Points) -> list[np.ndarray]:
        """φψ and, if both have arguments, Σ C_ij ∂_iφ ∂_jψ at the nodes, in units of their sizes."""
        return self.rows_at(_under(self.covariance, points[0]))

    def rows_at(self, centred: np.ndarray) -> list[np.ndarray]:
        """The same at arguments (n, K) of mean zero."""
        p, (left, right) = self.phi.arity, self.sides(centred)
        rows = [left[0] * right[0]]
        if left[1] is not None and right[1] is not None:
            rows.append(np.einsum("ik,ij,jk->k", left[1], self.covariance[:p, p:], right[1]))
        return [np.nan_to_num(row) / size for row, size in zip(rows, self.sizes, strict=False)]

    def sides(self, centred: np.ndarray) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """φ and its gradient (p, K), ψ and its gradient, at arguments of mean zero; no gradient of a number."""
        arguments = np.split(centred + self.mean[:, None], [self.phi.arity])
        functions = zip((self.phi, self.psi), arguments, self.parameters, strict=True)
        return [
            (values(f, u, p), gradients(f, u, p)) if f.arity else (np.full(u.shape[1], number(f, p)), None)
            for f, u, p in functions
        ]


def trials(phi: Pointwise, psi: Pointwise) -> list[Trial]:
    """Under the laws at which rules are chosen.

    Raises:
        Unevaluable: if a function cannot be evaluated with its parameters at one.
    """
    laws = [_law(phi, psi, *law) for law in _STANDARD]
    return [in_units(Trial(phi, psi, law, np.zeros(len(law)))) for law in laws]


def in_units(trial: Trial) -> Trial:
    """Of √(Eφ²Eψ²), and for the slopes √(E[∇φ·A∇φ] E[∇ψ·B∇ψ]) with the covariances A and B of the sides.

    By a lattice, whatever the rule that is measured: of equal arguments its own sizes would have the errors of its sums.
    """
    nodes, weights = lattice(trial.rank, SIZES[0])
    p, covariance = trial.phi.arity, trial.covariance
    blocks = covariance[:p, :p], covariance[p:, p:]
    norms = [
        (_norm(f * f, weights), 1.0 if df is None else _norm(np.einsum("ik,ij,jk->k", df, block, df), weights))
        for (f, df), block in zip(trial.sides(_under(covariance, nodes)), blocks, strict=True)
    ]
    return trial._replace(sizes=tuple(a * b for a, b in zip(*norms, strict=True)))


def rank(phi: Pointwise, psi: Pointwise) -> int:
    """The number of different arguments of both, the dimension of the integral."""
    return len(set(_sources(phi))) + len(set(_sources(psi)))


def _sources(phi: Pointwise) -> tuple[int, ...]:
    """Which arguments are always equal to each other: those with the same number. Distinct ones if nothing is known."""
    return phi.remember("sources", lambda: tuple(range(phi.arity)))


def _law(phi: Pointwise, psi: Pointwise, variance: float, rho: float) -> np.ndarray:
    """Correlations of a quarter within a side; between the sides those times ρ, in the order of the arguments."""
    left, right = np.asarray(_sources(phi)), np.asarray(_sources(psi))

    def inside(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return variance * (0.75 * np.equal.outer(a, b) + 0.25)

    cross = rho * inside(left, right)
    return np.block([[inside(left, left), cross], [cross.T, inside(right, right)]])


def _under(covariance: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Standard normal nodes as those of a law; fewer rows than it has, for one of lower rank."""
    lengths, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(lengths, 0)))[:, ::-1]
    return root[:, : len(nodes)] @ nodes


def _norm(squares: np.ndarray, weights: np.ndarray) -> float:
    """The root of a mean, positive."""
    return float(np.sqrt(max(np.sum(np.nan_to_num(squares) * weights), 0.0))) + 1e-300
