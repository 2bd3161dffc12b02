"""E[φ(u_1…u_p) ψ(v_1…v_q)] for several Gaussians a side.

With n = p + q, C their joint covariance and C = V diag(λ) Vᵀ, the arguments are m + V√λ z with z standard: an eigen-root,
which exists whatever the rank of C (equal inputs, zero variance). The nodes z are a tensor Gauss–Hermite rule without its
negligible nodes for smooth functions of n ≤ 4, and a randomly shifted, tent-transformed rank-1 lattice otherwise.
"""

from collections.abc import Callable
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from widelimit.gaussian._kinks import kinks
from widelimit.gaussian._pointwise import Joint, Pointwise, derivative

TENSOR = {1: 128, 2: 96, 3: 40, 4: 24}  # Gauss–Hermite nodes an axis
SHIFTS = 8  # independent shifts of a lattice: their spread is its standard error
_CHUNK = 64


def expect_several(
    phi: Pointwise,
    psi: Pointwise,
    joint: Joint,
    left_params: tuple = (),
    right_params: tuple = (),
    *,
    accuracy: float = 1e-6,
) -> Array:
    """E[φ(u; left_params) ψ(v; right_params)] for any numbers of Gaussians.

    Args:
        phi: function of `u_1..u_p`.
        psi: function of `v_1..v_q`.
        joint: their law, elementwise over broadcastable arrays; any rank.
        left_params: known arguments of φ, broadcastable with the law.
        right_params: known arguments of ψ.
        accuracy: tensor nodes whose share is below a hundredth of it are left out.

    Returns:
        The expectation, of the broadcast shape. The derivative with respect to a cross-covariance is Price's
        E[∂_iφ ∂_jψ] at the same nodes. `describe_several` states the error.
    """
    if phi.arity + psi.arity == 0:
        return phi.fn(*left_params) * psi.fn(*right_params)
    joint, left_params, right_params = jax.tree.map(
        jnp.asarray, (_as_tree(joint), tuple(left_params), tuple(right_params))
    )
    return _value(phi, psi, accuracy)(joint, left_params, right_params)


def describe_several(phi: Pointwise, psi: Pointwise, accuracy: float = 1e-6) -> tuple[str, float]:
    """The rule and its relative error, measured under unit variances and cross-correlations of one half.

    The error of a lattice is the standard error of its independent shifts; that of a tensor rule, its
    difference from a rule with three quarters of the nodes an axis. Functions with parameters
    cannot be measured beforehand: the error is then not-a-number.
    """
    n = phi.arity + psi.arity
    if n == 0:
        return "evaluated", 0.0
    smooth = _smooth(phi) and _smooth(psi)
    nodes, _ = _nodes(n, smooth, accuracy)
    name = (
        f"tensor Gauss–Hermite, {nodes.shape[1]} nodes"
        if smooth and n in TENSOR
        else f"lattice, {SHIFTS} shifts of {_points(n)} nodes"
    )
    try:
        return name, _measure(phi, psi, smooth, accuracy)
    except TypeError:
        return name + " (parameters not known beforehand)", float("nan")


def _measure(phi: Pointwise, psi: Pointwise, smooth: bool, accuracy: float) -> float:
    n, p = phi.arity + psi.arity, phi.arity
    covariance = np.eye(n) + 0.5 * (np.eye(n, k=p) + np.eye(n, k=-p)) if p else np.eye(n)
    root = np.linalg.cholesky(covariance)

    def product(z: np.ndarray) -> np.ndarray:
        with jax.ensure_compile_time_eval(), jax.enable_x64(True):
            u = jnp.asarray(root @ z)
            return np.asarray(phi.fn(*u[:p]) * psi.fn(*u[p:]) * jnp.ones(z.shape[1]), np.float64)

    z, w = _nodes(n, smooth, accuracy)
    value = product(z)
    scale = np.sqrt(w @ value**2) + np.finfo(float).tiny
    if not (smooth and n in TENSOR):
        means = value.reshape(SHIFTS, -1).mean(1)
        return float(means.std(ddof=1) / np.sqrt(SHIFTS) / scale)
    coarse, weights = _tensor(n, accuracy, 3 * TENSOR[n] // 4)
    return float(abs(w @ value - weights @ product(coarse)) / scale)


def _as_tree(joint: Joint) -> tuple:
    return joint.left, joint.right, joint.cross, joint.left_mean, joint.right_mean


def _value(phi: Pointwise, psi: Pointwise, accuracy: float) -> Callable:
    return phi.remember(("several", psi, accuracy), lambda: _make_value(phi, psi, accuracy))


def _make_value(phi: Pointwise, psi: Pointwise, accuracy: float) -> Callable:
    smooth = _smooth(phi) and _smooth(psi)

    def value(law: tuple, lp: tuple, rp: tuple) -> Array:
        return _integrate(
            lambda u, v, _: phi.fn(*u, *lp) * psi.fn(*v, *rp), law, (lp, rp), smooth=smooth, accuracy=accuracy
        )

    value = jax.custom_jvp(value)
    value.defjvp(partial(_rule, (phi, psi), accuracy, smooth), symbolic_zeros=True)
    return value


def _rule(
    pair: tuple[Pointwise, Pointwise], accuracy: float, smooth: bool, primals: tuple, tangents: tuple
) -> tuple[Array, Array]:
    """Price: ∂E/∂C_ab = ½E[∂_a∂_b(φψ)] for each entry, so E[∂_iφ ∂_jψ] for a cross-covariance."""
    phi, psi = pair

    def expect(f: Pointwise, g: Pointwise) -> Array:
        return _value(f, g, accuracy)(*primals)

    value, total = expect(phi, psi), 0.0
    left, right, cross, m1, m2 = tangents[0]
    for i, j, t in _moving(cross):
        total = total + t * expect(derivative(phi, i), derivative(psi, j))
    if smooth:
        for i, j, t in _moving(left):
            total = total + 0.5 * t * expect(derivative(derivative(phi, i), j), psi)
        for i, j, t in _moving(right):
            total = total + 0.5 * t * expect(phi, derivative(derivative(psi, i), j))
    elif any(True for _ in (*_moving(left), *_moving(right))):
        total = total + _along_paths(phi, psi, accuracy, primals, (left, right))
    for i, _, t in _moving((m1,), swap=True):
        total = total + t * expect(derivative(phi, i), psi)
    for i, _, t in _moving((m2,), swap=True):
        total = total + t * expect(phi, derivative(psi, i))
    for i, _, t in _moving((tangents[1],), swap=True):
        total = total + t * expect(_parameter_derivative(phi, i), psi)
    for i, _, t in _moving((tangents[2],), swap=True):
        total = total + t * expect(phi, _parameter_derivative(psi, i))
    return value, jnp.broadcast_to(total, value.shape).astype(value.dtype)


def _moving(matrix: tuple, swap: bool = False) -> list[tuple[int, int, Array]]:
    """(i, j, tangent) of the entries that move."""
    zero = jax.custom_derivatives.SymbolicZero
    out = []
    for i, row in enumerate(matrix):
        for j, t in enumerate(row):
            if t is not None and not isinstance(t, zero) and t.dtype != jax.dtypes.float0:
                out.append((j, i, t) if swap else (i, j, t))
    return out


def _along_paths(phi: Pointwise, psi: Pointwise, accuracy: float, primals: tuple, tangents: tuple) -> Array:
    """Σ_ab ½ dC_ab E[∂_aF y_b], y = C⁺(x - m): integration by parts asks one derivative of F = φψ only, so kinks may stay."""
    law, lp, rp = primals
    p, (left, right) = phi.arity, tangents

    def integrand(u: list[Array], v: list[Array], y: Array) -> Array:
        total = 0.0
        for i, j, t in _moving(left):
            total = total + 0.5 * t * derivative(phi, i).fn(*u, *lp) * psi.fn(*v, *rp) * y[j]
        for i, j, t in _moving(right):
            total = total + 0.5 * t * phi.fn(*u, *lp) * derivative(psi, i).fn(*v, *rp) * y[p + j]
        return total

    return _integrate(integrand, law, (lp, rp, left, right), smooth=False, accuracy=accuracy)


def _integrate(integrand: Callable, law: tuple, others: tuple, *, smooth: bool, accuracy: float) -> Array:
    """Σ_k w_k integrand(u(z_k), v(z_k), y(z_k)), a chunk of nodes at a time."""
    p = len(law[0])
    leaves = [x for x in jax.tree.leaves((law, others)) if isinstance(x, jax.Array)]
    shape = jnp.broadcast_shapes(*(x.shape for x in leaves))
    root, dual, mean = _root(law, shape)
    nodes, weights = (jnp.asarray(x, root.dtype) for x in _nodes(root.shape[0], smooth, accuracy))
    pad = -nodes.shape[1] % _CHUNK
    nodes, weights = jnp.pad(nodes, ((0, 0), (0, pad))), jnp.pad(weights, (0, pad))

    def chunk(k: Array, total: Array) -> Array:
        z = lax.dynamic_slice_in_dim(nodes, k * _CHUNK, _CHUNK, 1)
        w = lax.dynamic_slice_in_dim(weights, k * _CHUNK, _CHUNK).reshape(-1, *(1,) * len(shape))
        x = _image(root, z) + mean[:, None]
        values = integrand(list(x[:p]), list(x[p:]), _image(dual, z))
        return total + jnp.sum(w * jnp.broadcast_to(values, (_CHUNK, *shape)), 0)

    return lax.fori_loop(0, nodes.shape[1] // _CHUNK, chunk, jnp.zeros(shape, root.dtype))


def _image(root: Array, z: Array) -> Array:
    """(n, n, ...) applied to nodes (n, K): (n, K, ...)."""
    return jnp.einsum("ab...,bk->ak...", root, z, precision=lax.Precision.HIGHEST)


def _root(law: tuple, shape: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """V√λ and V/√λ (pseudo-inverse), shapes (n, n, ...), and the means (n, ...)."""
    left, right, cross, m1, m2 = law
    rows = [(*left[i], *cross[i]) for i in range(len(left))]
    rows += [(*(cross[i][j] for i in range(len(left))), *right[j]) for j in range(len(right))]
    dtype = jnp.result_type(*(x for x in jax.tree.leaves(law)), jnp.float32)

    def spread(x: Array | None) -> Array:
        return jnp.zeros(shape, dtype) if x is None else jnp.broadcast_to(x, shape).astype(dtype)

    covariance = jnp.stack([jnp.stack([spread(x) for x in row], -1) for row in rows], -2)
    values, vectors = jnp.linalg.eigh(covariance)
    floor = 64 * jnp.finfo(dtype).eps * jnp.max(jnp.abs(values), -1, keepdims=True)
    length = jnp.sqrt(jnp.maximum(values, 0))
    inverse = jnp.where(values > floor, 1 / jnp.where(values > floor, length, 1), 0)
    return (
        _front(vectors * length[..., None, :]),
        _front(vectors * inverse[..., None, :]),
        jnp.stack([spread(m) for m in (*m1, *m2)]),
    )


def _front(matrix: Array) -> Array:
    return jnp.moveaxis(matrix, (-2, -1), (0, 1))


def _parameter_derivative(phi: Pointwise, i: int) -> Pointwise:
    """∂φ/∂θ_i, a function of the same arguments and parameters."""
    as_gaussian = Pointwise(phi.fn, phi.arity + i + 1, phi.label)
    return phi.remember(
        ("parameter", i), lambda: Pointwise(derivative(as_gaussian, phi.arity + i).fn, phi.arity, f"dθ{i}({phi.label})")
    )


def _smooth(phi: Pointwise) -> bool:
    """Whether no kink or jump was met along a few lines; a function with parameters is taken for kinked."""
    return phi.remember("smooth", lambda: _seek_kinks(phi))


def _seek_kinks(phi: Pointwise) -> bool:
    lines = np.random.default_rng(0).normal(size=(3, 2, phi.arity))
    try:
        return not any(kink.order < 2 for start, step in lines for kink in kinks(_along(phi, start, step)))
    except TypeError:
        return False


def _along(phi: Pointwise, start: np.ndarray, step: np.ndarray) -> Pointwise:
    """φ on the line start + t·step, a function of t."""
    return Pointwise(lambda t: phi.fn(*(a + b * t for a, b in zip(start.tolist(), step.tolist(), strict=True))), 1)


def _nodes(n: int, smooth: bool, accuracy: float) -> tuple[np.ndarray, np.ndarray]:
    return _tensor(n, accuracy, TENSOR[n]) if smooth and n in TENSOR else _lattice(n)


@lru_cache(maxsize=16)
def _tensor(n: int, accuracy: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (n, K) and weights (K,) of N(0, 1)ⁿ, without those whose share of E[(1+|z|²)²] is negligible."""
    x, w = np.polynomial.hermite_e.hermegauss(count)
    nodes = np.stack([g.ravel() for g in np.meshgrid(*[x] * n, indexing="ij")])
    weights = np.prod(np.stack([g.ravel() for g in np.meshgrid(*[w / w.sum()] * n, indexing="ij")]), 0)
    share = weights * (1 + np.sum(nodes**2, 0)) ** 2
    order = np.argsort(share)
    keep = np.sort(order[np.cumsum(share[order]) > 1e-2 * accuracy])
    return nodes[:, keep], weights[keep] / weights[keep].sum()


def _points(n: int) -> int:
    """Nodes of one lattice, a prime."""
    return 16381 if n <= 6 else 4093


@lru_cache(maxsize=16)
def _lattice(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (n, shifts × points): Korobov's lattice, shifted at random, folded by the tent map, through the normal quantile."""
    size = _points(n)
    base = np.outer(_korobov(n, size), np.arange(size)) % size / size
    shifts = np.random.default_rng(2024).random((n, SHIFTS, 1))
    points = 1 - np.abs(2 * ((base[:, None] + shifts) % 1) - 1)
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        nodes = np.asarray(jax.scipy.special.ndtri(jnp.asarray(np.clip(points, 1e-16, 1 - 1e-16))))
    count = SHIFTS * size
    return nodes.reshape(n, count), np.full(count, 1 / count)


def _korobov(n: int, size: int) -> np.ndarray:
    """(1, a, a², …) mod N with the least P₂ figure of merit (weights 1/j² on axis j) among random a."""
    k = np.arange(size)
    best, vector = np.inf, None
    for a in np.random.default_rng(1).choice(np.arange(2, size // 2), 40, replace=False):
        powers = np.asarray([pow(int(a), j, size) for j in range(n)])
        product = np.ones(size)
        for j, z in enumerate(powers):
            t = k * int(z) % size / size
            product = product * (1 + 2 * np.pi**2 * (t * t - t + 1 / 6) / (1 + j) ** 2)
        if product.mean() < best:
            best, vector = product.mean(), powers
    return vector
