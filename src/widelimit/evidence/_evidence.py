"""The marginal likelihood of the limit's Gaussian processes."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, PyTree, Shaped

from widelimit.evidence._rescale import Multipliers, Rescaled, check_paths
from widelimit.limit import Kernel

Kind = Literal["nngp", "ntk"]


def evidence(
    kernel: Kernel,
    x: PyTree,
    y: Shaped[Any, "n ..."],
    *,
    noise: Any,
    variances: Multipliers | None = None,
    kind: Kind = "nngp",
    fixed_rates: bool = False,
) -> Float[Array, ""]:
    """log p(y | X), the marginal likelihood of y = f(X) + ε with f ~ GP(0, K) and ε ~ N(0, σ²).

        log p = Σ_o [-½ y_oᵀ (K + σ²I)⁻¹ y_o] - O (½ log det(K + σ²I) + ½ N log 2π),

    the O outputs being independent with the same kernel (Rasmussen & Williams 2006, eq. 2.30).

    A pure function of `noise` and of `variances`: `jax.grad(lambda v: wl.evidence(kernel, x, y, noise=0.1, variances=v))(v)` is the
    gradient with respect to the variance of each parameter, layer by layer. K is differentiated through its own
    recursion, a row of pairs at a time.

    Args:
        kernel: From `wl.limit`; its output may have replica axes only.
        x: N inputs.
        y: Targets (N,) or (N, outputs).
        noise: Variance σ² of the noise, in units of y².
        variances: Parameter path to the factor of its variance (1 is the network as written); others keep theirs.
        kind: "nngp": the network at initialisation (Bayesian inference of all weights); "ntk": the NTK as the covariance.
        fixed_rates: For "ntk": learning rates stay while variances move; otherwise they scale along.

    Returns:
        The log evidence in nats, in the dtype of the kernel.

    Raises:
        ValueError: Where a path or a shape does not fit; where K + σ²I is not positive definite in this precision
            (checked where the result is concrete, not-a-number under a transformation).
    """
    targets = check_targets(kernel, x, y, kind)
    multipliers = check_paths(kernel, variances or {}, "wl.evidence(..., variances)")
    value = compiled(kernel, kind, fixed_rates)(x, targets, jnp.asarray(noise), dict(multipliers))
    return checked(value, noise)


def check_targets(kernel: Kernel, x: PyTree, y: Any, kind: str) -> Array:
    """The targets as (N, outputs)."""
    if kind not in ("nngp", "ntk"):
        raise ValueError(f'`wl.evidence(..., kind={kind!r})`: expected "nngp" or "ntk"')
    if kernel.reading.output.shape:
        raise ValueError(
            f"`wl.evidence(kernel, x, y)`: the network's output has finite axes of size {kernel.reading.output.shape}, over which "
            "the kernel is a matrix; expected a network whose outputs are independent copies (pool or read out one position)"
        )
    count, targets = jax.tree_util.tree_leaves(x)[0].shape[0], jnp.asarray(y)
    if targets.ndim < 1 or targets.shape[0] != count:
        raise ValueError(
            f"`wl.evidence(kernel, x, y)`: y has shape {targets.shape}; expected {count} rows, one an input"
        )
    return targets.reshape(count, -1)


def checked(value: Array, noise: Any) -> Array:
    """The value, refused if it is concrete and not finite."""
    if not isinstance(value, jax.core.Tracer) and not bool(jnp.isfinite(value)):
        raise ValueError(
            f"`wl.evidence(..., noise={noise})`: K + σ²I is not positive definite in {value.dtype} (duplicate inputs, or a variance "
            "of the noise below rounding): raise `noise`, or use float64"
        )
    return value


def compiled(kernel: Kernel, kind: str, fixed_rates: bool) -> Callable[..., Array]:
    """The evidence as one compiled function (x, y, noise, multipliers), kept with the kernel."""
    made = vars(kernel).setdefault("_compiled", {})
    key = ("evidence", kind, fixed_rates)
    if key not in made:
        made[key] = jax.jit(functools.partial(_evidence, rescaled=Rescaled(kernel, fixed_rates), kind=kind))
    return made[key]


def _evidence(
    x: PyTree, y: Array, noise: Array, multipliers: dict[str, Array], *, rescaled: Rescaled, kind: str
) -> Array:
    covariance = _matrix(rescaled, kind, x, multipliers)
    return log_density(covariance, y.astype(covariance.dtype), noise.astype(covariance.dtype))


def _matrix(rescaled: Rescaled, kind: str, x: PyTree, multipliers: dict[str, Array]) -> Array:
    """K row by row; the backward pass computes each row anew, so memory stays at a row's."""

    @jax.checkpoint
    def row(one: PyTree) -> Array:
        return jax.vmap(lambda other: getattr(rescaled.pair(one, other, multipliers), kind))(x)

    return jax.lax.map(row, x)


def log_density(covariance: Float[Array, "n n"], y: Float[Array, "n o"], noise: Float[Array, ""]) -> Float[Array, ""]:
    """Σ_o log N(y_o; 0, K + σ²I) by Cholesky."""
    count, outputs = y.shape
    root = jnp.linalg.cholesky(0.5 * (covariance + covariance.T) + noise * jnp.eye(count, dtype=y.dtype))
    white = jax.scipy.linalg.solve_triangular(root, y, lower=True)
    normaliser = jnp.sum(jnp.log(jnp.diagonal(root))) + 0.5 * count * math.log(2 * math.pi)
    return -0.5 * jnp.sum(white**2) - outputs * normaliser
