"""The choice of nodes for an expectation over several Gaussians, by measured errors."""

from __future__ import annotations

import math
from collections.abc import Callable
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
        rule = _smallest_tensor(phi, psi, accuracy)
        other = None if rule is not None and rule.error <= accuracy else _smallest_lattice(phi, psi, accuracy)
        return min((r for r in (rule, other) if r is not None), key=lambda r: r.error)
    except TypeError:
        n = _rank(phi, psi)
        return _fixed_lattice(n, lattice_sizes(n)[-1], float("nan"), " (error not known beforehand)")


def _sources(phi: Pointwise) -> tuple[int, ...]:
    """Which arguments are always equal to each other: those with the same number. Distinct ones if nothing is known."""
    return phi.remember("sources", lambda: tuple(range(phi.arity)))


def _rank(phi: Pointwise, psi: Pointwise) -> int:
    """The number of different arguments of both, the dimension of the integral."""
    return len(set(_sources(phi))) + len(set(_sources(psi)))


# --- tensor rules ---------------------------------------------------------------------------------------------------------


def _smallest_tensor(phi: Pointwise, psi: Pointwise, accuracy: float) -> Rule | None:
    """The first rule whose error is below the accuracy; else the last."""
    n, before, change, rule = _rank(phi, psi), None, float("inf"), None
    for count in tensor_counts(n):
        points = tensor(n, count, accuracy)
        sums = [points[1] @ row / size for row, size in _integrands(phi, psi, points)]
        error, change = _extrapolated(sums, before, change)
        rule, before = _sampled(f"tensor Gauss–Hermite, {points[0].shape[1]} nodes", error, points), sums
        if error <= accuracy:
            break
    return rule


def _extrapolated(sums: list, before: list | None, change: float) -> tuple[float, float]:
    """The error of the last of three rules, from the changes d', d between them as a geometric sequence: d²/d', and d."""
    if before is None:
        return float("inf"), float("inf")
    now = float(np.abs(np.subtract(sums, before)).max())
    return now * min(now / change, 1) if 0 < change < float("inf") else now, now


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
    before, change, error, order = None, float("inf"), float("inf"), 0
    for order in _INNER:
        sums = [_concretely(phi, psi, planes, order, law) for law in _LAWS]
        error, change = _extrapolated(sums, before, change)
        before = sums
        if error <= accuracy:
            break
    rule = Rule(f"nested panels at the kinks, {order} nodes an axis inside", float(error), _panels(planes, order))
    if error > accuracy or not _agrees(phi, psi, before):
        other = _smallest_lattice(phi, psi, accuracy)
        return other if other.error < error or not _agrees(phi, psi, before) else rule
    return rule


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
    return [float(points[1] @ row / size) for row, size in _products(phi, psi, points, covariance)]


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
        covariance = _law(phi, psi, law)
        lengths, vectors = np.linalg.eigh(covariance)
        root = (vectors * np.sqrt(np.maximum(lengths, 0)))[:, ::-1]
        out += _products(phi, psi, (root[:, : len(points[0])] @ points[0], points[1]), covariance)
    return out


def _products(
    phi: Pointwise, psi: Pointwise, points: tuple[np.ndarray, np.ndarray], covariance: np.ndarray
) -> list[tuple[np.ndarray, float]]:
    (x, weights), p = points, phi.arity
    f, g = values(phi, x[:p]), values(psi, x[p:]) if psi.arity else _without_arguments(psi, x)
    out = [(f * g, _size(f, weights) * _size(g, weights))]
    if psi.arity and p:
        df, dg = gradients(phi, x[:p]), gradients(psi, x[p:])
        slopes = np.einsum("ik,ij,jk->k", df, covariance[:p, p:], dg)
        sizes = (_slope_size(d, c, weights) for d, c in ((df, covariance[:p, :p]), (dg, covariance[p:, p:])))
        out.append((slopes, math.prod(sizes)))
    return [(np.nan_to_num(row), size) for row, size in out]


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
