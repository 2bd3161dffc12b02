"""The adjoints Z^{dy}, dy = √n ∂f/∂y, of every use of a parameter, by samples.

The readout's rows, drawn independently of all else, are where they start. Z^{dh} gets Σ Ẑ^{Wᵀdy} from the uses y = W h, Gaussian with
Cov(Ẑ^{Wᵀdy}, Ẑ^{Wᵀdy'}) = σ_W² E[Z^{dy} Z^{dy'}], and goes on through the Nonlins by their derivatives; Moments are constants, as the
adjoints are odd in the readout (Tensor Programs II, simple GIA check; IIb, D.4.5).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable

import jax.numpy as jnp
from jax import Array

from widelimit.particles import _taps
from widelimit.particles._forward import Forward
from widelimit.particles._gaussians import Gaussians
from widelimit.particles._operations import add, pull_back
from widelimit.particles._plan import amplitude, family, goes_on
from widelimit.particles._readout import Readout
from widelimit.particles._taps import Use


@dataclasses.dataclass(eq=False)
class Backward:
    """Adjoints of the P outputs, as (P, inputs, particles, *positions), filled by `run`; without `tangent` the readout's alone."""

    forward: Forward
    readout: Readout
    tangent: bool = True

    def __post_init__(self) -> None:
        self._adjoints: dict[int, Array] = {}
        self._gaussians: dict[Hashable, Gaussians] = {}
        self._rows: dict[Hashable, Array] = {}
        self.seeds: dict[int, Array] = {}  # of the readout's uses, of which one coordinate counts
        self.features: dict[int, Array] = {}  # of all others

    @property
    def outputs(self) -> int:
        return self.readout.mean.shape[-1]

    def run(self) -> Backward:
        plan = self.forward.plan
        for use, jacobian in zip(plan.readout, self.readout.jacobians, strict=True):
            self._seed(use, jacobian)
        pull_back(plan.steps, self.forward.arrays, self._adjoints, self._at_use)
        return self

    def _at_use(self, use: Use, adjoint: Array) -> None:
        self.features[id(use)] = self._flat(use, adjoint)
        if goes_on(use):
            add(self._adjoints, use.h, self._transposed(use))

    def _flat(self, use: Use, adjoint: Array) -> Array:
        """H (independent, P · inputs · others, particles) with E[Z^{dy} Z^{dy'}] = H H'ᵀ."""
        flat = jnp.transpose(_taps.flattened(use, adjoint), (3, 0, 1, 4, 2))
        return flat.reshape(flat.shape[0], -1, self.forward.particles) / math.sqrt(self.forward.particles)

    # --- draws --------------------------------------------------------------------------------------------------------

    def _seed(self, use: Use, jacobian: Array) -> None:
        """J v: all outputs read through the same row v of the readout's weight."""
        flat = jnp.transpose(_taps.flattened(use, jacobian), (2, 1, 0, 3))  # (independent, P, inputs, others)
        self.seeds[id(use)] = flat.reshape(flat.shape[0], -1, 1)
        if not (goes_on(use) and self.tangent):
            return
        if family(use) not in self._rows:
            self._rows[family(use)] = self.forward.noise.draw((_taps.entries_met(use), flat.shape[0]))
        adjoint = jnp.einsum("ipas,kin->panisk", flat, self._rows[family(use)])
        add(self._adjoints, use.h, self._read_back(use, adjoint))

    def _transposed(self, g: Use) -> Array:
        forward = self.forward
        made = self._gaussians.setdefault(family(g), Gaussians(forward.noise))
        drawn = made.draw(self.features[id(g)], copies=_taps.entries_met(g))
        drawn = drawn.reshape(*drawn.shape[:2], self.outputs, forward.count, -1, forward.particles)
        return self._read_back(g, jnp.transpose(drawn, (2, 3, 5, 1, 4, 0)))

    def _read_back(self, g: Use, adjoint: Array) -> Array:
        """Wᵀ dy, from (P, inputs, particles, independent, others, k)."""
        return _taps.spread_back(g, adjoint * (amplitude(g) * self.forward.plan.deviation(g)))
