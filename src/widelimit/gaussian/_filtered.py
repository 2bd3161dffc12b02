"""E[φ(g) ψ(g')] for sums of products g = Σ_κ w_κ h_κ + b, g' = Σ_κ w_κ h'_κ + b' with Gaussian w, h and b.

The filter w is iid N(0, σ²), independent of the centred h, h', and b of both. Given w, (g, g') is Gaussian with

    A = wᵀH w + β,  C = wᵀX w + γ,  B = wᵀH' w + β',   H = E[h hᵀ], X = E[h h'ᵀ], H' = E[h' h'ᵀ],

β, γ, β' the covariances of b: E[φψ] = E_w V(A, C, B) with V the expectation for one Gaussian a side, and w on a lattice. Derivatives in
H, X, H', β, … are those of V. Of two copies of the filter with covariance c, at c = σ², by Gaussian integration by parts (with
m = V of φ', ψ', a function of A, C, B whose derivatives are written as one along a direction):

    ∂/∂c = E Σ_κ φ'(g) ψ'(g') h_κ h'_κ = E_w[m tr X + dm · (2 wᵀHXᵀw, wᵀ(HH' + XX)w, 2 wᵀXᵀH'w)].

For Cov(h_κ, (g, g')) = (Hw, Xw)_κ, Cov(h'_κ, (g, g')) = (Xᵀw, H'w)_κ, and E[F(g, g') h_κ h'_κ] = X_κκ E F + Σ_ij p_κi q_κj E ∂_i∂_j F.
"""

from __future__ import annotations

import functools
import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from widelimit.gaussian._expect import describe, expect
from widelimit.gaussian._nodes import SHIFTS, SIZES, lattice
from widelimit.gaussian._pointwise import Joint, Pointwise, derivative

_CHUNK = 512
_PIECE = 4096  # nodes that errors are measured at together
_LAWS = ((1.0, 0.5), (2.0, 2.0))  # variance, and rank beside the taps, of the model laws at which errors are measured


class Filtered(NamedTuple):
    """The law: σ², the second moments H, X, H' as (κ, κ', ...), β, γ, β', and the means of b and b'; all broadcastable."""

    variance: Any
    left: Array
    cross: Array
    right: Array
    rest: tuple[Any, Any, Any]
    means: tuple[Any, Any]


def expect_filtered(phi: Pointwise, psi: Pointwise, law: Filtered, covariance: Any, *, accuracy: float = 1e-6) -> Array:
    """E[φ(g) ψ(g')] at c = σ²; its derivative in `covariance` is that in c.

    Args:
        phi: function of one Gaussian.
        psi: another.
        law: of the filter and of what it is applied to.
        covariance: c, of the two copies of the filter.
        accuracy: relative error that the number of nodes is chosen for, up to a bound; `describe_filtered` states it.
    """
    size, _ = _chosen(phi, psi, law.left.shape[0], accuracy)

    @jax.custom_jvp
    def value(law: Filtered, covariance: Any) -> Array:
        return _mean(partial(_value, phi, psi, accuracy), law, size)

    def push(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
        zero = jax.custom_derivatives.SymbolicZero
        moving = jax.tree.map(lambda t: jnp.zeros(t.shape, t.dtype) if isinstance(t, zero) else t, tangents[0])
        out, change = jax.jvp(partial(_mean, partial(_value, phi, psi, accuracy), size=size), primals[:1], (moving,))
        if not isinstance(tangents[1], zero):
            change = change + tangents[1] * _mean(partial(_by_filter, phi, psi, accuracy), primals[0], size)
        return out, change.astype(out.dtype)

    value.defjvp(push, symbolic_zeros=True)
    return value(jax.tree.map(jnp.asarray, law), jnp.asarray(covariance))


def describe_filtered(phi: Pointwise, taps: int, accuracy: float = 1e-6) -> tuple[str, str, float]:
    """The function's name, the rule, and its relative error: of the expectation and of its derivatives, under model laws."""
    found, (size, error) = describe(phi, accuracy=accuracy), _chosen(phi, phi, taps, accuracy)
    rule = f"given the filter: {found.rule}; its {taps} entries: lattice, {SHIFTS} shifts of {size} nodes"
    return found.name, rule, max(error, found.error)


# --- at one filter --------------------------------------------------------------------------------------------------------


def _forms(w: Array, *matrices: Array) -> list[Array]:
    """wᵀMw at the nodes w (N, κ): (N, ...)."""
    squares = (w[:, :, None] * w[:, None]).reshape(len(w), -1)
    return [
        jnp.matmul(squares, m.reshape(squares.shape[1], -1), precision=lax.Precision.HIGHEST).reshape(-1, *m.shape[2:])
        for m in matrices
    ]


def _variances(w: Array, law: Filtered) -> tuple[Array, ...]:
    """A, C, B."""
    return tuple(f + b for f, b in zip(_forms(w, law.left, law.cross, law.right), law.rest, strict=True))


def _one(phi: Pointwise, psi: Pointwise, accuracy: float, law: Filtered, entries: tuple[Array, ...]) -> Array:
    a, c, b = entries
    return expect(phi, psi, Joint(((a,),), ((b,),), ((c,),), law.means[:1], law.means[1:]), accuracy=accuracy)


def _value(phi: Pointwise, psi: Pointwise, accuracy: float, w: Array, law: Filtered) -> Array:
    return _one(phi, psi, accuracy, law, _variances(w, law))


def _by_filter(phi: Pointwise, psi: Pointwise, accuracy: float, w: Array, law: Filtered) -> Array:
    """m tr X + dm · (…)."""
    h, x, k = law.left, law.cross, law.right
    products = (2 * _times(h, x, "ij,lj->il"), _times(h, k) + _times(x, x), 2 * _times(x, k, "ji,jl->il"))
    slopes = partial(_one, derivative(phi, 0), derivative(psi, 0), accuracy, law)
    entries = _variances(w, law)
    directions = [jnp.broadcast_to(d, e.shape) for d, e in zip(_forms(w, *products), _same(entries), strict=True)]
    value, change = jax.jvp(lambda *e: slopes(e), tuple(_same(entries)), tuple(directions))
    return value * jnp.trace(x) + change


def _same(entries: tuple[Array, ...]) -> list[Array]:
    return list(jnp.broadcast_arrays(*entries))


def _times(a: Array, b: Array, axes: str = "ij,jl->il") -> Array:
    """A product of matrices at every position."""
    first, rest = axes.split(",")
    second, result = rest.split("->")
    return jnp.einsum(f"{first}...,{second}...->{result}...", a, b, precision=lax.Precision.HIGHEST)


# --- over the filters -----------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=8)
def _nodes(taps: int, size: int) -> np.ndarray:
    """The lattice (N, κ), each shift with E z zᵀ = 1: what a lattice errs in most are squares, for their tails, and V is nearly one."""
    z = lattice(taps, size)[0].T.reshape(SHIFTS, size, taps)
    lower = np.linalg.cholesky(np.swapaxes(z, 1, 2) @ z / size)
    return np.swapaxes(np.linalg.solve(lower, np.swapaxes(z, 1, 2)), 1, 2).reshape(-1, taps)


def _mean(fn: Any, law: Filtered, size: int) -> Array:
    """E_w, a chunk of nodes at a time."""
    nodes = _nodes(law.left.shape[0], size)
    pad = -len(nodes) % _CHUNK
    dtype = law.left.dtype
    weights = np.pad(np.full(len(nodes), 1 / len(nodes)), (0, pad)).reshape(-1, _CHUNK)
    nodes = np.pad(nodes, ((0, pad), (0, 0))).reshape(-1, _CHUNK, nodes.shape[1])
    deviation = jnp.sqrt(law.variance).astype(dtype)

    @jax.checkpoint
    def part(total: Array, chunk: tuple[Array, Array]) -> tuple[Array, None]:
        z, weight = chunk
        return total + jnp.tensordot(weight, fn(deviation * z, law), 1).astype(dtype), None

    chunks = jnp.asarray(nodes, dtype), jnp.asarray(weights, dtype)
    shape = jax.eval_shape(lambda z: fn(deviation * z, law), chunks[0][0]).shape[1:]
    return lax.scan(part, jnp.zeros(shape, dtype), chunks)[0]


# --- the error ------------------------------------------------------------------------------------------------------------


def _chosen(phi: Pointwise, psi: Pointwise, taps: int, accuracy: float) -> tuple[int, float]:
    """The smallest lattice whose measured error is below the accuracy, else the largest."""
    return phi.remember(("filtered", psi, taps, accuracy), lambda: _choose(phi, psi, taps, accuracy))


def _choose(phi: Pointwise, psi: Pointwise, taps: int, accuracy: float) -> tuple[int, float]:
    found = [(SIZES[0], math.inf)]
    for size in SIZES:
        found.append((size, _spread(phi, psi, size, taps, accuracy)))
        if found[-1][1] <= accuracy:
            break
    return found[-1]


def _spread(phi: Pointwise, psi: Pointwise, size: int, taps: int, accuracy: float) -> float:
    """The standard error of independent shifts, beside √(E[φφ] E[ψψ]) of equal sides."""
    errors = []
    for number, (variance, rank) in enumerate(_LAWS):
        law = _model(taps, number, variance, math.ceil(rank * taps))
        equal = law._replace(cross=law.left, right=law.left)
        for fn in (_value, _by_filter):
            at = partial(_concretely, fn, size=size, accuracy=accuracy)
            scale = math.sqrt(abs(at(phi, phi, equal).mean() * at(psi, psi, equal).mean())) + 1e-300
            errors.append(at(phi, psi, law).reshape(SHIFTS, -1).mean(1).std(ddof=1) / math.sqrt(SHIFTS) / scale)
    return float(max(errors))


def _concretely(fn: Any, phi: Pointwise, psi: Pointwise, law: Filtered, *, size: int, accuracy: float) -> np.ndarray:
    """At all nodes, in pieces of one shape."""
    nodes = _nodes(law.left.shape[0], size) * math.sqrt(law.variance)
    pieces = np.pad(nodes, ((0, -len(nodes) % _PIECE), (0, 0))).reshape(-1, _PIECE, nodes.shape[1])
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        of = jax.tree.map(jnp.asarray, law)
        parts = [np.asarray(fn(phi, psi, accuracy, jnp.asarray(piece), of)) for piece in pieces]
    return np.concatenate(parts)[: len(nodes)]


def _model(taps: int, seed: int, variance: float, rank: int) -> Filtered:
    """Windows of random moments: were H, X and H' multiples of each other, V would be one of wᵀHw, which the nodes have exactly."""
    root = np.random.default_rng(seed).normal(size=(2 * taps, rank))
    moments = variance / rank * root @ root.T
    blocks = moments[:taps, :taps], moments[:taps, taps:], moments[taps:, taps:]
    return Filtered(1 / taps, *blocks, (0.0, 0.0, 0.0), (None, None))
