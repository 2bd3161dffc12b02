"""The choice of nodes for an expectation over several Gaussians, by measured errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from widelimit.gaussian._landscape import Regularity, gradients, hyperplanes, regularity, values
from widelimit.gaussian._nested import Nodes, nested
from widelimit.gaussian._nodes import SHIFTS, SIZES, lattice, lattice_sizes, tensor, tensor_counts
from widelimit.gaussian._pointwise import Pointwise

_CHUNK = 64
_INNER = (4, 8, 12, 16)  # Gauss–Hermite nodes an axis inside nested panels
_LAWS = ((1.0, 0.5), (2.0, 0.75))  # variance, and correlation between the sides, at which errors are measured
_HOPELESS = 1e3  # an error further than this from the accuracy will not be mended by the lattice's next size


class Rule(NamedTuple):
    """How an expectation is integrated: `nodes(covariance, mean)` gives its `Nodes`; the error as measured."""

    name: str
    error: float
    nodes: Callable[[Array, Array], Nodes]


def rule_for(phi: Pointwise, psi: Pointwise, accuracy: float) -> Rule:
    """The rule with the fewest nodes whose measured error is below the accuracy, else the most accurate."""
    return phi.remember(("rule", psi, accuracy), lambda: _chosen(phi, psi, accuracy))


def _chosen(phi: Pointwise, psi: Pointwise, accuracy: float) -> Rule:
    try:
        if min(regularity(phi), regularity(psi)) is not Regularity.SMOOTH:
            return _with_kinks(phi, psi, accuracy)
        return _of_smooth(phi, psi, accuracy)
    except TypeError:
        n = _rank(phi, psi)
        return _fixed_lattice(n, lattice_sizes(n)[-1], float("nan"), " (error not known beforehand)")


def _of_smooth(phi: Pointwise, psi: Pointwise, accuracy: float) -> Rule:
    """A tensor rule with no more nodes than the smallest lattice, a lattice, or a larger tensor rule."""
    n = _rank(phi, psi)
    counts, tensors = tensor_counts(n), _Sequence()
    few = [count for count in counts if count**n <= SHIFTS * SIZES[0]]
    chosen: list[Rule] = []
    for choose in (
        partial(_smallest_tensor, tensors, few),
        _smallest_lattice,
        partial(_smallest_tensor, tensors, counts[len(few) :]),
    ):
        rule = choose(phi, psi, accuracy)
        chosen += [] if rule is None else [rule]
        if rule is not None and rule.error <= accuracy:
            break
    return min(chosen, key=lambda rule: rule.error)


def _sources(phi: Pointwise) -> tuple[int, ...]:
    """Which arguments are always equal to each other: those with the same number. Distinct ones if nothing is known."""
    return phi.remember("sources", lambda: tuple(range(phi.arity)))


def _rank(phi: Pointwise, psi: Pointwise) -> int:
    """The number of different arguments of both, the dimension of the integral."""
    return len(set(_sources(phi))) + len(set(_sources(psi)))


# --- tensor rules ---------------------------------------------------------------------------------------------------------


def _smallest_tensor(
    sequence: _Sequence, counts: Sequence[int], phi: Pointwise, psi: Pointwise, accuracy: float
) -> Rule | None:
    """The first rule with one of these counts an axis whose error is below the accuracy; else the last, None of none.

    `sequence` holds what the rules with fewer nodes gave.
    """
    rule = None
    for count in counts:
        points = tensor(_rank(phi, psi), count, accuracy)
        sequence.add([points[1] @ row / size for row, size in _integrands(phi, psi, points)])
        rule = _sampled(f"tensor Gauss–Hermite, {points[0].shape[1]} nodes", sequence.error, points)
        if sequence.error <= accuracy:
            break
    return rule


class _Sequence:
    """What rules with more and more nodes give."""

    def __init__(self) -> None:
        self.last: list | None = None
        self.changes = (math.inf, math.inf, math.inf)

    def add(self, sums: list) -> None:
        change = math.inf if self.last is None else float(np.abs(np.subtract(sums, self.last)).max())
        self.last, self.changes = sums, (*self.changes[1:], change)

    @property
    def error(self) -> float:
        """Of the last rule, from the changes d'', d', d up to it as a geometric sequence, with the slower of its two ratios.

        One ratio alone may be small by chance: rules with odd and with even numbers of nodes converge from two sides.
        """
        first, second, third = self.changes
        if first == math.inf or not third:
            return third
        return third * min(1.0, max(third / second, second / first)) if first and second else third


def _sampled(name: str, error: float, points: tuple[np.ndarray, np.ndarray]) -> Rule:
    return Rule(name, float(error), partial(_through_root, points))


def _through_root(points: tuple[np.ndarray, np.ndarray], covariance: Array, _: Array) -> Nodes:
    root = eigen_root(covariance)[:, : len(points[0])]
    pad = -points[0].shape[1] % _CHUNK
    nodes = jnp.asarray(np.pad(points[0], ((0, 0), (0, pad))), root.dtype)
    weights = jnp.asarray(np.pad(points[1], (0, pad)), root.dtype)

    def chunk(k: Array) -> tuple[Array, Array]:
        z = lax.dynamic_slice_in_dim(nodes, k * _CHUNK, _CHUNK, 1)
        w = lax.dynamic_slice_in_dim(weights, k * _CHUNK, _CHUNK).reshape(-1, *[1] * (covariance.ndim - 2))
        return jnp.einsum("ab...,bk->ak...", root, z, precision=lax.Precision.HIGHEST), w

    return Nodes(nodes.shape[1] // _CHUNK, chunk)


def eigen_root(covariance: Array) -> Array:
    """V√λ, (n, n, ...), largest eigenvalue first (a lattice is best in its first coordinates), signs fixed."""
    values, vectors = jnp.linalg.eigh(jnp.moveaxis(covariance, (0, 1), (-2, -1)))
    root = (vectors * jnp.sqrt(jnp.maximum(values, 0))[..., None, :])[..., ::-1]
    root = root * jnp.where(jnp.sum(root, -2, keepdims=True) < 0, -1, 1)
    return jnp.moveaxis(root, (-2, -1), (0, 1))


# --- lattices -------------------------------------------------------------------------------------------------------------


def _smallest_lattice(phi: Pointwise, psi: Pointwise, accuracy: float) -> Rule:
    n = _rank(phi, psi)
    sizes = list(lattice_sizes(n))
    while sizes:
        size = sizes.pop(0)
        error = _spread(phi, psi, size)
        if error > _HOPELESS * accuracy:
            sizes = sizes[-1:]
        if error <= accuracy:
            break
    return _fixed_lattice(n, size, error)


def _spread(phi: Pointwise, psi: Pointwise, size: int) -> float:
    """The standard error of independent shifts."""
    points = lattice(_rank(phi, psi), size)
    rows = [row.reshape(SHIFTS, -1).mean(1) / scale for row, scale in _integrands(phi, psi, points)]
    return float(max(means.std(ddof=1) for means in rows) / np.sqrt(SHIFTS))


def _fixed_lattice(n: int, size: int, error: float, note: str = "") -> Rule:
    return _sampled(f"lattice, {SHIFTS} shifts of {size} nodes{note}", error, lattice(n, size))


# --- kinks ----------------------------------------------------------------------------------------------------------------


def _with_kinks(phi: Pointwise, psi: Pointwise, accuracy: float) -> Rule:
    """Nested panels in few dimensions, where kinks lie on parallel hyperplanes; else a lattice."""
    n = phi.arity + psi.arity
    planes = (hyperplanes(phi), hyperplanes(psi)) if n <= 4 else (None, None)
    if None in planes:
        return _smallest_lattice(phi, psi, accuracy)
    sequence, order = _Sequence(), 0
    for order in _INNER:
        sequence.add([_concretely(phi, psi, planes, order, law) for law in _LAWS])
        if sequence.error <= accuracy:
            break
    name = f"nested panels at the kinks, {order} nodes an axis inside"
    rule, agrees = Rule(name, sequence.error, _panels(planes, order)), _agrees(phi, psi, sequence.last)
    if rule.error <= accuracy and agrees:
        return rule
    other = _smallest_lattice(phi, psi, accuracy)
    return other if other.error < rule.error or not agrees else rule


def _panels(planes: tuple, order: int) -> Callable[[Array, Array], Nodes]:
    return lambda covariance, mean: nested(planes, covariance, mean, order)


def _agrees(phi: Pointwise, psi: Pointwise, nested_sums: list) -> bool:
    """Whether a lattice gives the same, within its own error: the kinks might lie elsewhere too."""
    points = lattice(_rank(phi, psi), SIZES[1])
    rows = [row.reshape(SHIFTS, -1).mean(1) / scale for row, scale in _integrands(phi, psi, points)]
    per_law = len(rows) // len(_LAWS)
    wanted = [x for sums in nested_sums for x in sums[:per_law]]
    bounds = [6 * means.std(ddof=1) / np.sqrt(SHIFTS) + 1e-9 for means in rows]
    return all(abs(m.mean() - x) <= b for m, x, b in zip(rows, wanted, bounds, strict=True))


def _concretely(phi: Pointwise, psi: Pointwise, planes: tuple, order: int, law: tuple[float, float]) -> list[float]:
    """The integrals of `_integrands` under one law by nested panels, in the units of `_integrands`."""
    covariance = _law(phi, psi, law)

    def nodes(covariance: Array) -> tuple[Array, Array]:
        rule = nested(planes, covariance, jnp.zeros(len(covariance)), order)
        return jax.vmap(rule.chunk)(jnp.arange(rule.count))

    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        compiled = phi.remember(("nested", psi, order), lambda: jax.jit(nodes))
        x, weights = map(np.asarray, compiled(jnp.asarray(covariance)))
    points = np.moveaxis(x, 1, 0).reshape(len(covariance), -1), weights.ravel()
    return [float(points[1] @ row / size) for row, size in _products(phi, psi, points, law)]


# --- what is measured -----------------------------------------------------------------------------------------------------


def _law(phi: Pointwise, psi: Pointwise, law: tuple[float, float]) -> np.ndarray:
    """Correlations of a quarter within a side; between the sides those times ρ, in the order of the arguments."""
    (variance, rho), left, right = law, np.asarray(_sources(phi)), np.asarray(_sources(psi))

    def inside(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return variance * (0.75 * np.equal.outer(a, b) + 0.25)

    cross = rho * inside(left, right)
    return np.block([[inside(left, left), cross], [cross.T, inside(right, right)]])


def _integrands(
    phi: Pointwise, psi: Pointwise, points: tuple[np.ndarray, np.ndarray]
) -> list[tuple[np.ndarray, float]]:
    """φψ and Σ C_ij ∂_iφ ∂_jψ at the nodes, with their sizes √(Eφ²Eψ²), under each law."""
    out = []
    for law in _LAWS:
        out += _products(phi, psi, (_under(_law(phi, psi, law), points[0]), points[1]), law)
    return out


def _under(covariance: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Standard normal nodes as those of a law; fewer rows than it has, for one of lower rank."""
    lengths, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(lengths, 0)))[:, ::-1]
    return root[:, : len(nodes)] @ nodes


def _products(
    phi: Pointwise, psi: Pointwise, points: tuple[np.ndarray, np.ndarray], law: tuple[float, float]
) -> list[tuple[np.ndarray, float]]:
    (x, _), p, covariance = points, phi.arity, _law(phi, psi, law)
    f, g = values(phi, x[:p]), values(psi, x[p:]) if psi.arity else _without_arguments(psi, x)
    rows = [f * g]
    if psi.arity and p:
        df, dg = gradients(phi, x[:p]), gradients(psi, x[p:])
        rows.append(np.einsum("ik,ij,jk->k", df, covariance[:p, p:], dg))
    return [(np.nan_to_num(row), size) for row, size in zip(rows, _sizes(phi, psi, law), strict=True)]


def _sizes(phi: Pointwise, psi: Pointwise, law: tuple[float, float]) -> list[float]:
    """√(Eφ²Eψ²), and the same of the slopes.

    By a lattice, whatever the rule that is measured: of equal arguments its own sizes would have the errors of its sums.
    """
    return phi.remember(("sizes", psi, law), lambda: _measured_sizes(phi, psi, law))


def _measured_sizes(phi: Pointwise, psi: Pointwise, law: tuple[float, float]) -> list[float]:
    covariance, p = _law(phi, psi, law), phi.arity
    nodes, weights = lattice(_rank(phi, psi), SIZES[0])
    x = _under(covariance, nodes)
    g = values(psi, x[p:]) if psi.arity else _without_arguments(psi, x)
    sizes = [_size(values(phi, x[:p]), weights) * _size(g, weights)]
    if psi.arity and p:
        sides = (phi, x[:p], covariance[:p, :p]), (psi, x[p:], covariance[p:, p:])
        sizes.append(math.prod(_slope_size(gradients(f, u), c, weights) for f, u, c in sides))
    return sizes


def _without_arguments(psi: Pointwise, x: np.ndarray) -> np.ndarray:
    with jax.ensure_compile_time_eval():
        return np.full(x.shape[1], float(psi.fn()))


def _slope_size(df: np.ndarray, covariance: np.ndarray, weights: np.ndarray) -> float:
    """√E[∇f·A∇f]."""
    df = np.nan_to_num(df)
    squares = np.einsum("ik,ij,jk->k", df, covariance, df)
    return float(np.sqrt(max(np.sum(squares * weights), 0.0))) + 1e-300


def _size(f: np.ndarray, weights: np.ndarray) -> float:
    """√E f²."""
    return float(np.sqrt(np.sum(np.nan_to_num(f) ** 2 * weights))) + 1e-300
