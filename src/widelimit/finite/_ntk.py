"""The tangent kernel of one finite network, exactly."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from . import _check
from ._operator import TangentOperator
from ._outputs import averaged, whole
from ._parameters import by_path, check_rates, trained
from ._plan import Plan, measure, plan


class EmpiricalNTK:
    """Θ(x1, x2) = J(x1) Λ J(x2)ᵀ of one network, with J the Jacobian of all outputs in all parameters.

    Call it for the whole kernel, `.trace` for its mean over the outputs' diagonal, `.operator` for products with it.
    """

    def __init__(self, apply: Callable, params: PyTree, *, rates: Mapping[str, float | int], memory: float | int):
        check_rates(rates, by_path(params))
        trained(params, rates)
        self.apply, self.params, self.memory = apply, params, memory
        self.rates = dict(rates)

    def __call__(self, x1: PyTree, x2: PyTree | None = None) -> Float[Array, "n1 n2 outputs1 outputs2"]:
        """The whole kernel. Leaving out `x2` means `x1` again, and computes half the tiles."""
        return self._tiled(x1, x2, whole)

    def trace(self, x1: PyTree, x2: PyTree | None = None) -> Float[Array, "n1 n2"]:
        """(1/outputs) Σ_o Θ(x1, x2)_{oo}: the kernel that the outputs share when they are independent copies."""
        return self._tiled(x1, x2, averaged)[:, :, 0, 0]

    def operator(self, x: PyTree) -> TangentOperator:
        """v ↦ Θ(x, x) v without the kernel: one backward and one forward product, whatever the number of examples."""
        x, examples = self._batch("operator", "x", x)
        outputs = self._outputs("operator", "x", x)
        return TangentOperator(self.apply, self.params, tuple(self.rates.items()), x, (examples, outputs))

    def _tiled(self, x1: PyTree, x2: PyTree | None, arrange: Callable) -> Float[Array, "n1 n2 f1 f2"]:
        x1, n1 = self._batch("ntk", "x1", x1)
        x2, n2 = (x1, n1) if x2 is None else self._batch("ntk", "x2", x2)
        counts = self._outputs("ntk", "x1", x1), self._outputs("ntk", "x2", x2)
        if arrange is averaged and counts[0] != counts[1]:
            raise ValueError(
                f"`ntk.trace(x1, x2)` needs equally many outputs on both sides, got {counts[0]} and {counts[1]}"
            )
        chosen = self._plan(x1, (n1, n2), arrange)
        tile = partial(_tile, self.params, self.apply, tuple(self.rates.items()), arrange, chosen.method)
        return _assembled(tile, (x1, n1), (x2, n2), chosen.examples)

    def _plan(self, x: PyTree, counts: tuple[int, int], arrange: Callable) -> Plan:
        leaves = trained(self.params, self.rates).leaves
        sizes = measure(lambda params, x: arrange(self.apply(params, x)), self.params, leaves, _check.example(x))
        return plan(sizes, *counts, self.memory)

    def _batch(self, verb: str, name: str, x: PyTree) -> tuple[PyTree, int]:
        return _check.batch(_CALLS[verb], name, x)

    def _outputs(self, verb: str, name: str, x: PyTree) -> int:
        y = _check.output(_CALLS[verb], name, self.apply, params=self.params, x=x)
        return sum(leaf.size for leaf in jax.tree.leaves(y))


_CALLS = {"ntk": "`ntk(x1, x2)`", "operator": "`ntk.operator(x)`"}


def empirical_ntk(
    apply: Callable[[PyTree, PyTree], PyTree],
    params: PyTree,
    *,
    rates: Mapping[str, float | int] | None = None,
    memory: float | int = 2**30,
) -> EmpiricalNTK:
    """The exact tangent kernel of the network `apply(params, x)` at `params`.

    `apply` takes one example (any pytree) and returns an array or a pytree of arrays; its outputs are counted in the
    order of `jax.tree.leaves`. The result `ntk` has

    - `ntk(x1, x2)`: (N1, N2, outputs, outputs), Σ_W λ_W J_W(x1) J_W(x2)ᵀ;
    - `ntk.trace(x1, x2)`: (N1, N2), the mean over the diagonal of the last two axes;
    - `ntk.operator(x)`: a matrix-free product with the (N outputs, N outputs) matrix.

    `rates` maps paths of parameters ("layers/0/kernel") to λ_W >= 0, for parameters it leaves out 1; with rate 0 a
    parameter is frozen. Arrays that are not real numbers (counters, keys) are held fixed. `memory` is the budget in
    bytes of one tile: kernels of any size are built from tiles that keep to it.

    Raises `ValueError` for unknown paths, negative rates, empty batches and examples that the network does not take.
    """
    return EmpiricalNTK(apply, params, rates=rates or {}, memory=memory)


def _arranged(apply: Callable, merge: Callable, arrange: Callable) -> Callable:
    return lambda leaves, x: arrange(apply(merge(leaves), x))


@partial(jax.jit, static_argnums=(1, 2, 3, 4))
def _tile(params: PyTree, apply: Callable, rates: tuple, arrange: Callable, method: Callable, *sides: Any) -> Array:
    split = trained(params, dict(rates))
    return method(_arranged(apply, split.merge, arrange), split.leaves, split.rates, *sides)


def _assembled(tile: Callable, side1: tuple[PyTree, int], side2: tuple[PyTree, int], examples: int) -> Array:
    """The kernel from tiles; on a symmetric one the tiles below the diagonal are transposes of those above."""
    (x1, n1), (x2, n2) = side1, side2
    blocks1, blocks2, same = _blocks(n1, examples), _blocks(n2, examples), x1 is x2
    tiles: dict[tuple[int, int], Array] = {}
    for i, rows in enumerate(blocks1):
        for j, columns in enumerate(blocks2):
            if same and j < i:
                tiles[i, j] = jnp.transpose(tiles[j, i], (1, 0, 3, 2))
            else:
                tiles[i, j] = tile(_take(x1, rows), None if same and i == j else _take(x2, columns))
    stacked = [jnp.concatenate([tiles[i, j] for j in range(len(blocks2))], axis=1) for i in range(len(blocks1))]
    return jnp.concatenate(stacked)[:n1, :n2]


def _blocks(count: int, examples: int) -> list[np.ndarray]:
    """Indices in equal blocks of at most `examples`; the last repeats its last example, so that one compilation serves."""
    blocks = -(-count // examples)
    size = -(-count // blocks)
    return [np.minimum(np.arange(start, start + size), count - 1) for start in range(0, count, size)]


def _take(x: PyTree, indices: np.ndarray) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[indices], x)
