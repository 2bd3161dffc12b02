"""Independent batches of particles: their mean, and the standard error that their spread tells."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from widelimit import trace
from widelimit.particles._backward import Backward
from widelimit.particles._forward import Forward
from widelimit.particles._plan import Plan, plan
from widelimit.particles._readout import readout
from widelimit.particles._tangent import kernels

_BATCHES = 16
_LEAST = 256  # particles in a batch, whose own bias falls as one over their number


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Mean and standard error of the NNGP and of each parameter's share of the NTK, (inputs, inputs, *output, *output)."""

    nngp: tuple[Array, Array]
    ntk: tuple[Array, Array]
    shares: dict[str, Array]


@dataclasses.dataclass(frozen=True, eq=False)
class Particles:
    """A network's program, to be sampled."""

    reading: trace.Reading
    particles: int
    key: Array

    @functools.cached_property
    def plan(self) -> Plan:
        return plan(self.reading)

    def estimate(self, inputs: Sequence[Array]) -> Estimate:
        """Both kernels between all inputs, whose leaves are (inputs, *shape)."""
        keys = jax.random.split(self.key, _BATCHES)
        drawn = [jax.tree.map(np.asarray, self._batch(key, list(inputs))) for key in keys]
        nngp, shares = (jax.tree.map(lambda *a: np.stack(a), *parts) for parts in zip(*drawn, strict=True))
        total = sum(shares.values(), np.zeros_like(nngp))
        means = {path: jnp.asarray(a.mean(0)) for path, a in shares.items()}
        return Estimate(_mean_and_error(nngp), _mean_and_error(total), means)

    @functools.cached_property
    def _batch(self) -> Any:
        return jax.jit(self._sampled)

    def _sampled(self, key: Array, inputs: list[Array]) -> tuple[Array, dict[str, Array]]:
        forward_key, backward_key = jax.random.split(key)
        forward = Forward(self.plan, inputs, self.size, forward_key).run()
        backward = Backward(forward, readout(forward), backward_key).run()
        nngp, shares = kernels(backward)
        return self._placed(nngp), {path: self._placed(a) for path, a in shares.items()}

    @property
    def size(self) -> int:
        """Particles in a batch, an even number."""
        return 2 * max(1, self.particles // (2 * _BATCHES))

    def _placed(self, a: Array) -> Array:
        """(P, inputs, P, inputs) as (inputs, inputs, *output, *output)."""
        a, shape = jnp.transpose(a, (1, 3, 0, 2)), self.plan.output.shape
        return a.reshape(*a.shape[:2], *shape, *shape)


def _mean_and_error(batches: np.ndarray) -> tuple[Array, Array]:
    return jnp.asarray(batches.mean(0)), jnp.asarray(batches.std(0, ddof=1) / math.sqrt(len(batches)))
