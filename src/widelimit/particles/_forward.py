"""One batch of particles through the program: every value as samples of its Z, at all inputs jointly.

Z^{Wh} is Gaussian with Cov(Z^{Wh}, Z^{Wh'}) = σ_W² E[Z^h Z^h'] for all uses of W (Tensor Programs III, ZHat), the expectation being
the mean over the particles; entries that are not averaged over a wide axis keep the law of the parameter.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from widelimit import program as tp
from widelimit.particles import _taps
from widelimit.particles._coordinates import at_places, places
from widelimit.particles._gaussians import Gaussians
from widelimit.particles._laws import entries
from widelimit.particles._noise import Noise
from widelimit.particles._operations import Arrays, cast, forward, known
from widelimit.particles._plan import Plan, amplitude, family, is_averaged
from widelimit.particles._slope import slope
from widelimit.particles._taps import Use


@dataclasses.dataclass(eq=False)
class Forward:
    """The samples of a program's variables: `arrays`, filled by `run`."""

    plan: Plan
    inputs: Sequence[Array]
    noise: Noise
    key: Array

    def __post_init__(self) -> None:
        self.arrays: Arrays = {}
        self._features: dict[int, Array] = {}
        self._gaussians: dict[Hashable, Gaussians] = {}
        self._entries: dict[Hashable, Array] = {}

    @property
    def dtype(self) -> Any:
        return self.noise.dtype

    @property
    def particles(self) -> int:
        return self.noise.particles

    @functools.cached_property
    def count(self) -> int:
        """The number of inputs."""
        return len(self.inputs[0])

    def run(self) -> Forward:
        for number, step in enumerate(self.plan.steps):
            key = jax.random.fold_in(self.key, number)
            self.arrays[id(step)] = self._known(step) if isinstance(step, tp.Known) else self._value(step, key)
        return self

    def _known(self, x: tp.Known) -> Any:
        if isinstance(x, tp.Slope):
            return slope(x, self.plan, self.arrays)
        return known(x, self.arrays, self.inputs, self.dtype)

    def _value(self, v: tp.Value, key: Array) -> Array:
        match v:
            case tp.Given():
                return self._at_all_particles(v)
            case tp.Profile():
                return self._at_all_inputs(v)
            case tp.MatMul() | tp.Vector() | tp.Fluctuation():
                return self._placed(v, self._gaussian(v) if is_averaged(v) else self._own_law(v, key))
        return forward(v, self.arrays, self.dtype)

    def _at_all_particles(self, v: tp.Given) -> Array:
        return jnp.broadcast_to(self._given(v)[:, None], (self.count, self.particles, *v.shape))

    def _at_all_inputs(self, v: tp.Profile) -> Array:
        samples = at_places(v, self._places).astype(self.dtype)
        return jnp.broadcast_to(samples, (self.count, self.particles, *v.shape))

    @functools.cached_property
    def _places(self) -> Array:
        return places(jax.random.fold_in(self.key, len(self.plan.steps)), self.particles)

    def _given(self, v: tp.Given) -> Array:
        """The known array as (inputs, *positions)."""
        array = cast(self.arrays[id(v.known)], self.dtype)
        fixed = isinstance(v.known, tp.Constant) or array.ndim == len(v.known.shape)
        array = array[None] if fixed else array
        lead, rank = len(array), len(v.shape)
        array = array.reshape(lead, *[1] * (rank + 1 - array.ndim), *array.shape[1:])
        return jnp.broadcast_to(array, (self.count, *v.shape))

    # --- draws --------------------------------------------------------------------------------------------------------

    def _gaussian(self, g: Use) -> Array:
        made = self._gaussians.setdefault(family(g), Gaussians(self.noise))
        return made.draw(self.features(g) * self.plan.deviation(g), copies=1)[0]

    def _own_law(self, use: Use, key: Array) -> Array:
        features = self.features(use) * self.plan.deviation(use)
        if family(use) not in self._entries:
            law, fan = self.plan.laws[use.weight.path], round(use.weight.fan)
            shape = (features.shape[0], features.shape[-1])
            self._entries[family(use)] = entries(key, law, shape, fan=fan, noise=self.noise)
        return features @ self._entries[family(use)]

    def _placed(self, use: Use, drawn: Array) -> Array:
        """(independent, inputs · others, particles) as (inputs, particles, *positions)."""
        independent, others = _taps.counts(use)
        drawn = drawn.reshape(independent, self.count, others, self.particles)
        return _taps.positions(use, jnp.transpose(drawn, (1, 3, 0, 2)))

    # --- what the uses of a parameter have in common --------------------------------------------------------------------

    def features(self, use: Use) -> Array:
        """F (independent, inputs · others, M) with amplitude · amplitude' · E Σ_k Z^h Z^h' = F F'ᵀ."""
        if id(use) not in self._features:
            self._features[id(use)] = self._read(use) * amplitude(use)
        return self._features[id(use)]

    def _read(self, use: Use) -> Array:
        if isinstance(use, tp.Vector):
            return jnp.ones((math.prod(use.shape), self.count, 1), self.dtype)
        if isinstance(use.h, tp.Given) and not self._mixed(use):
            taps = _taps.tapped(use, self._given(use.h))[:, None]
        else:
            taps = _taps.tapped(use, cast(self.arrays[id(use.h)], self.dtype))
        taps = jnp.transpose(taps, (2, 0, 3, 1, 4)) / math.sqrt(taps.shape[1])
        return taps.reshape(taps.shape[0], self.count * taps.shape[2], -1)

    def _mixed(self, use: Use) -> bool:
        """Whether a weight that meets a known vector meets random ones too."""
        others = [u for u in (*self.plan.inner, *self.plan.readout) if family(u) == family(use)]
        return not all(isinstance(u.h, tp.Given) for u in others)
