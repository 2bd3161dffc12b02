"""Which leaves of a network may be drawn anew to average its NNGP over more readouts.

With θ = (ρ, β) and ρ independent of β, E[f fᵀ] = E_β E_ρ[f fᵀ | β]: the inner mean may be taken over any number of
draws of ρ, and one body then serves many readouts. That is exact for every ρ drawn independently of the rest. It is
cheap for a ρ in which f is affine, because such leaves come last. Independence is read from `init` itself, run number
by number: ρ shares no random bits with any other leaf.
"""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from ._parameters import by_path

_CALLS = {"jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call"}
_UNKNOWN = b"drawn in a way that is not followed"


def readout(net: Any, width: int, key: PRNGKeyArray, example: PyTree) -> tuple[str, ...]:
    """Paths of leaves drawn apart from all others in which, together, the output is affine and not constant."""
    params = net.init(key, width)
    leaves, structure = by_path(params), jax.tree.structure(params)

    def scaled(paths: Iterable[str], factor: float) -> Any:
        changed = [factor * leaf if path in paths else leaf for path, leaf in leaves.items()]
        return np.asarray(net.apply(structure.unflatten(changed), example), float)

    chosen: tuple[str, ...] = ()
    for path in sorted(_apart(net, width, key), key=lambda path: leaves[path].size):
        if _affine(scaled, (path,)) and _affine(scaled, (*chosen, path)):
            chosen = (*chosen, path)
    return chosen


def _affine(scaled: Any, paths: tuple[str, ...]) -> bool:
    """f(ρ) - f(0) is not 0 and linear at the points -ρ, ρ and 2ρ."""
    zero, one = scaled(paths, 0.0), scaled(paths, 1.0)
    size = np.abs(one - zero).max(initial=0)
    errors = [scaled(paths, factor) - zero - factor * (one - zero) for factor in (-1.0, 2.0)]
    return bool(size > 0 and np.abs(errors).max() <= 1e-3 * size)


def _apart(net: Any, width: int, key: PRNGKeyArray) -> list[str]:
    """Paths of the leaves that share no random bits with another leaf; none if any leaf is drawn out of sight."""
    closed, shapes = jax.make_jaxpr(lambda k: net.init(k, width), return_shape=True)(key)
    outputs = _run(closed.jaxpr, closed.consts, [(key, frozenset())])
    drawn = dict(zip(by_path(shapes), (bits for _, bits in outputs), strict=True))
    if any(_UNKNOWN in bits for bits in drawn.values()):
        return []
    return [path for path, bits in drawn.items() if bits and _alone(path, drawn)]


def _alone(path: str, drawn: dict[str, frozenset]) -> bool:
    return all(not (drawn[path] & bits) for other, bits in drawn.items() if other != path)


def _run(jaxpr: Any, consts: list, inputs: list[tuple]) -> list[tuple]:
    """Evaluate a jaxpr, carrying with every value the keys of the random bits it was made from."""
    env = dict(zip(jaxpr.constvars, ((const, frozenset()) for const in consts), strict=True))
    env |= dict(zip(jaxpr.invars, inputs, strict=True))

    def read(atom: Any) -> tuple:
        return (atom.val, frozenset()) if hasattr(atom, "val") else env[atom]

    for eqn in jaxpr.eqns:
        env |= dict(zip(eqn.outvars, _step(eqn, [read(atom) for atom in eqn.invars]), strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _step(eqn: Any, inputs: list[tuple]) -> list[tuple]:
    inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
    if eqn.primitive.name in _CALLS and inner is not None:
        return _run(inner.jaxpr, inner.consts, inputs)
    values = [value for value, _ in inputs]
    out = eqn.primitive.bind(*values, **eqn.params)
    bits = frozenset().union(*(bits for _, bits in inputs), _bits(eqn.primitive.name, values))
    return [(value, bits) for value in (out if eqn.primitive.multiple_results else [out])]


def _bits(primitive: str, values: list) -> frozenset:
    """What an equation draws: the keys of `random_bits`; anything else that eats a key is not followed."""
    keys = [value for value in values if jnp.issubdtype(jnp.asarray(value).dtype, jax.dtypes.prng_key)]
    if primitive == "random_bits":
        data = np.asarray(jax.random.key_data(keys[0]))
        return frozenset(row.tobytes() for row in data.reshape(-1, data.shape[-1]))
    drawn = primitive.startswith(("rng_", "threefry", "random_gamma")) or (
        keys and primitive in {"scan", "while", "cond"}
    )
    return frozenset({_UNKNOWN}) if drawn else frozenset()
