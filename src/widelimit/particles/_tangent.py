"""The two kernels from samples: sums over pairs of uses of one parameter.

Θ = Σ_W λ_W Σ_{y = Wh, y' = Wh'} E[Z^{dy} Z^{dy'}] E[Z^h Z^h'] (Tensor Programs II, eq. 10–12). The output is
linear in its readout, so that the same sum over the readout's uses, with σ_W² in place of λ_W, is the NNGP.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import jax.numpy as jnp
from jax import Array

from widelimit.particles._backward import Backward
from widelimit.particles._forward import Forward
from widelimit.particles._plan import family
from widelimit.particles._taps import Use


def kernels(backward: Backward) -> tuple[Array, dict[str, Array]]:
    """The NNGP, and each parameter's share of the NTK, as (P, inputs, P, inputs)."""
    plan, mean = backward.forward.plan, backward.readout.mean.T
    nngp = mean[:, :, None, None] * mean
    trained = [path for path, p in plan.parameters.items() if p.rate] if backward.tangent else []
    shares = {path: jnp.zeros_like(nngp) for path in trained}
    for uses in families(plan.readout):
        total = _total(backward, uses, backward.seeds)
        nngp = nngp + plan.deviation(uses[0]) ** 2 * total
        if backward.tangent and (rate := plan.rate(uses[0])):
            shares[uses[0].weight.path] += rate * total
    for uses in families(plan.inner) if backward.tangent else ():
        if rate := plan.rate(uses[0]):
            reached = [use for use in uses if id(use) in backward.features]
            shares[uses[0].weight.path] += rate * _total(backward, reached, backward.features)
    return nngp, shares


def families(uses: Sequence[Use]) -> list[list[Use]]:
    found: dict[Hashable, list[Use]] = {}
    for use in uses:
        found.setdefault(family(use), []).append(use)
    return list(found.values())


def _total(backward: Backward, uses: Sequence[Use], adjoints: dict[int, Array]) -> Array | float:
    """Σ over pairs of uses of E[Z^h Z^h'] E[Z^{dy} Z^{dy'}]."""
    total, forward = 0.0, backward.forward
    for i, one in enumerate(uses):
        total = total + _pair(forward, (one, one), adjoints, backward.outputs)
        for other in uses[:i]:
            crossed = _pair(forward, (one, other), adjoints, backward.outputs)
            total = total + crossed + jnp.transpose(crossed, (2, 3, 0, 1))
    return total


def _pair(forward: Forward, uses: tuple[Use, Use], adjoints: dict[int, Array], outputs: int) -> Array:
    one, other = (forward.features(use) for use in uses)
    left, right = (adjoints[id(use)] for use in uses)
    size, count = forward.count, one.shape[0]
    values = (one @ other.mT).reshape(count, size, -1, size, other.shape[1] // size)
    slopes = left @ right.mT
    slopes = slopes.reshape(count, outputs, size, values.shape[2], outputs, size, values.shape[4])
    return jnp.einsum("iasbt,ipasqbt->paqb", values, slopes)
