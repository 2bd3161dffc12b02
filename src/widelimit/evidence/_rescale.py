"""A kernel whose parameters have other variances: the hyperparameters of a limit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from widelimit.limit import Kernel, Kernels

Multipliers = Mapping[str, Any]  # parameter path -> factor of its variance: a positive number or a traced scalar


class Rescaled(NamedTuple):
    """K₁₂ with every variance σ_W² replaced by m_W σ_W², as a differentiable function of the m_W."""

    kernel: Kernel
    fixed_rates: bool

    def pair(self, x: Any, xp: Any, multipliers: Multipliers) -> Kernels:
        """NNGP and NTK of two inputs: K₁₂ and its derivative in the direction of the rates, at cross = variances."""
        _, variances, rates = self.kernel._cross(x, xp)
        inputs = tuple(jax.tree_util.tree_leaves(v) for v in (x, xp))
        variances = scale(variances, multipliers)
        rates = rates if self.fixed_rates else scale(rates, multipliers)

        def moved(covariances: dict[str, Array]) -> Array:
            dtype = next(iter(variances.values())).dtype
            return self.kernel.cross_covariance(inputs, variances, covariances, dtype, at_base=True)

        return Kernels(*jax.jvp(moved, (variances,), (rates,)))


def scale(table: Mapping[str, Array], multipliers: Multipliers) -> dict[str, Array]:
    return {p: v * jnp.asarray(multipliers[p], v.dtype) if p in multipliers else v for p, v in table.items()}


def rescaled(kernel: Kernel, variances: Multipliers, *, fixed_rates: bool = False) -> Kernel:
    """The same limit with the variance of parameters multiplied: a `wl.Kernel` for every use.

    Args:
        kernel: From `wl.limit`.
        variances: Parameter path to the factor (a positive number) of its variance; paths that are left out keep theirs.
        fixed_rates: Learning rates stay as they are; otherwise they scale with the variances (NTK parametrisation).

    Raises:
        ValueError: Where a path is not a random parameter of the network, or a factor is not a positive number.
    """
    factors = {p: float(m) for p, m in check_paths(kernel, variances, "wl.rescaled(kernel, variances)").items()}
    if bad := {p: m for p, m in factors.items() if not 0 < m < float("inf")}:
        raise ValueError(f"`wl.rescaled(kernel, variances)`: expected positive factors, got {bad}")
    rates = {} if fixed_rates else factors
    reading = kernel.reading
    parameters = {
        p: dataclasses.replace(a, variance=a.variance * factors.get(p, 1.0), rate=a.rate * rates.get(p, 1.0))
        for p, a in reading.parameters.items()
    }
    laws = {p: dataclasses.replace(a, variance=a.variance * factors.get(p, 1.0)) for p, a in reading.laws.items()}
    scaled = {p: r * rates.get(p, 1.0) for p, r in reading.rates.items()}
    return Kernel(dataclasses.replace(reading, parameters=parameters, laws=laws, rates=scaled), kernel.accuracy)


def random_paths(kernel: Kernel) -> tuple[str, ...]:
    """The parameters whose variance the limit knows."""
    return tuple(p for p, a in kernel.reading.parameters.items() if a.variance > 0)


def check_paths(kernel: Kernel, variances: Multipliers, call: str) -> Multipliers:
    known = random_paths(kernel)
    if unknown := [p for p in variances if p not in known]:
        raise ValueError(
            f"`{call}`: {unknown} are not parameters with a variance in the limit; expected some of {list(known)} "
            "(a parameter that starts at a constant has no variance to multiply: draw it in `init`)"
        )
    return variances
