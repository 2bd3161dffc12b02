"""The course of training from all eigenmodes of Θ on the training points."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from widelimit.dynamics._responses import Response, Training, responses
from widelimit.dynamics._singular import resolution


class Modes:
    """Θ = V diag(λ) Vᵀ; a function R of Θ is V R(λ) Vᵀ, at all times at once."""

    def __init__(self, theta: Float[Array, "n n"], training: Training, eps: float):
        self.training = training
        computed, self.vectors = jnp.linalg.eigh(theta)
        values = np.asarray(computed)
        self.noise = resolution(values, eps, "kernel")
        self.eigenvalues = jnp.asarray(np.maximum(values, 0))
        self.unresolved = values + training.shrink <= self.noise

    @property
    def largest(self) -> float:
        """λ_max."""
        return float(self.eigenvalues[-1])

    @property
    def jitter(self) -> float:
        """Eigenvalues up to this one count as zero; 0.0 where all are above."""
        return self.noise if bool(self.unresolved.any()) else 0.0

    def cut(self, times: Float[Array, " t"]) -> int:
        """How many modes are left out at these times."""
        return int(self.unresolved.sum()) if bool(self._late(times).any()) else 0

    def _late(self, times: Float[Array, " t"]) -> Bool[np.ndarray, " t"]:
        """Where the training has gone on so long that it sees eigenvalues of the size of the rounding."""
        return np.asarray(times) * (self.training.pace * self.noise) >= 1

    def carry(
        self, cross: Float[Array, "m n"], values: Float[Array, "n c"], times: Float[Array, " t"], response: Response
    ) -> Float[Array, "t m c"]:
        """Θ(x, X) R_t values."""
        return _carry(self._modes, cross, self._gains(times, response), self._late(times), values)

    def rows(self, cross: Float[Array, "m n"], times: Float[Array, " t"], response: Response) -> Float[Array, "t m n"]:
        """Θ(x, X) R_t."""
        return _rows(self._modes, cross, self._gains(times, response), self._late(times))

    def shrunk(self, times: Float[Array, " t"]) -> Float[Array, " t"]:
        """b_t."""
        return responses(self.training, self.eigenvalues, times).shrunk

    def _gains(self, times: Float[Array, " t"], response: Response) -> Float[Array, "t n"]:
        return responses(self.training, self.eigenvalues, times).to(response, self.training.degree)

    @property
    def _modes(self) -> tuple[Array, np.ndarray, float]:
        return self.vectors, self.unresolved, self.noise / self.largest


@jax.jit
def _carry(
    modes: tuple,
    cross: Float[Array, "m n"],
    gains: Float[Array, "t n"],
    late: Bool[Array, " t"],
    values: Float[Array, "n c"],
) -> Float[Array, "t m c"]:
    weights = _kept(gains, modes[1], late)[:, :, None] * (modes[0].T @ values)
    return _modal(*modes, cross) @ weights


@jax.jit
def _rows(
    modes: tuple, cross: Float[Array, "m n"], gains: Float[Array, "t n"], late: Bool[Array, " t"]
) -> Float[Array, "t m n"]:
    return (_modal(*modes, cross) * _kept(gains, modes[1], late)[:, None, :]) @ modes[0].T


def _kept(gains: Float[Array, "t n"], unresolved: Bool[Array, " n"], late: Bool[Array, " t"]) -> Float[Array, "t n"]:
    """Zero where a mode is left out."""
    return jnp.where(unresolved & late[:, None], 0, gains)


def _modal(
    vectors: Float[Array, "n n"], unresolved: Bool[Array, " n"], rounding: Float[Array, ""], cross: Float[Array, "m n"]
) -> Float[Array, "m n"]:
    """Θ(x, X) V. A null mode of Θ(X, X) is one of Θ(x, X) too: what rounding left there is removed.

    Else conflicting labels of coinciding points, whose mode grows like t, would bring it to light.
    """
    modal = cross @ vectors
    return jnp.where(unresolved & (jnp.abs(modal) <= rounding * jnp.abs(cross).max(initial=0)), 0, modal)
