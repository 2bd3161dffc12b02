"""Ensembles of finite networks trained by (stochastic) gradient descent, as the limit is by `wl.train`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from widelimit._progress import bar
from widelimit._threads import one_blas_thread

from . import _check
from ._drawing import drawn, of_each
from ._jacobian import contraction, products
from ._outputs import kept, over
from ._parameters import trained
from ._plan import measure, plan


class Course(NamedTuple):
    """What was recorded of every network while it was trained.

    Attributes:
        steps: the steps after which there is a record; the first is 0, before training.
        values: the outputs at the examples that are watched.
        ntk: the tangent kernel of those of `tangent`, None where none were given.
        ntk_steps: the steps after which it was recorded.
    """

    steps: Int[np.ndarray, " records"]
    values: Float[np.ndarray, "members records n ..."]
    ntk: Float[np.ndarray, "members kernels m1 m2 ..."] | None = None
    ntk_steps: Int[np.ndarray, " kernels"] | None = None

    @property
    def drift(self) -> Float[np.ndarray, "members kernels"]:
        """‖Θ_t − Θ_0‖_F / ‖Θ_0‖_F of every network."""
        if self.ntk is None:
            raise ValueError("`course.drift`: no kernel was recorded; pass `tangent=examples` to `wl.finite.train`")
        flat = self.ntk.reshape(*self.ntk.shape[:2], -1)
        start = flat[:, :1]
        return np.linalg.norm(flat - start, axis=-1) / np.linalg.norm(start, axis=-1)

    def distance(self, limit: Any) -> Float[np.ndarray, " members"]:
        """max over records of the root mean square difference from the limit's course, for every network.

        `limit` has the shape (records, n, ...), or (members, records, n, ...) where every network has a limit of its own
        (that which starts at its own f_0).
        """
        gaps = self.values - np.asarray(limit)
        squares = np.mean(gaps.reshape(*gaps.shape[:2], -1) ** 2, axis=-1)
        return np.sqrt(squares.max(axis=-1))


class _Job(NamedTuple):
    """What a member's training is made of, apart from arrays."""

    net: Any
    width: int
    rates: tuple[tuple[str, float], ...]
    loss: Callable
    steps: tuple[float, float, float]  # η, β, and 1 where the step looks ahead
    method: Callable
    replica_axes: tuple[int, ...]


class _Data(NamedTuple):
    """The arrays of a training: examples and labels, what is watched, and the examples of the tangent kernel's two sides."""

    x: PyTree
    y: Array
    watched: PyTree
    tangent: PyTree | None
    against: PyTree | None

    @property
    def sides(self) -> tuple[int, int]:
        """The shape of the tangent kernel."""
        second = self.tangent if self.against is None else self.against
        return tuple(0 if side is None else jax.tree.leaves(side)[0].shape[0] for side in (self.tangent, second))


_State = tuple[dict[str, Array], dict[str, Array]]  # of a member: parameters and velocities, by path


@one_blas_thread()
def train(
    net: Any,
    x: PyTree,
    y: Any,
    *,
    key: PRNGKeyArray,
    width: int,
    optimizer: Any,
    loss: Callable[[Array, Array], Array],
    steps: int | None = None,
    members: int = 1,
    every: int = 1,
    watch: PyTree = None,
    tangent: PyTree = None,
    against: PyTree = None,
    tangent_every: int | None = None,
    rates: Mapping[str, float | int] | None = None,
    replica_axes: tuple[int, ...] = (),
    memory: float | int = 2**30,
    progress: bool = False,
) -> Course:
    """Train `members` networks of one width, and record their outputs and their tangent kernels on the way.

    A step is θ ← θ + λ_θ Δ for every parameter, with Δ what `optimizer` makes of the gradient of Σ_b loss(f(x_b), y_b), the sum
    over all examples or over those of the step's minibatch, and λ_θ the parameter's rate: the discrete dynamics of which
    `wl.train(kernel, x, y, optimizer=optimizer, loss=loss)` is the limit.

    Args:
        net: the network, `wl.Network` or what the adapters make.
        x: the training examples, first axis N.
        y: their labels, first axis N.
        key: member i depends on `key`, `width` and i alone; it starts as draw i of `ensemble`.
        width: of all members.
        optimizer: `wl.GradientDescent(lr)`, `wl.Momentum(lr, beta)` or `wl.SGD(lr, batches)`.
        loss: of one example, `loss(f, y)`.
        steps: how many; needed for full batches, while `wl.SGD` ends with its batches.
        members: how many networks.
        every: steps between two records; it divides `steps`.
        watch: the examples whose outputs are recorded; left out, those of x.
        tangent: the examples whose tangent kernel is recorded; left out, none.
        against: the examples of its other side, left out the same: one example gives one column of the kernel at the cost of one
            backward pass.
        tangent_every: steps between two records of the tangent kernel; `every` divides it, and it divides `steps`. Left out, `every`.
        rates: λ_θ by path, for the parameter as the code holds it; 1 where left out. `kernel.rates(width)` are those of the limit.
        replica_axes: output axes over which tangent kernels are averaged: `kernel.replica_axes`.
        memory: bytes that the members trained together may hold.
        progress: whether to show a bar (needs tqdm).

    Returns:
        A `Course`: records at 0, every, 2 every, …

    Raises:
        ValueError: where shapes, steps or rates do not fit, or a network diverged.

    Yang & Littwin, Tensor Programs IIb (2021), Theorem 5.3: at infinite width the outputs follow kernel gradient descent.
    """
    call = "`wl.finite.train(net, x, y)`"
    x, count = _check.batch(call, "x", x)
    watched = x if watch is None else _check.batch(call, "watch", watch)[0]
    tangent, against = (
        None if side is None else _check.batch(call, name, side)[0]
        for name, side in (("tangent", tangent), ("against", against))
    )
    data = _Data(x, _labels(call, y, count), watched, tangent, against)
    batches = _batches(call, optimizer, steps, every=(every, tangent_every or every), count=count)
    job = _Job(net, width, tuple((rates or {}).items()), loss, optimizer.rates, products, replica_axes)
    job, together = _planned(job, key, data, memory)
    values, ntk = _members((job, together), key, data, batches, members=members, progress=progress)
    _check_finite(call, values, optimizer)
    records = np.arange(values.shape[1]) * every
    return Course(records, values, ntk, None if ntk is None else np.arange(ntk.shape[1]) * (tangent_every or every))


def _labels(call: str, y: Any, count: int) -> Array:
    y = jnp.asarray(y)
    if y.shape[:1] != (count,):
        raise ValueError(
            f"{call}: got {count} examples in `x` and labels `y` of shape {y.shape}; their first axes must agree"
        )
    return y


def _batches(call: str, optimizer: Any, steps: int | None, *, every: tuple[int, int], count: int) -> Any:
    """(kernels, records, every, B) indices; for full batches (…, 0), which are all examples."""
    if not hasattr(optimizer, "rates"):
        raise TypeError(
            f"{call}: `optimizer` is {optimizer!r}; networks take discrete steps: `wl.GradientDescent(lr)`, "
            "`wl.Momentum(lr, beta)` or `wl.SGD(lr, batches)`"
        )
    given = getattr(optimizer, "batches", None)
    if given is None and steps is None:
        raise ValueError(f"{call}: say how many `steps` to train with {type(optimizer).__name__}")
    batches = np.zeros((steps, 0), int) if given is None else np.asarray(given)[:steps]
    if batches.size and not 0 <= batches.min() <= batches.max() < count:
        raise ValueError(f"{call}: minibatches name examples {batches.min()} to {batches.max()}, but there are {count}")
    often, seldom = every
    if often < 1 or len(batches) % often:
        raise ValueError(f"{call}: `every={often}` must divide the {len(batches)} steps")
    if seldom < 1 or seldom % often or len(batches) % seldom:
        raise ValueError(
            f"{call}: `tangent_every={seldom}` must divide the {len(batches)} steps, and `every={often}` must divide it"
        )
    return batches.reshape(len(batches) // seldom, seldom // often, often, batches.shape[1])


def _planned(job: _Job, key: PRNGKeyArray, data: _Data, memory: float | int) -> tuple[_Job, int]:
    """The job with its way to the tangent kernel, and how many members are trained at once."""
    shapes = jax.eval_shape(lambda k: job.net.init(k, job.width), key)
    leaves = trained(shapes, dict(job.rates)).leaves
    arrange = over(job.replica_axes)
    sizes = measure(
        lambda params, one: arrange(job.net.apply(params, one)), shapes, leaves, _check.example(data.watched)
    )
    chosen = plan(sizes, *data.sides, memory)
    contracted = chosen.method is contraction and chosen.examples >= max(data.sides)
    jacobians = sum(data.sides) * sizes.finite * sizes.replicas * sizes.parameters if contracted else 0
    held = sum(leaf.size for leaf in jax.tree.leaves(shapes) if hasattr(leaf, "size"))
    activations = jax.tree.leaves(data.x)[0].shape[0] * sizes.forward / 8
    # on a CPU more networks at once than the cache holds are slower than one after the other
    bound = min(memory, 2**24) if jax.default_backend() == "cpu" else memory
    together = int(bound // (sizes.itemsize * (6 * held + jacobians + activations)))
    return job._replace(method=contraction if contracted else products), max(1, together)


def _members(
    how: tuple[_Job, int], key: PRNGKeyArray, data: _Data, batches: Any, *, members: int, progress: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    job, together = how
    base = jax.random.fold_in(key, job.width)
    parts = []
    starts = range(0, members, together)
    for first in bar(starts, unit="chunk", desc=f"training at width {job.width}") if progress else starts:
        numbers = jnp.arange(first, min(first + together, members))
        parts.append(jax.tree.map(np.asarray, _courses(job, base, numbers, data, jnp.asarray(batches))))
    values, ntk = (None if part[0] is None else np.concatenate(part) for part in zip(*parts, strict=True))
    return values, ntk


@partial(jax.jit, static_argnums=0)
def _courses(job: _Job, base: Array, numbers: Array, data: _Data, batches: Array) -> tuple[Array, Array | None]:
    keys = jax.vmap(partial(jax.random.fold_in, base))(numbers)
    networks = drawn(lambda key: job.net.init(key, job.width), keys)
    return of_each(lambda params: _course(job, params, data, batches), networks)


def _course(job: _Job, params: PyTree, data: _Data, batches: Array) -> tuple[Array, Array | None]:
    """The records of one network: at the start, and after every segment of minibatches."""
    split = trained(params, dict(job.rates))
    start = dict(split.leaves)

    def objective(leaves: dict, x: PyTree, y: Array) -> Array:
        outputs = jax.vmap(partial(job.net.apply, split.merge(leaves)))(x)
        return jnp.sum(jax.vmap(job.loss)(outputs, y))

    def step(state: _State, batch: Array) -> tuple[_State, None]:
        leaves, velocity = state
        x, y = (data.x, data.y) if not batch.size else jax.tree.map(lambda a: a[batch], (data.x, data.y))
        moves, velocity = _moved(job.steps, velocity, jax.grad(objective)(leaves, x, y))
        return ({p: (leaves[p] + split.rates[p] * moves[p]).astype(leaves[p].dtype) for p in moves}, velocity), None

    def segment(state: _State, batches: Array) -> tuple[_State, Array]:
        state, _ = jax.lax.scan(step, state, batches)
        return state, _values(job, split, state[0], data)

    def stretch(state: _State, batches: Array) -> tuple[_State, tuple[Array, Array | None]]:
        state, values = jax.lax.scan(segment, state, batches)
        return state, (values, _ntk(job, split, state[0], data))

    _, (values, ntk) = jax.lax.scan(stretch, (start, _resting(job.steps, start)), batches)
    records = values.reshape(-1, *values.shape[2:]), ntk
    first = _values(job, split, start, data), _ntk(job, split, start, data)
    return jax.tree.map(lambda a, rest: jnp.concatenate([a[None], rest]), first, records)


def _resting(steps: tuple[float, float, float], leaves: dict[str, Array]) -> dict[str, Array]:
    """The velocities at the start; none where β = 0, as there the gradient is all that moves."""
    return jax.tree.map(jnp.zeros_like, leaves) if steps[1] else {}


def _moved(
    steps: tuple[float, float, float], velocity: dict[str, Array], gradients: dict[str, Array]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The steps and the velocities: v ← β v + g, then −η v, or −η (g + β v) where it looks ahead."""
    lr, beta, ahead = steps
    now = {p: beta * v + gradients[p] for p, v in velocity.items()}
    along = {p: gradients[p] + beta * v for p, v in now.items()} if ahead else now
    return {p: -lr * g for p, g in (along or gradients).items()}, now


def _values(job: _Job, split: Any, leaves: dict, data: _Data) -> Array:
    return jax.vmap(partial(job.net.apply, split.merge(leaves)))(data.watched)


def _ntk(job: _Job, split: Any, leaves: dict, data: _Data) -> Array | None:
    if data.tangent is None:
        return None
    arrange = over(job.replica_axes)
    apply = partial(job.net.apply, split.merge(leaves))
    shape = jax.eval_shape(apply, jax.tree.map(lambda a: a[0], data.tangent)).shape
    ntk = job.method(
        lambda p, x: arrange(job.net.apply(split.merge(p), x)), leaves, split.rates, data.tangent, data.against
    )
    finite = kept(shape, job.replica_axes)
    return ntk.reshape(*ntk.shape[:2], *finite, *finite)


def _check_finite(call: str, values: np.ndarray, optimizer: Any) -> None:
    broken = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
    if broken.size:
        raise ValueError(
            f"{call}: the outputs of {broken.size} of {len(values)} networks grew beyond all numbers with {optimizer!r}; take a "
            "smaller learning rate (the limit's largest stable step is that of `wl.train`)"
        )
