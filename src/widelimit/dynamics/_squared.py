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
from widelimit.dynamics._responses import Response, Training
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
    prior: Prior
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
        self.cross = fit.grams.cross(x)[1]

    def mean(self) -> Float[Array, "t m c"]:
        """Θ(x, X) R^y y, and what is left of a given initial function."""
        learned = self._carry(self.fit.labels, "target")
        return learned if self.fit.initial is None else learned + self._push(self._given())

    def covariance(self) -> Float[Array, "t m m"]:
        """c² K(x, x) − c A K(X, x) − c K(x, X) Aᵀ + A K(X, X) Aᵀ, A = Θ(x, X) R^f (Lee et al. 2019, eq. 16, where c = 1).

        With f₀ and h in the place of f₀: (1, b) in the place of c, and [Θ(x, X) R^y, Θ(x, X) R^h] in that of A.
        """
        self._check_start("covariance")
        if self.fit.initial is not None:
            return jnp.zeros((len(self.times), *2 * self.cross.shape[:1]), self.cross.dtype)
        prior = self.fit.prior
        priors = prior.test(self.x), prior.cross(self.x), prior.train
        at_once = max(1, _MEMORY // max(1, prior.count * self.cross.size))
        parts = [self.times[i : i + at_once] for i in range(0, len(self.times), at_once)]
        influence = (a for part in parts for a in self._rows(part))
        return jnp.stack([_pushed(c, a, *priors) for c, a in zip(self._shares(), influence, strict=True)])

    def _rows(self, times: Float[Array, " t"]) -> Float[Array, "t m rn"]:
        return jnp.concatenate([self.fit.solver.rows(self.cross, times, answer) for answer in self._answers], axis=2)

    def sample(self, key: PRNGKeyArray, n: int) -> Float[Array, "n t m c"]:
        """n initial functions, trained."""
        self._check_start("sample")
        if self.fit.initial is not None:
            return jnp.broadcast_to(self.mean(), (n, *self.mean().shape))
        outputs = self.fit.labels.shape[1]
        drawn = self._push(self.fit.prior.draw(key, n * outputs, self.x))
        return jnp.moveaxis(drawn.reshape(*drawn.shape[:2], n, outputs), 2, 0) + self.mean()

    def _push(self, start: Start) -> Float[Array, "t m c"]:
        """c f₀(x) − A f₀(X)."""
        left = jnp.einsum("tr,rmc->tmc", self._shares(), start.test)
        return left - sum(self._carry(f, answer) for f, answer in zip(start.train, self._answers, strict=True))

    @property
    def _answers(self) -> tuple[Response, ...]:
        """What answers to each of the functions that the network starts from."""
        return ("start",) if self.fit.prior.count == 1 or self.fit.initial is not None else ("target", "radial")

    def _shares(self) -> Float[Array, "t r"]:
        """What of each is left away from the data: c = 1 + k b of f₀ alone, or 1 of f₀ and b of h."""
        shrunk = self.fit.solver.shrunk(self.times)
        if len(self._answers) == 1:
            return 1 + (self.fit.training.degree or 0.0) * shrunk[:, None]
        return jnp.stack([jnp.ones_like(shrunk), shrunk], axis=1)

    def _carry(self, values: Float[Array, "n c"], response: str) -> Float[Array, "t m c"]:
        return self.fit.solver.carry(self.cross, values, self.times, response)

    def _given(self) -> Start:
        self._check_start("initial")
        fit = self.fit
        return Start(*(given(fit.initial, x, fit.layout, n)[None] for x, n in ((fit.grams.x, "x"), (self.x, "x_test"))))

    def _check_start(self, name: str) -> None:
        _check.start_known(self.fit.training, self.fit.prior, name)


@jax.jit
def _pushed(
    shares: Float[Array, " r"],
    a: Float[Array, "m rn"],
    test: Float[Array, "rm rm"],
    cross: Float[Array, "rm rn"],
    train: Float[Array, "rn rn"],
) -> Float[Array, "m m"]:
    """The covariance of c f₀(x) − A f₀(X)."""
    m, r = len(a), len(shares)
    mixed = jnp.einsum("i,imk,nk->mn", shares, cross.reshape(r, m, cross.shape[1]), a)
    own = jnp.einsum("i,imjn,j->mn", shares, test.reshape(r, m, r, m), shares)
    full = own - mixed - mixed.T + a @ train @ a.T
    return (full + full.T) / 2
