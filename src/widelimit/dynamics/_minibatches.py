"""Stochastic gradient descent on the squared loss: every step is linear, but the course is no function of Θ."""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from widelimit.dynamics import _check
from widelimit.dynamics._descent import descend
from widelimit.dynamics._responses import Response, Training


class Minibatches:
    """The responses to labels and initial function as matrices, by running the steps on them."""

    jitter = 0.0

    def __init__(self, theta: Float[Array, "n n"], training: Training, size: int):
        self.theta, self.training, self.size = theta, training, size

    def cut(self, times: Float[Array, " t"]) -> int:
        """No mode is left out: nothing is divided by."""
        del times
        return 0

    def carry(
        self, cross: Float[Array, "m n"], values: Float[Array, "n c"], times: Float[Array, " t"], response: Response
    ) -> Float[Array, "t m c"]:
        """Θ(x, X) R_t values."""
        return cross @ self._run(values, times, response)[0]

    def rows(self, cross: Float[Array, "m n"], times: Float[Array, " t"], response: Response) -> Float[Array, "t m n"]:
        """Θ(x, X) R_t."""
        return cross @ self._run(jnp.eye(len(self.theta), dtype=self.theta.dtype), times, response)[0]

    def shrunk(self, times: Float[Array, " t"]) -> Float[Array, " t"]:
        """b_t."""
        return self._run(jnp.zeros((len(self.theta), 1), self.theta.dtype), times, "target")[1]

    def _run(self, values: Float[Array, "n c"], times: Array, response: Response) -> tuple[Array, Array]:
        none, degree = jnp.zeros_like(values), self.training.degree or 0.0
        start, radial, labels = {
            "target": (none, none, values),
            "radial": (none, values, none),
            "start": (values, degree * values, none),
        }[response]
        problem = self.training, self.theta, (start, radial), labels, residual
        a, shrunk = descend(*problem, times=np.asarray(times), size=self.size)
        _check.finite(a, self.training.optimizer, float(jnp.linalg.eigvalsh(self.theta)[-1]))
        return (a if response == "target" else -a), shrunk

    @functools.cached_property
    def largest(self) -> float:
        """The largest eigenvalue of Θ on a minibatch."""
        batches = np.unique(np.sort(self.training.optimizer.batches, axis=1), axis=0)
        rows = (batches[:, :, None] * self.size + np.arange(self.size)).reshape(len(batches), -1)
        return max(float(jnp.linalg.eigvalsh(self.theta[np.ix_(r, r)])[-1]) for r in rows)


def residual(f: Float[Array, "b c"], labels: Float[Array, "b c"]) -> Float[Array, "b c"]:
    """The gradient of the squared loss."""
    return f - labels
