"""Orthogonal matrices drawn in `init`: Q of a QR decomposition of normal draws, times the signs of R's diagonal.

That is the uniform law on orthonormal columns (Mezzadri, How to generate random matrices from the classical compact groups,
2007). In the limit such a matrix Q acts as one of independent normal entries of the same variance, 1/(its longer side), as long as Qᵀ
does not occur in the forward pass: given Q z_i = y_i for earlier z_i, the rest of Q is uniform between the complements of
the z_i and of the y_i, which are all but finitely many directions, so that a new product has the same conditional law, and so do
the products with Qᵀ in the backward pass, whose vectors are orthogonal to the y_i.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from widelimit.trace import _draws
from widelimit.trace._entries import Entries
from widelimit.trace._jaxpr import Step

_UNCHANGED = frozenset({"convert_element_type", "copy", "copy_p", "optimization_barrier", "reduce_precision"})
_MOVES = frozenset({"reshape", "transpose", "squeeze", "expand_dims", "rev"})


@dataclasses.dataclass(frozen=True, eq=False)
class Orthonormal:
    """`scale` times a matrix with orthonormal columns of `rows` entries, or its transpose, in any arrangement.

    `signs`: what its columns must still be multiplied by, as the example that is followed has it; None where that is done.
    """

    rows: int
    scale: float
    signs: np.ndarray | None
    entries: Entries
    eps: float
    where: str

    def law(self) -> _draws.Moments | None:
        return None if self.signs is not None else _draws.Moments(_draws.ORTHOGONAL, 0.0, self.scale**2 / self.rows)


@dataclasses.dataclass(frozen=True, eq=False)
class Triangle:
    """Numbers computed from the R of a decomposition, for one example."""

    array: np.ndarray


def decomposed(
    step: Step, entries: Entries, law: _draws.Moments | None, eps: float
) -> list[Orthonormal | Triangle] | None:
    """Q and R of a tall matrix of normal draws."""
    shape = step.eqns[0].invars[0].aval.shape
    normal = law is not None and law.kind == _draws.NORMAL and law.mean**2 <= 1e-12 * law.variance
    if not (normal and entries.distinct and len(shape) == 2 and shape[0] >= shape[1]) or len(step.shapes(1)) != 1:
        return None
    if step.params.get("full_matrices") or step.params.get("pivoting"):
        return None
    example = np.random.default_rng(0).standard_normal(shape)
    triangle = np.asarray(step.bind(jnp.asarray(example, step.dtype()))[1])
    q = Orthonormal(shape[0], 1.0, np.sign(np.diagonal(triangle)), entries, eps, step.where)
    return [q, Triangle(triangle)]


def followed(step: Step, values: Sequence[Any], numbers: Sequence[Any]) -> list[Orthonormal | Triangle] | None:
    """What a step makes of them; `numbers` are the operands as arrays, None for Q. None where there is no rule."""
    matrices = [v for v in values if isinstance(v, Orthonormal)]
    if not matrices:
        return [Triangle(np.asarray(out)) for out in step.bind(*numbers)]
    return _moved(step, matrices[0], numbers) if len(matrices) == 1 else None


def _moved(step: Step, q: Orthonormal, numbers: Sequence[Any]) -> list[Orthonormal] | None:
    others = [n for n in numbers if n is not None]
    if step.name in _UNCHANGED:
        return [q]
    if step.name in _MOVES and q.signs is None:
        entries = q.entries.moved(lambda a: np.asarray(step.bind(jnp.asarray(a), *others)[0]), keeps=True)
        return [dataclasses.replace(q, entries=entries)]
    if step.name == "mul" and q.signs is not None and _are_signs(others[0], q.signs):
        return [dataclasses.replace(q, signs=None)]
    factor = _factor(step, numbers)
    return None if factor is None else [dataclasses.replace(q, scale=q.scale * factor)]


def _are_signs(array: Any, signs: np.ndarray) -> bool:
    """Whether every column is multiplied by its sign."""
    array = np.asarray(array)
    return array.ndim == 2 and array.shape[1] == len(signs) and bool(np.all(array == signs))


def _factor(step: Step, numbers: Sequence[Any]) -> float | None:
    """The number that all entries are multiplied by."""
    if step.name == "neg":
        return -1.0
    if step.name not in ("mul", "div") or (step.name == "div" and numbers[0] is not None):
        return None
    other = np.asarray(next(n for n in numbers if n is not None), float)
    if not np.all(other == other.flat[0]):
        return None
    return float(other.flat[0]) if step.name == "mul" else 1 / float(other.flat[0])
