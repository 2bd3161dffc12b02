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

from widelimit.gaussian._landscape import Regularity, Unevaluable, hyperplanes, regularity
from widelimit.gaussian._nested import Nodes, nested
from widelimit.gaussian._nodes import SHIFTS, SIZES, lattice, lattice_sizes, tensor, tensor_counts
from widelimit.gaussian._pointwise import Pointwise
from widelimit.gaussian._trial import Points, Trial, rank, trials

_CHUNK = 64
_INNER = (4, 8, 12, 16)  # Gauss–Hermite nodes an axis inside nested panels
_COMPARED = 4  # tensor rules that an error is taken from
_SURE = 6  # standard errors of a lattice
_HOPELESS = 1e3  # an error further than this from the accuracy will not be mended by the lattice's next size


class Rule(NamedTuple):
    """How an expectation is integrated.

    Attributes:
        name: for reports.
        error: as measured at the laws of `trials`.
        nodes: `nodes(covariance, mean)` gives the `Nodes`.
        measured: `measured(trials)` is the error at other laws.
    """

    name: str
    error: float
    nodes: Callable[[Array, Array], Nodes]
    measured: Callable[[Sequence[Trial]], float]


def rule_for(phi: Pointwise, psi: Pointwise, accuracy: float) -> Rule:
    """The rule with the fewest nodes whose measured error is below the accuracy, else the most accurate.

    At the standard laws, whose error it states, and at those of `laws`.
    """
    key = ("rule", psi, accuracy, len(laws(phi, psi)))
    return phi.remember(key, lambda: _chosen(phi, psi, accuracy))


def laws(phi: Pointwise, psi: Pointwise) -> list[Trial]:
    """Laws beside the standard ones that rules are chosen for: longer the more of them were met."""
    return phi.remember("laws", dict).setdefault(psi, [])


def generation(phi: Pointwise) -> int:
    """How often rules for φ have been chosen anew: what was traced with them before is of no more use."""
    return sum(map(len, phi.remember("laws", dict).values()))


def _chosen(phi: Pointwise, psi: Pointwise, accuracy: float) -> Rule:
    try:
        standard, more = trials(phi, psi), laws(phi, psi)
    except Unevaluable:
        n = rank(phi, psi)
        return _lattice_rule(n, lattice_sizes(n)[-1], float("nan"), " (error not known beforehand)")
    smooth = min(regularity(phi), regularity(psi)) is Regularity.SMOOTH
    rule = (_of_smooth if smooth else _with_kinks)([*standard, *more], accuracy)
    return rule._replace(error=rule.measured(standard)) if more else rule


def _of_smooth(under: Sequence[Trial], accuracy: float) -> Rule:
    """A tensor rule with no more nodes than the smallest lattice, a lattice, or a larger tensor rule."""
    n = under[0].rank
    counts, tensors = tensor_counts(n), _Sequence()
    few = [count for count in counts if count**n <= SHIFTS * SIZES[0]]
    chosen: list[Rule] = []
    for choose in (
        partial(_smallest_tensor, tensors, few),
        _smallest_lattice,
        partial(_smallest_tensor, tensors, counts[len(few) :]),
    ):
        rule = choose(under, accuracy)
        chosen += [] if rule is None else [rule]
        if rule is not None and rule.error <= accuracy:
            break
    return min(chosen, key=lambda rule: rule.error)


def _rows(under: Sequence[Trial], points: Points) -> list[np.ndarray]:
    """What is integrated at the nodes, under every law, in units of its size."""
    return [row for trial in under for row in trial.rows(points)]


def _sums(under: Sequence[Trial], points: Points) -> list[float]:
    return [points[1] @ row for row in _rows(under, points)]


# --- tensor rules ---------------------------------------------------------------------------------------------------------


def _smallest_tensor(
    sequence: _Sequence, counts: Sequence[int], under: Sequence[Trial], accuracy: float
) -> Rule | None:
    """The first rule with one of these counts an axis whose error is below the accuracy; else the last, None of none.

    `sequence` holds what the rules with fewer nodes gave.
    """
    rule, n = None, under[0].rank
    for count in counts:
        points = tensor(n, count, accuracy)
        sequence.add(_sums(under, points))
        error = sequence.error if sequence.error > accuracy else max(sequence.error, _apart(under, sequence.last))
        name = f"tensor Gauss–Hermite, {points[0].shape[1]} nodes"
        rule = Rule(name, error, partial(_through_root, points), partial(_tensor_error, count, accuracy))
        if error <= accuracy:
            break
    return rule


def _tensor_error(count: int, accuracy: float, under: Sequence[Trial]) -> float:
    """The error of a rule with so many nodes an axis, from those with fewer and from lattices."""
    n = under[0].rank
    fewer = [c for c in tensor_counts(n) if c <= count][-_COMPARED:]
    return _error_of([_sums(under, tensor(n, c, accuracy)) for c in fewer], under)


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


def _error_of(sums: Sequence[list[float]], under: Sequence[Trial]) -> float:
    """The error of the last of rules with more and more nodes."""
    sequence = _Sequence()
    for each in sums:
        sequence.add(each)
    return max(sequence.error, _apart(under, sequence.last))


def _through_root(points: Points, covariance: Array, _: Array) -> Nodes:
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


def _smallest_lattice(under: Sequence[Trial], accuracy: float) -> Rule:
    n = under[0].rank
    sizes = list(lattice_sizes(n))
    while sizes:
        size = sizes.pop(0)
        error = _spread(size, under)
        if error > _HOPELESS * accuracy:
            sizes = sizes[-1:]
        if error <= accuracy:
            break
    return _lattice_rule(n, size, error)


def _spread(size: int, under: Sequence[Trial]) -> float:
    """The standard error of independent shifts."""
    return max(map(_standard_error, _means(size, under)))


def _means(size: int, under: Sequence[Trial]) -> list[np.ndarray]:
    """Of every shift."""
    return [row.reshape(SHIFTS, -1).mean(1) for row in _rows(under, lattice(under[0].rank, size))]


def _standard_error(means: np.ndarray) -> float:
    return float(means.std(ddof=1) / np.sqrt(SHIFTS))


def _apart(under: Sequence[Trial], sums: list[float]) -> float:
    """By how much more than its own error each of two lattices differs: rules may all miss the same waves or kinks.

    Two, as the few shifts of one may agree with each other by chance.
    """
    lattices = [_means(size, under) for size in SIZES[:2]]
    return max(min(_beyond(shifts, x) for shifts in rows) for x, *rows in zip(sums, *lattices, strict=True))


def _beyond(shifts: np.ndarray, x: float) -> float:
    return abs(shifts.mean() - x) - _SURE * _standard_error(shifts) - 1e-9


def _lattice_rule(n: int, size: int, error: float, note: str = "") -> Rule:
    name = f"lattice, {SHIFTS} shifts of {size} nodes{note}"
    return Rule(name, error, partial(_through_root, lattice(n, size)), partial(_spread, size))


# --- kinks ----------------------------------------------------------------------------------------------------------------


def _with_kinks(under: Sequence[Trial], accuracy: float) -> Rule:
    """Nested panels in few dimensions, where kinks lie on parallel hyperplanes; else a lattice."""
    phi, psi = under[0].phi, under[0].psi
    planes = (hyperplanes(phi), hyperplanes(psi)) if phi.arity + psi.arity <= 4 else (None, None)
    if None in planes:
        return _smallest_lattice(under, accuracy)
    sequence, order = _Sequence(), 0
    for order in _INNER:
        sequence.add(_panel_sums(planes, order, under))
        if sequence.error <= accuracy:
            break
    name = f"nested panels at the kinks, {order} nodes an axis inside"
    rule = Rule(name, sequence.error, _panels(planes, order), partial(_panel_error, planes, order))
    agrees = _apart(under, sequence.last) <= 0
    if rule.error <= accuracy and agrees:
        return rule
    other = _smallest_lattice(under, accuracy)
    return other if other.error < rule.error or not agrees else rule


def _panels(planes: tuple, order: int) -> Callable[[Array, Array], Nodes]:
    return lambda covariance, mean: nested(planes, covariance, mean, order)


def _panel_error(planes: tuple, order: int, under: Sequence[Trial]) -> float:
    """The error of panels with so many nodes an axis inside, from those with fewer and from lattices."""
    return _error_of([_panel_sums(planes, n, under) for n in _INNER if n <= order], under)


def _panel_sums(planes: tuple, order: int, under: Sequence[Trial]) -> list[float]:
    """The integrals of `Trial.rows` by nested panels."""
    phi, psi = under[0].phi, under[0].psi

    def nodes(covariance: Array, mean: Array) -> tuple[Array, Array]:
        rule = nested(planes, covariance, mean, order)
        return jax.vmap(rule.chunk)(jnp.arange(rule.count))

    sums = []
    for trial in under:
        with jax.ensure_compile_time_eval(), jax.enable_x64(True):
            compiled = phi.remember(("nested", psi, order), lambda: jax.jit(nodes))
            x, weights = map(np.asarray, compiled(jnp.asarray(trial.covariance), jnp.asarray(trial.mean)))
        x, weights = np.moveaxis(x, 1, 0).reshape(len(trial.covariance), -1), weights.ravel()
        sums += [float(weights @ row) for row in trial.rows_at(x)]
    return sums
