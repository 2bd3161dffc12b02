"""Independent draws of a finite network: function values, NNGP products and tangent kernels of each."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from widelimit._progress import bar
from widelimit._threads import one_blas_thread

from . import _check
from ._drawing import drawn, of_each
from ._jacobian import contraction, products
from ._outputs import kept, over
from ._parameters import by_path, trained
from ._plan import Sizes, measure, plan

_CHUNK = 32  # draws, at most, between two steps of the progress bar


class Family(NamedTuple):
    """One width of a network: what is drawn, at which rates, and what of its output is averaged over.

    `readout` names leaves that are drawn `copies` times more for the NNGP (see `_readout`).
    """

    net: Any
    width: int
    rates: tuple[tuple[str, float], ...] = ()
    replica_axes: tuple[int, ...] = ()
    readout: tuple[str, ...] = ()
    copies: int = 0


class Draws(NamedTuple):
    """Of every draw: values at the examples of both sides, E over replicas of f(x) f(x')ᵀ, and the tangent kernel."""

    values1: Float[Array, "draws n1 ..."]
    values2: Float[Array, "draws n2 ..."]
    nngp: Float[Array, "draws n1 n2 ..."]
    ntk: Float[Array, "draws n1 n2 ..."]


@one_blas_thread()
def ensemble(
    net: Any,
    x1: PyTree,
    x2: PyTree | None = None,
    *,
    key: PRNGKeyArray,
    width: int,
    draws: int,
    rates: Mapping[str, float | int] | None = None,
    replica_axes: tuple[int, ...] = (),
    memory: float | int = 2**30,
    progress: bool = False,
) -> Draws:
    """Draw `net` at `width` `draws` times and evaluate each draw at the examples of x1 and x2 (x1 again if left out).

    The kernels are averaged over `replica_axes` of the output and keep its other axes, for side 1 and then for side 2.
    The mean of `.nngp` over the draws estimates the finite network's NNGP kernel, that of `.ntk` its mean tangent
    kernel. `rates` are those of `empirical_ntk`. Draw i depends on `key`, `width` and i alone: more draws extend fewer.
    `memory` bounds in bytes what one chunk of draws computed together may hold.
    """
    call = "`ensemble(net, x1)`"
    x1, _ = _check.batch(call, "x1", x1)
    x2 = x1 if x2 is None else _check.batch(call, "x2", x2)[0]
    family = Family(net, width, tuple((rates or {}).items()), replica_axes)
    with Bar(progress, width, draws) as shown:
        parts = list(shown(sampler(family, key, x1, x2, memory=memory)(0, draws)))
    return Draws(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def sampler(
    family: Family, key: PRNGKeyArray, x1: PyTree, x2: PyTree, *, memory: float | int
) -> Callable[[int, int], Iterator[Draws]]:
    """`sample(start, stop)` yields the draws of these numbers in chunks, as NumPy arrays."""
    base = jax.random.fold_in(key, family.width)
    together, method = _together(family, base, (x1, x2), memory)

    def sample(start: int, stop: int) -> Iterator[Draws]:
        for first in range(start, stop, together):
            # the last chunk is drawn whole and cut, so that one compilation serves all
            found = _chunk((family, method, together), base, first, x1, None if x2 is x1 else x2)
            yield Draws(*(np.asarray(part)[: stop - first] for part in found))

    return sample


@partial(jax.jit, static_argnums=0)
def _chunk(how: tuple[Family, Callable, int], base: PRNGKeyArray, first: Array, x1: PyTree, x2: PyTree | None) -> Draws:
    family, method, together = how
    keys = jax.vmap(partial(jax.random.fold_in, base))(first + jnp.arange(together))
    networks = drawn(partial(_parameters, family), keys)
    return of_each(lambda network: _kernels(family, method, network, x1, x2), networks)


def parameters(family: Family, key: PRNGKeyArray) -> int:
    """How many numbers one draw of the network draws, with the copies of its readout."""
    leaves = by_path(jax.eval_shape(lambda k: family.net.init(k, family.width), key))
    sizes = {path: getattr(leaf, "size", 1) for path, leaf in leaves.items()}
    return sum(sizes.values()) + family.copies * sum(sizes[path] for path in family.readout)


def _kernels(family: Family, method: Callable, network: tuple, x1: PyTree, x2: PyTree | None) -> Draws:
    params, readouts = network
    split = trained(params, dict(family.rates))
    arrange = over(family.replica_axes)
    apply = family.net.apply
    ntk = method(lambda leaves, x: arrange(apply(split.merge(leaves), x)), split.leaves, split.rates, x1, x2)
    values1 = jax.vmap(partial(apply, params))(x1)
    values2 = values1 if x2 is None else jax.vmap(partial(apply, params))(x2)
    nngp = _nngp(family, params, readouts, (x1, x2))
    finite = [kept(values.shape[1:], family.replica_axes) for values in (values1, values2)]
    kernels = (kernel.reshape(*kernel.shape[:2], *finite[0], *finite[1]) for kernel in (nngp, ntk))
    return Draws(values1, values2, *kernels)


def _parameters(family: Family, key: PRNGKeyArray) -> tuple[PyTree, dict[str, Array]]:
    """The parameters, and their readout with `copies` independent ones behind it.

    What else `init` draws for a copy is never computed: nothing uses it.
    """
    params = family.net.init(key, family.width)
    if not family.readout:
        return params, {}
    more = jax.random.split(jax.random.fold_in(key, 1), family.copies)
    readouts = jax.vmap(lambda k: _leaves(family, k))(jnp.concatenate([key[None], more]))
    return _replaced(params, {path: leaf[0] for path, leaf in readouts.items()}), readouts


def _leaves(family: Family, key: PRNGKeyArray) -> dict[str, Array]:
    leaves = by_path(family.net.init(key, family.width))
    return {path: leaves[path] for path in family.readout}


def _replaced(params: PyTree, leaves: Mapping[str, Array]) -> PyTree:
    values = [leaves.get(path, leaf) for path, leaf in by_path(params).items()]
    return jax.tree.structure(params).unflatten(values)


def _nngp(family: Family, params: PyTree, readouts: dict[str, Array], sides: tuple) -> Float[Array, "n1 n2 f1 f2"]:
    """The mean of f(x) f(x')ᵀ over the replicas of this draw and of the copies of its readout."""
    arrange = over(family.replica_axes)

    def values(readout: Mapping, x: PyTree) -> Float[Array, "n f r"]:
        whole = _replaced(params, readout)
        return jax.vmap(lambda one: arrange(family.net.apply(whole, one)))(x)

    each = jax.vmap(values, (0, None)) if readouts else lambda readout, x: values(readout, x)[None]
    y1 = _replicas(each(readouts, sides[0]))
    y2 = y1 if sides[1] is None else _replicas(each(readouts, sides[1]))
    return jnp.einsum("afr,bgr->abfg", y1, y2, precision="highest") / y1.shape[-1]


def _replicas(y: Float[Array, "copies n f r"]) -> Float[Array, "n f copies_r"]:
    return jnp.moveaxis(y, 0, -1).reshape(*y.shape[1:3], -1)


def _together(family: Family, key: PRNGKeyArray, sides: tuple, memory: float | int) -> tuple[int, Callable]:
    """How many draws are computed at once, and by which method each makes its tangent kernel."""
    sizes = _sizes(family, key, sides[0])
    counts = [jax.tree.leaves(side)[0].shape[0] for side in sides]
    chosen = plan(sizes, *counts, memory)
    contracted = chosen.method is contraction and chosen.examples >= max(counts)
    jacobians = 4 * max(counts) * sizes.finite * sizes.replicas * sizes.parameters if contracted else 0
    outputs = 2 * sum(counts) * sizes.finite * sizes.replicas * (family.copies + 1)
    numbers = jacobians + outputs + 6 * parameters(family, key)
    # on a CPU more draws at once than the cache holds are slower than one after the other
    bound = min(memory, 2**24) if jax.default_backend() == "cpu" else memory
    return _power_of_two(int(bound // (numbers * sizes.itemsize))), contraction if contracted else products


def _power_of_two(most: int) -> int:
    """The largest up to a chunk: rounds of draws that are powers of two are then filled."""
    return 2 ** min(max(most, 1).bit_length() - 1, _CHUNK.bit_length() - 1)


def _sizes(family: Family, key: PRNGKeyArray, x: PyTree) -> Sizes:
    shapes = jax.eval_shape(lambda k: family.net.init(k, family.width), key)
    leaves = trained(shapes, dict(family.rates)).leaves
    arrange = over(family.replica_axes)
    return measure(lambda params, one: arrange(family.net.apply(params, one)), shapes, leaves, _check.example(x))


class Bar:
    """Counts draws as they come: `bar(chunks)` hands the chunks on and moves a bar, if one is shown."""

    def __init__(self, progress: bool, width: int, draws: int):
        self._shown = bar(total=draws, unit="draw", desc=f"width {width}") if progress else None

    def __enter__(self) -> "Bar":
        return self

    def __call__(self, chunks: Iterator[Draws]) -> Iterator[Draws]:
        for chunk in chunks:
            if self._shown is not None:
                self._shown.update(len(chunk.ntk))
            yield chunk

    def extend(self, draws: int) -> None:
        """`draws` more than were announced."""
        if self._shown is not None:
            self._shown.total += draws

    def __exit__(self, *_: object) -> None:
        if self._shown is not None:
            self._shown.close()
