"""The kernels of a network by the particle engine: estimates, with their standard errors."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import PyTree

from widelimit import particles, trace
from widelimit.limit._inputs import check_batch, same_dtypes
from widelimit.limit._kernels import Kernels
from widelimit.limit._read import Read

PARTICLES = 2**16


@dataclasses.dataclass(frozen=True, eq=False)
class SampledKernel(Read):
    """The limit of one network, estimated by samples of every variable of its program.

    Each call draws all its inputs jointly, from the same key: the same call gives the same numbers, and `errors` their
    standard errors. A Gram matrix of one call is positive semi-definite up to these.
    """

    reading: trace.Reading
    particles: int
    key: Array

    def __repr__(self) -> str:
        inputs = ", ".join(f"{s.dtype}{list(s.shape)}" for s in self.reading.inputs)
        return f"SampledKernel({inputs}; {len(self.reading.parameters)} parameters, {self.particles} particles)"

    def __call__(self, x1: PyTree, x2: PyTree | None = None) -> Kernels:
        """NNGP and NTK of all pairs: (N1, N2) [+ finite output axes of side 1, of side 2]."""
        found = self._estimate(x1, x2, "kernel(x1, x2)")
        return Kernels(found.nngp.mean, found.ntk.mean)

    def errors(self, x1: PyTree, x2: PyTree | None = None) -> Kernels:
        """The standard errors of `kernel(x1, x2)`, entry by entry, from the spread of independent batches of particles."""
        found = self._estimate(x1, x2, "kernel.errors(x1, x2)")
        return Kernels(found.nngp.error, found.ntk.error)

    def nngp(self, x1: PyTree, x2: PyTree | None = None) -> Array:
        """The NNGP of all pairs, without the sampling of derivatives that the NTK needs."""
        return self._estimate(x1, x2, "kernel.nngp(x1, x2)", tangent=False).nngp.mean

    def ntk(self, x1: PyTree, x2: PyTree | None = None) -> Array:
        """The NTK of all pairs."""
        return self(x1, x2).ntk

    def diagonal(self, x: PyTree) -> Kernels:
        """NNGP and NTK of each input with itself: (N,) [+ finite output axes of both sides]."""
        leaves = check_batch(self.reading, x, "kernel.diagonal(x)")
        parts = [self._drawn([a[i : i + 1] for a in leaves], None) for i in range(len(leaves[0]))]
        return Kernels(*(jnp.concatenate([getattr(p, k).mean[0] for p in parts]) for k in ("nngp", "ntk")))

    def ntk_by_weight(self, x1: PyTree, x2: PyTree | None = None) -> dict[str, Array]:
        """The share of every trained parameter; the shares add up to the NTK."""
        return dict(self._estimate(x1, x2, "kernel.ntk_by_weight(x1, x2)").shares)

    def _estimate(self, x1: PyTree, x2: PyTree | None, call: str, *, tangent: bool = True) -> particles.Estimate:
        first = check_batch(self.reading, x1, call)
        second = None if x2 is None or x2 is x1 else check_batch(self.reading, x2, call)
        if second is not None:
            first, second = same_dtypes(first, second)
        return self._drawn(first, second, tangent=tangent)

    def _drawn(self, first: list[Array], second: list[Array] | None, *, tangent: bool = True) -> particles.Estimate:
        """The estimate of the last call is kept: its values and their errors are often asked for one after the other."""
        kept, key = vars(self).setdefault("_kept", {}), _digest(first, second)
        if (key, True) in kept:
            return kept[key, True]
        if (key, tangent) not in kept:
            kept.clear()
            kept[key, tangent] = self._engine.estimate(first, second, tangent=tangent)
        return kept[key, tangent]

    @functools.cached_property
    def _engine(self) -> particles.Particles:
        return particles.Particles(self.reading, self.particles, self.key)

    # --- what was read ------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Lay the program out, so that what has no rule is refused at once."""
        _ = self._engine.plan


def sampled(reading: trace.Reading, count: int | None, key: Any) -> SampledKernel:
    """The particle engine's kernel of a network that was read, or why it has none."""
    call, count = "wl.limit(..., engine='particles'", PARTICLES if count is None else count
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < particles.LEAST:
        raise ValueError(f"`{call}, particles={count!r})`: expected a whole number of at least {particles.LEAST}")
    key = jax.random.key(0) if key is None else key
    if not (hasattr(key, "dtype") and jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ()):
        raise TypeError(f"`{call}, key=...)`: expected one key, such as `jax.random.key(0)`, got {key!r}")
    kernel = SampledKernel(reading, int(count), key)
    kernel.check()
    return kernel


def _digest(*sides: list[Array] | None) -> str:
    made = hashlib.sha256()
    for side in sides:
        for a in side or ():
            made.update(f"{a.shape}{a.dtype}".encode() + np.asarray(a).tobytes())
        made.update(b"|")
    return made.hexdigest()
