"""Learning curves: the mean test error of kernel regression from the spectrum and the target."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Shaped

_HALVINGS = 120


class LearningCurve(NamedTuple):
    """Means over data sets of n examples.

    Attributes:
        error: (counts,) E|f̂(x) - f*(x)|², x fresh, without the noise of its label.
        bias: (counts,) what remains of the error without noise of the labels.
        variance: (counts,) what the noise of the labels adds.
        effective_ridge: (counts,) κ, the ridge that n examples leave in effect.
    """

    error: Float[Array, " counts"]
    bias: Float[Array, " counts"]
    variance: Float[Array, " counts"]
    effective_ridge: Float[Array, " counts"]


def learning_curve(
    values: Shaped[Any, " modes"],
    weights: Shaped[Any, " modes"],
    counts: Any,
    *,
    multiplicities: Shaped[Any, " modes"] | None = None,
    ridge: Any = 0.0,
    noise: Any = 0.0,
    tail: Any = 0.0,
    unlearnable: Any = 0.0,
) -> LearningCurve:
    """Mean test error of kernel ridge regression on n independent examples (Sollich 1999; Bordelon, Canatar & Pehlevan 2020).

    With eigenvalues λ_ρ of the kernel operator under the law of x, the target f* = Σ a_ρ φ_ρ (E φ_ρ² = 1) and a ridge δ added to the Gram
    matrix,

        κ = δ + Σ_ρ κ λ_ρ/(κ + n λ_ρ),    γ = n Σ_ρ λ_ρ²/(κ + n λ_ρ)²,
        E|f̂ - f*|² = [Σ_ρ a_ρ² κ²/(κ + n λ_ρ)² + γ σ²] / (1 - γ).

    An average-case theory: exact for Gaussian features as n and the number of modes grow together, and accurate for kernels on
    spheres from n of a few tens on. The curve can be differentiated.

    Args:
        values: λ_ρ, distinct or not.
        weights: a_ρ²; with multiplicities the sum over all modes of that value.
        counts: Numbers n of examples, one or several.
        multiplicities: How many modes have each value (default 1).
        ridge: δ, added to the diagonal of the Gram matrix.
        noise: σ², the variance of the labels' noise.
        tail: Σ λ of modes that are left out (so small that n examples do not see them): acts as a ridge.
        unlearnable: Σ a² of the target in those modes: acts as noise, and stays in the error.

    Returns:
        A `LearningCurve`.

    Raises:
        ValueError: Where something is negative, or shapes differ.
    """
    values, weights = jnp.asarray(values, jnp.result_type(float)), jnp.asarray(weights, jnp.result_type(float))
    many = jnp.ones_like(values) if multiplicities is None else jnp.asarray(multiplicities, values.dtype)
    _check(values, weights, many, {"ridge": ridge, "noise": noise, "tail": tail, "unlearnable": unlearnable})
    numbers = jnp.asarray([ridge + tail, noise, unlearnable], values.dtype)
    return _curve(values, weights, many, jnp.atleast_1d(jnp.asarray(counts, values.dtype)).ravel(), numbers)


@jax.jit
def _curve(values: Array, weights: Array, many: Array, counts: Array, numbers: Array) -> LearningCurve:
    (ridge, noise, unlearnable), n = numbers, counts[:, None]
    kappa = _effective_ridge(values, many, n, ridge)
    gamma = jnp.sum(n * many * (values / (kappa + n * values)) ** 2, -1)
    left = kappa / (kappa + n * values)
    bias = (jnp.sum(weights * left**2, -1) + unlearnable * gamma) / (1 - gamma) + unlearnable
    variance = noise * gamma / (1 - gamma)
    return LearningCurve(bias + variance, bias, variance, kappa[:, 0])


def _check(values: Array, weights: Array, many: Array, numbers: dict[str, Any]) -> None:
    if not values.shape == weights.shape == many.shape:
        raise ValueError(
            f"`wl.spectrum.learning_curve(values, weights, counts)`: got shapes {values.shape}, {weights.shape} and multiplicities "
            f"{many.shape}; expected one shape"
        )
    lowest = {"values": jnp.min(values), "weights": jnp.min(weights), **numbers}
    concrete = {name: float(v) for name, v in lowest.items() if not isinstance(v, jax.core.Tracer)}
    if negative := {name: v for name, v in concrete.items() if not v >= 0}:
        raise ValueError(f"`wl.spectrum.learning_curve(...)`: expected nothing negative, got {negative}")


def _effective_ridge(values: Array, many: Array, n: Array, ridge: Array) -> Array:
    """The root κ of δ/κ + Σ λ/(κ + n λ) = 1, whose left side falls in κ, by halving log κ; 0 where n exceeds the rank and δ = 0."""
    most = jnp.log(ridge + jnp.sum(many * values)) + jnp.zeros_like(n)
    least = most - 0.9 * jnp.log(jnp.finfo(values.dtype).max)

    def excess(log_kappa: Array) -> Array:
        kappa = jnp.exp(log_kappa)
        return ridge / kappa + jnp.sum(many * values / (kappa + n * values), -1, keepdims=True) - 1

    def halve(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        middle = 0.5 * (ends[0] + ends[1])
        above = excess(middle) > 0
        return jnp.where(above, middle, ends[0]), jnp.where(above, ends[1], middle)

    low, high = jax.lax.stop_gradient(jax.lax.fori_loop(0, _HALVINGS, halve, (least, most)))
    found = 0.5 * (low + high)
    # One step of Newton changes nothing but the derivative, which halving does not have.
    _, slope = jax.jvp(excess, (found,), (jnp.ones_like(found),))
    found = found - excess(found) / jax.lax.stop_gradient(slope)
    return jnp.where(excess(jax.lax.stop_gradient(least)) <= 0, 0.0, jnp.exp(found))
