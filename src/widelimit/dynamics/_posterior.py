"""Bayesian inference with the network's kernel as the covariance of the prior."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from widelimit.dynamics import _check, _singular
from widelimit.dynamics._grams import Grams
from widelimit.dynamics._layout import Layout
from widelimit.dynamics._modes import Modes
from widelimit.dynamics._optimizers import GradientFlow
from widelimit.dynamics._prediction import Prediction
from widelimit.dynamics._responses import Training


def posterior(
    kernel: Callable[..., Any],
    x: PyTree,
    y: Any,
    *,
    noise: float | int = 0.0,
    prior: str = "nngp",
) -> Posterior:
    """The posterior of a Gaussian process f with the network's kernel, given y = f(X) + noise of variance σ².

    With C the prior's covariance, the mean is C(·, X)(C + σ²)⁻¹ y and the covariance C − C(·, X)(C + σ²)⁻¹ C(X, ·).

    With the NNGP it is Bayesian inference over the infinite network, or over its readout alone (Lee et al. 2018; Matthews et al.
    2018); at σ = 0 it is also the law of networks whose readout alone is trained to the end, `wl.train(..., regime="last")`
    (Lee et al. 2019). With the NTK ("NTK-GP") the mean is that of fully trained networks; its covariance belongs to
    networks that start at f₀ + a sample of what training could add (He et al. 2020), not to plain ensembles, which
    `wl.train` gives.

    Args:
        kernel: As for `wl.train`.
        x: N training inputs.
        y: `(N, *axes)` or `(N, *axes, outputs)`.
        noise: σ² >= 0, the variance of the labels' noise.
        prior: "nngp" or "ntk".

    Returns:
        `post(x_test)` is a `Prediction`, its covariance that of f (without noise); `post.jitter` as for `wl.train`.

    Raises:
        ValueError: As `wl.train`.

    Warns:
        JitterWarning: Where C + σ² is singular to working precision.
    """
    _check.one_of("prior", prior, ("nngp", "ntk"), call="wl.posterior")
    variance = _check.number("noise", noise, call="wl.posterior")
    grams = Grams(kernel, x, "last" if prior == "nngp" else "ntk")
    _check.trains(grams.theta, call="`wl.posterior(kernel, x, y)`")
    labels = _check.labels(y, grams.examples, grams.axes, call="`wl.posterior(kernel, x, y)`")
    layout, columns = _check.targets(labels, grams.axes)
    modes = Modes(grams.theta, Training(GradientFlow(), ridge=variance), grams.eps)
    return Posterior(grams, layout, columns, modes, jnp.result_type(grams.dtype, _check.float_of(labels)))


@dataclasses.dataclass(frozen=True, eq=False)
class Posterior:
    """A Gaussian process given data. Call it with test points: `post(x_test)` is a `Prediction`."""

    grams: Grams
    layout: Layout
    labels: Float[Array, "n c"]
    modes: Modes
    dtype: Any

    def __call__(self, x_test: PyTree) -> Prediction:
        """The law of f on `x_test`."""
        if cut := self.modes.cut(_end()):
            _singular.warn("`post(x_test)`", cut, len(self.labels), self.jitter, self.labels.dtype)
        cross = self.grams.cross(x_test)[1]
        mean = self.modes.carry(cross, self.labels, _end(), "target")[0]
        return Prediction(
            mean=self.layout.values(mean).astype(self.dtype),
            jitter=self.jitter,
            _covariance=lambda: self.layout.kernel(self._covariance(cross, x_test)).astype(self.dtype),
            _sample=lambda key, n: self._sample(key, n, mean, self._covariance(cross, x_test)),
        )

    @property
    def jitter(self) -> float:
        """Eigenvalues of C + σ² on the training points up to this one counted as zero; 0.0 where all are above."""
        return self.modes.jitter

    def _covariance(self, cross: Float[Array, "m n"], x: PyTree) -> Float[Array, "m m"]:
        full = self.grams.test_theta(x) - self.modes.rows(cross, _end(), "target")[0] @ cross.T
        return (full + full.T) / 2

    def _sample(
        self, key: PRNGKeyArray, n: int, mean: Float[Array, "m c"], covariance: Float[Array, "m m"]
    ) -> Float[Array, "n ..."]:
        normal = jax.random.normal(key, (n, *mean.shape), mean.dtype)
        return self.layout.values(mean + _singular.clipped_root(covariance) @ normal).astype(self.dtype)


def _end() -> Float[Array, " 1"]:
    """The time of kernel regression."""
    return jnp.full(1, jnp.inf)
