"""The fit of least squares: the course of training is linear in the labels and in the initial function."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from widelimit.dynamics import _check, _singular
from widelimit.dynamics._grams import Grams
from widelimit.dynamics._layout import Layout
from widelimit.dynamics._prediction import Prediction
from widelimit.dynamics._prior import Prior, Start, given
from widelimit.dynamics._responses import Training
from widelimit.dynamics._times import times as parsed

_MEMORY = 2**26  # numbers of Θ(x, X) R that are held at once


@dataclasses.dataclass(frozen=True, eq=False)
class SquaredFit:
    """Infinite networks trained with the squared loss. Call it with test points and times.

    `fit(x_test, t=jnp.inf)` is a `Prediction`; `t` is a time or a vector of times: times of gradient flow, or numbers of steps.
    t = ∞ is the end of training (of `wl.SGD`: of its batches).
    """

    grams: Grams
    layout: Layout
    labels: Float[Array, "n c"]
    training: Training
    solver: Any
    initial: Callable[[PyTree], Array] | None
    dtype: Any

    def __call__(self, x_test: PyTree, t: Any = jnp.inf) -> Prediction:
        """The law of the trained networks' outputs on `x_test` at `t`."""
        vector, many = parsed(t, self.training.optimizer)
        at = jnp.asarray(vector, self.labels.dtype)
        if cut := self.solver.cut(at):
            total = len(self.labels)
            _singular.warn("`fit(x_test, t)`", cut, total, self.solver.jitter, self.labels.dtype)
        look = Look(self, x_test, at)
        pick = _pick(many, self.dtype)
        return Prediction(
            mean=pick(self.layout.values(look.mean())),
            jitter=self.solver.jitter if cut else 0.0,
            _covariance=lambda: pick(self.layout.kernel(look.covariance())),
            _sample=lambda key, n: jax.vmap(pick)(self.layout.values(look.sample(key, n))),
        )

    @property
    def jitter(self) -> float:
        """Eigenvalues of Θ (plus the decay) up to this one are zero to working precision; 0.0 where all are above."""
        return self.solver.jitter

    @property
    def largest_stable_step(self) -> float:
        """The learning rate η below which discrete steps converge; ∞ for gradient flow.

        For `wl.SGD` it is sufficient: below 2/λ, λ the largest eigenvalue of Θ on a minibatch, no step grows the residual in
        the norm of Θ⁻¹.
        """
        return largest_stable_step(self.training, self.solver.largest)


def largest_stable_step(training: Training, largest: float) -> float:
    """η of the optimizer's own kind at which the mode of the largest eigenvalue stops to converge."""
    bound = getattr(training.optimizer, "stability", np.inf)
    return bound / (largest + training.shrink) if largest + training.shrink > 0 else np.inf


def _pick(many: bool, dtype: Any) -> Callable[[Array], Array]:
    return lambda a: (a if many else a[0]).astype(dtype)


class Look:
    """The trained networks on given points at given times."""

    def __init__(self, fit: SquaredFit, x: PyTree, times: Float[Array, " t"]):
        self.fit, self.x, self.times = fit, x, times
        self.prior_cross, self.cross = fit.grams.cross(x)

    def mean(self) -> Float[Array, "t m c"]:
        """Θ(x, X) R^y y, and what is left of a given initial function."""
        learned = self._carry(self.fit.labels, "target")
        return learned if self.fit.initial is None else learned + self._push(self._given())

    def covariance(self) -> Float[Array, "t m m"]:
        """c² K(x, x) − c A K(X, x) − c K(x, X) Aᵀ + A K(X, X) Aᵀ, A = Θ(x, X) R^f (Lee et al. 2019, eq. 16, where c = 1)."""
        self._check_degree("covariance")
        prior = self.fit.grams.test(self.x)
        scale = self.fit.solver.scale(self.times)
        if self.fit.initial is not None:
            return jnp.zeros((len(self.times), *prior.shape), prior.dtype)
        priors = prior, self.prior_cross, self.fit.grams.prior
        at_once = max(1, _MEMORY // self.cross.size)
        parts = [self.times[i : i + at_once] for i in range(0, len(self.times), at_once)]
        influence = (a for part in parts for a in self.fit.solver.rows(self.cross, part))
        return jnp.stack([_pushed(c, a, *priors) for c, a in zip(scale, influence, strict=True)])

    def sample(self, key: PRNGKeyArray, n: int) -> Float[Array, "n t m c"]:
        """n initial functions, trained."""
        self._check_degree("sample")
        if self.fit.initial is not None:
            return jnp.broadcast_to(self.mean(), (n, *self.mean().shape))
        outputs = self.fit.labels.shape[1]
        drawn = self._push(Prior(self.fit.grams).draw(key, n * outputs, self.x))
        return jnp.moveaxis(drawn.reshape(*drawn.shape[:2], n, outputs), 2, 0) + self.mean()

    def _push(self, start: Start) -> Float[Array, "t m c"]:
        """c f₀(x) − A f₀(X)."""
        scale = self.fit.solver.scale(self.times)
        return scale[:, None, None] * start.test - self._carry(start.train, "start")

    def _carry(self, values: Float[Array, "n c"], response: str) -> Float[Array, "t m c"]:
        return self.fit.solver.carry(self.cross, values, self.times, response)

    def _given(self) -> Start:
        self._check_degree("initial")
        fit = self.fit
        return Start(*(given(fit.initial, x, fit.layout, n) for x, n in ((fit.grams.x, "x"), (self.x, "x_test"))))

    def _check_degree(self, name: str) -> None:
        training = self.fit.training
        if training.decay and training.degree is None:
            raise ValueError(_check.NO_DEGREE.format(training.decay, name))


@jax.jit
def _pushed(
    scale: Float[Array, ""],
    a: Float[Array, "m n"],
    test: Float[Array, "m m"],
    cross: Float[Array, "m n"],
    train: Float[Array, "n n"],
) -> Float[Array, "m m"]:
    """The covariance of c f₀(x) − A f₀(X)."""
    mixed = scale * (a @ cross.T)
    full = scale**2 * test - mixed - mixed.T + a @ train @ a.T
    return (full + full.T) / 2
