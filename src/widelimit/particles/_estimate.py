"""Independent batches of particles: their mean, and the standard error that their spread tells."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from widelimit import program as tp
from widelimit import trace
from widelimit._threads import one_blas_thread
from widelimit.particles._backward import Backward
from widelimit.particles._forward import Forward
from widelimit.particles._noise import Noise
from widelimit.particles._operations import is_real
from widelimit.particles._plan import Plan, plan
from widelimit.particles._readout import readout
from widelimit.particles._slope import jump
from widelimit.particles._tangent import kernels
from widelimit.particles._taps import entries_met

LEAST = 1024  # particles that make an estimate
_BATCHES = 16  # and more where memory asks for it
_SMALLEST = 512  # particles of a batch, whose bias falls as one over their number
_TOGETHER = 32  # inputs that fit into the memory with the smallest batches at least
_JUMP = 0.05  # of a function's size: what its derivative may miss of its difference quotients
_ROWS = 2048  # of the largest matrix whose root is taken, or two inputs
# XLA of JAX 0.10 merges what is not equal in some of these programs (an rsqrt over positions, two inputs); that of 0.12 does not
_COMPILER = {"xla_disable_hlo_passes": "cse"} if jax.__version_info__ < (0, 12) else None


class Sampled(NamedTuple):
    """The mean over the batches, and its standard error."""

    mean: Array
    error: Array


@dataclasses.dataclass(frozen=True)
class Estimate:
    """The kernels between two sides, each (N1, N2, *output, *output), and each parameter's share of the NTK."""

    nngp: Sampled
    ntk: Sampled
    shares: dict[str, Array]


@dataclasses.dataclass(frozen=True, eq=False)
class Particles:
    """A network's program, to be sampled."""

    reading: trace.Reading
    particles: int
    key: Array
    memory: int = 2**30

    @functools.cached_property
    def plan(self) -> Plan:
        return plan(self.reading)

    @one_blas_thread()
    def estimate(self, first: list[Array], second: list[Array] | None = None, *, tangent: bool = True) -> Estimate:
        """Both kernels of all pairs, from leaves of shape (N, *shape); without `second` of `first` with itself.

        Without `tangent` the NTK is left out, at less than half the cost.
        """
        count = len(first[0]) + (0 if second is None else len(second[0]))
        size, side = self._sizes(count, max(a.dtype.itemsize for a in first))
        draw = functools.partial(self._together, size=size, tangent=tangent)
        if count <= side:
            nngp, shares = draw(first, second)
        else:
            nngp, shares = _in_blocks(draw, first, first if second is None else second, max(1, side // 2))
        total = sum(shares.values(), np.zeros_like(nngp))
        return Estimate(_sampled(nngp), _sampled(total), {p: jnp.asarray(a.mean(0)) for p, a in shares.items()})

    def _sizes(self, count: int, itemsize: int) -> tuple[int, int]:
        """The particles of a batch, and the inputs that are drawn jointly, for the memory that there is."""
        room = self.memory / (itemsize * _numbers(self.plan))
        fitting = int(room / min(count, _TOGETHER))
        size = 2 * (max(min(self.particles // _BATCHES, max(fitting, _SMALLEST)), 2) // 2)
        widest = max((math.prod(u.shape) for u in (*self.plan.inner, *self.plan.readout)), default=1)
        return size, max(2, min(int(room / size), _ROWS // widest))

    def _together(self, first: list[Array], second: list[Array] | None, *, size: int, tangent: bool) -> Any:
        """(batches, N1, N2, …) of the NNGP and of the shares."""
        if second is None:
            return self._batches(first, size, tangent)
        n1 = len(first[0])
        joint = [jnp.concatenate(sides) for sides in zip(first, second, strict=True)]
        return jax.tree.map(lambda a: a[:, :n1, n1:], self._batches(joint, size, tangent))

    def _batches(self, inputs: list[Array], size: int, tangent: bool) -> Any:
        keys = jax.random.split(self.key, -(-self.particles // size))
        drawn = [jax.tree.map(np.asarray, self._batch(key, inputs, size, tangent)) for key in keys]
        *found, jumps = jax.tree.map(lambda *parts: np.stack(parts), *drawn)
        self._check_slopes(jumps)
        return tuple(found)

    def _check_slopes(self, jumps: list[np.ndarray]) -> None:
        for x, found in zip(self.plan.slopes, jumps, strict=True):
            if found.mean() > _JUMP:
                raise trace.Refusal(
                    f"at {x.of.where}: a discontinuous function between a matrix and its transpose: the derivative that the "
                    "limit needs there includes the jumps, the one that backpropagation takes does not; there is no rule for "
                    "that. Use a continuous function, or two parameters."
                )

    # --- one batch ----------------------------------------------------------------------------------------------------

    @functools.cached_property
    def _batch(self) -> Any:
        return jax.jit(self._one_batch, static_argnums=(2, 3), compiler_options=_COMPILER)

    def _one_batch(self, key: Array, inputs: list[Array], size: int, tangent: bool) -> Any:
        floats = [a.dtype for a in inputs if is_real(a)]
        dtype = jnp.result_type(*floats) if floats else jnp.result_type(float)
        noise_key, key = jax.random.split(key)
        noise = Noise(noise_key, size, self.plan.noise(len(inputs[0])), dtype)
        forward = Forward(self.plan, inputs, noise, key).run()
        backward = Backward(forward, readout(forward), tangent).run()
        nngp, shares = kernels(backward)
        jumps = [jump(x, forward.arrays) for x in self.plan.slopes]
        return self._placed(nngp), {path: self._placed(a) for path, a in shares.items()}, jumps

    def _placed(self, a: Array) -> Array:
        """(P, inputs, P, inputs) as (inputs, inputs, *output, *output)."""
        a, shape = jnp.transpose(a, (1, 3, 0, 2)), self.plan.output.shape
        return a.reshape(*a.shape[:2], *shape, *shape)


def _in_blocks(draw: Callable[..., Any], first: list[Array], second: list[Array], side: int) -> Any:
    """Each pair of blocks of inputs is drawn jointly, in the same noise."""

    def row(block: list[Array]) -> Any:
        parts = [draw(block, _part(second, j, side)) for j in range(0, len(second[0]), side)]
        return jax.tree.map(lambda *a: np.concatenate(a, 2), *parts)

    rows = [row(_part(first, i, side)) for i in range(0, len(first[0]), side)]
    return jax.tree.map(lambda *a: np.concatenate(a, 1), *rows)


def _numbers(plan: Plan) -> int:
    """What a particle holds of one input: its values, what weights read of them, and the adjoints of every output."""
    values = sum(math.prod(v.shape) for v in plan.steps if isinstance(v, tp.Value))
    read = sum(
        math.prod(u.shape) * entries_met(u) for u in (*plan.inner, *plan.readout) if not isinstance(u, tp.Vector)
    )
    return (values + read) * (1 + math.prod(plan.output.shape))


def _part(leaves: Sequence[Array], start: int, count: int) -> list[Array]:
    return [a[start : start + count] for a in leaves]


def _sampled(batches: np.ndarray) -> Sampled:
    error = batches.std(0, ddof=1) / math.sqrt(len(batches))
    return Sampled(jnp.asarray(batches.mean(0)), jnp.asarray(error))
