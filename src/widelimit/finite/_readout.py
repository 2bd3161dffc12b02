"""Which leaves of a network may be drawn anew to average its NNGP over more readouts.

With θ = (ρ, β) and ρ independent of β, E[f fᵀ] = E_β E_ρ[f fᵀ | β]: the inner mean may be taken over any number of
draws of ρ, and one body then serves many readouts. That is exact for every ρ drawn independently of the rest. It is
cheap for a ρ in which f is affine, because such leaves come last. Independence is read from `init` itself, run number
by number: ρ shares no random bits with any other leaf.
"""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from widelimit._primitives import called

from ._parameters import by_path

_LOOPS = {"scan", "while", "cond"}
_KEYS = 4096  # numbers: a value larger than this is no array of keys
_UNKNOWN = b"drawn in a way that is not followed"


class Traced(NamedTuple):
    """A value, if a key may depend on it, and the keys of the random bits it was made from."""

    value: Any
    bits: frozenset


def readout(net: Any, width: int, key: PRNGKeyArray, example: PyTree) -> tuple[str, ...]:
    """Paths of leaves drawn apart from all others in which, together, the output is affine and not constant."""
    params = _once(lambda: net.init(key, width))()
    leaves, structure = by_path(params), jax.tree.structure(params)

    @_once
    def scaled(factors: Mapping[str, Any]) -> PyTree:
        changed = [factors[path] * leaf if path in factors else leaf for path, leaf in leaves.items()]
        return net.apply(structure.unflatten(changed), example)

    apart = sorted(_apart(net, width, key), key=lambda path: leaves[path].size)
    chosen: tuple[str, ...] = ()
    for path in apart:
        if all(_affine(scaled, apart, paths) for paths in ((path,), (*chosen, path))):
            chosen = (*chosen, path)
    return chosen


def _once(function: Callable) -> Callable:
    """Compiled for a few runs: quickly, not into fast code."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def _affine(scaled: Callable, apart: list[str], paths: tuple[str, ...]) -> bool:
    """f(ρ) - f(0) is not 0 and linear at the points -ρ, ρ and 2ρ."""

    def f(factor: float) -> np.ndarray:
        return np.asarray(scaled({path: factor if path in paths else 1.0 for path in apart}), float)

    zero, one = f(0.0), f(1.0)
    size = np.abs(one - zero).max(initial=0)
    errors = [f(factor) - zero - factor * (one - zero) for factor in (-1.0, 2.0)]
    return bool(size > 0 and np.abs(errors).max() <= 1e-3 * size)


def _apart(net: Any, width: int, key: PRNGKeyArray) -> list[str]:
    """Paths of the leaves that share no random bits with another leaf; none if any leaf is drawn out of sight."""
    closed, shapes = jax.make_jaxpr(lambda k: net.init(k, width), return_shape=True)(key)
    outputs = _run(closed.jaxpr, closed.consts, [Traced(key, frozenset())])
    drawn = dict(zip(by_path(shapes), (output.bits for output in outputs), strict=True))
    if any(_UNKNOWN in bits for bits in drawn.values()):
        return []
    return [path for path, bits in drawn.items() if bits and _alone(path, drawn)]


def _alone(path: str, drawn: dict[str, frozenset]) -> bool:
    return all(not (drawn[path] & bits) for other, bits in drawn.items() if other != path)


def _run(jaxpr: Any, consts: list, inputs: list[Traced]) -> list[Traced]:
    """Follow a jaxpr, carrying with every value the keys of the random bits it was made from."""
    env = dict(zip(jaxpr.constvars, (Traced(const, frozenset()) for const in consts), strict=True))
    env |= dict(zip(jaxpr.invars, inputs, strict=True))

    def read(atom: Any) -> Traced:
        return Traced(atom.val, frozenset()) if hasattr(atom, "val") else env[atom]

    for eqn in jaxpr.eqns:
        env |= dict(zip(eqn.outvars, _step(eqn, [read(atom) for atom in eqn.invars]), strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _step(eqn: Any, inputs: list[Traced]) -> list[Traced]:
    if (inner := called(eqn)) is not None:
        return _run(inner.jaxpr, inner.consts, inputs)
    bits = frozenset().union(*(traced.bits for traced in inputs), _bits(eqn, inputs))
    return [Traced(value, bits) for value in _values(eqn, inputs)]


def _values(eqn: Any, inputs: list[Traced]) -> list:
    """Values that a key may depend on: what is drawn, large, or made from such is not needed."""
    size = sum(prod(var.aval.shape) for var in eqn.outvars)
    if eqn.primitive.name == "random_bits" or size > _KEYS or any(traced.value is None for traced in inputs):
        return [None] * len(eqn.outvars)
    out = eqn.primitive.bind(*(traced.value for traced in inputs), **eqn.params)
    return list(out) if eqn.primitive.multiple_results else [out]


def _bits(eqn: Any, inputs: list[Traced]) -> frozenset:
    """What an equation draws: the keys of `random_bits`; anything else that eats a key is not followed."""
    name = eqn.primitive.name
    if name == "random_bits" and inputs[0].value is not None:
        data = np.asarray(jax.random.key_data(inputs[0].value))
        return frozenset(row.tobytes() for row in data.reshape(-1, data.shape[-1]))
    keyed = any(jnp.issubdtype(atom.aval.dtype, jax.dtypes.prng_key) for atom in eqn.invars)
    drawn = name.startswith(("rng_", "threefry", "random_bits", "random_gamma")) or (keyed and name in _LOOPS)
    return frozenset({_UNKNOWN}) if drawn else frozenset()
