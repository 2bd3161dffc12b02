"""Ensembles of real networks of finite width, trained by gradient descent to convergence."""

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache, partial, reduce
from operator import add
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree, Shaped
from numpy import ndarray

from widelimit.network import Network

from . import _arguments
from ._arccosine import Regime
from ._average import Average, Outputs, inputs
from ._basis import BasisTask
from ._descent import Setup, descend, spectrum
from ._network import PARAMETRISATIONS, Parametrisation, network
from ._progress import counted

_GIB = 2**30
_CACHE = 2**24  # bytes of parameters in a chunk on a CPU: larger chunks leave its cache


@dataclass(frozen=True, eq=False)
class Ensemble:
    """`size` networks of one `width`, each from its own random start, trained on the k basis vectors of `task`.

    Calling it trains the networks in chunks that fit the memory `budget`, evaluates each chunk and forgets it:

        ensemble = exact.Ensemble(task, 500, 1024, parametrisation="ntk", key=jax.random.key(0))
        average = ensemble(x, progress=True)
        average.correct("zero")  # for each input, whether the rounded average is exact

    At finite width the mean differs from the limit's: with both layers in training by about n^(-1/2) times 0.2 at a set
    bit and 0.04 at an unset one (measured for k = 5 and 10, s = 2; ReLU has a kink), away from zero; with the last layer only by O(1/n).

    Member i depends on `key` and i alone, so that a stopped run is taken up again: `ensemble(x, after=average)`.

    Args:
        task: a `Permutation`, or `Rules`.
        size: number of networks; even for antithetic pairs.
        width: hidden units n of each.
        parametrisation: "ntk", or "standard", in which one learning rate for both layers trains the last one only as the
            width grows, so that the ensemble follows the "last" limit. See `network`.
        key: of all that is random.
        layers: "both" are trained, or the "last" only.
        antithetic: networks come in pairs (W₁, W₂), (W₁, −W₂), whose average starts at 0.
        step: of gradient descent on ½ Σ |f − y|², for the parameters as the parametrisation holds them. By default each
            network's own 2/(λ_min + λ_max) of its tangent kernel, the fastest.
        tolerance: training ends when every |f − y| is below it; by default 100 times the rounding unit of `dtype`.
        most_steps: after which training that has not ended is an error.
        dtype: of the networks.
        budget: working memory in GiB.

    Raises:
        ValueError: for a `step` above the largest stable one of any member (found before any training), naming it.
        RuntimeError: where `most_steps` did not suffice.
    """

    task: BasisTask
    size: int
    width: int
    _: KW_ONLY
    parametrisation: Parametrisation
    key: PRNGKeyArray
    layers: str = "both"
    antithetic: bool = False
    step: float | int | None = None
    tolerance: float | int | None = None
    most_steps: int = 10_000
    dtype: Any = "float32"
    budget: float | int = 0.5

    def __post_init__(self) -> None:
        call = f"`Ensemble({type(self.task).__name__}, {self.size!r}, {self.width!r})`"
        _arguments.at_least(call, "size", self.size, 1)
        _arguments.at_least(call, "width", self.width, 1)
        _arguments.at_least(call, "most_steps", self.most_steps, 1)
        _arguments.choice(call, "parametrisation", self.parametrisation, PARAMETRISATIONS)
        _arguments.choice(call, "layers", self.layers, ("both", "last"))
        if self.antithetic and self.size % 2:
            raise ValueError(f"{call}: antithetic networks come in pairs, so `size` must be even, got {self.size}")
        for name, value in (("step", self.step), ("tolerance", self.tolerance), ("budget", self.budget)):
            if value is not None and not value > 0:
                raise ValueError(f"{call}: `{name}` must be positive, got {value!r}")

    @property
    def regime(self) -> Regime:
        """The limit that the networks have as the width grows."""
        return "ntk" if (self.parametrisation, self.layers) == ("ntk", "both") else "last"

    def __call__(
        self,
        x: Shaped[Array | ndarray, "*n bits"],
        *,
        after: Average | None = None,
        stop: int | None = None,
        progress: bool = False,
    ) -> Average:
        """Mean and variance over the networks of the outputs at binary inputs `x`, (n, k) or (k,).

        `after` is an average of the first networks at the same inputs, to go on from; `stop` the number of networks at
        which to stop (by default all). `progress` shows a bar (it needs tqdm).
        """
        x = inputs(self.task, "`ensemble(x)`", x)
        start = after.members if after else 0
        chunks = self.outputs(x, start=start, stop=stop, progress=progress)
        averages = (chunk.average(self.task, x, self.regime) for chunk in chunks)
        parts = averages if after is None else (part for whole in ((after,), averages) for part in whole)
        return reduce(add, parts)

    def outputs(
        self, x: Shaped[Array | ndarray, "*n bits"], *, start: int = 0, stop: int | None = None, progress: bool = False
    ) -> Iterator[Outputs]:
        """The outputs of the networks `start` to `stop` one by one, in chunks: `.values` (units, n, outputs)."""
        x = inputs(self.task, "`ensemble.outputs(x)`", x)
        stop = self._range("outputs", start, stop)
        evaluate = partial(_evaluate, self._network, self._block(len(x)))
        points = jnp.asarray(self.task.normalise(x), self.dtype)
        chunks = (self._outputs(trained, evaluate, points) for trained in self._trained(start, stop, len(x)))
        return counted(chunks, total=stop - start, progress=progress)

    def train(self, *, progress: bool = False) -> "Trained":
        """All networks at once, kept in memory: to be evaluated many times, as the iteration of rules does.

        Raises MemoryError where their parameters alone exceed the budget.
        """
        if self._bytes * self.size > self.budget * _GIB:
            raise MemoryError(
                f"`ensemble.train()`: {self.size} networks take {self._bytes * self.size / _GIB:.2f} GiB, the budget is "
                f"{self.budget} GiB; call `ensemble(x)`, which forgets each chunk, or raise `budget`"
            )
        chunks = counted(self._trained(0, self.size, 1), total=self.size, progress=progress)
        return Trained(self, tuple(chunks))

    @property
    def largest_stable_step(self) -> float:
        """2/λ_max over all networks: above it gradient descent diverges. λ_max is that of the tangent kernel at the start.

        Bounded by the largest eigenvalues of its two layers, which add up to it as the width grows.
        """
        chunk = self._chunk(1)
        bounds = [_spectrum(self._setup, self._draw(first, chunk)).largest for first in range(0, self.size, chunk)]
        return float(2 / np.concatenate(bounds)[: self.size].max())

    @property
    def _setup(self) -> Setup:
        return Setup(self.task.k, self.task.outputs, self.width, self.parametrisation, self.layers == "both")

    @property
    def _network(self) -> Network:
        return _network(self.task.k, self.task.outputs, self.parametrisation, jnp.dtype(self.dtype).name)

    @property
    def _bytes(self) -> int:
        return self.width * (self.task.k + self.task.outputs) * jnp.dtype(self.dtype).itemsize

    def _range(self, method: str, start: int, stop: int | None) -> int:
        stop = self.size if stop is None else stop
        call = f"`ensemble.{method}(x)`"
        if not 0 <= start < stop <= self.size:
            raise ValueError(f"{call}: the ensemble has {self.size} networks, none from {start} up to {stop}")
        if self.antithetic and (start % 2 or stop % 2):
            raise ValueError(f"{call}: antithetic networks come in pairs; {start} to {stop} splits one")
        return stop

    def _chunk(self, count: int) -> int:
        """How many networks are trained at once: an even number, or one."""
        values = self.width * self._block(count) * jnp.dtype(self.dtype).itemsize
        bound = self.budget * _GIB
        parameters = min(bound, _CACHE) if jax.default_backend() == "cpu" else bound
        fits = int(min(parameters // self._bytes, bound // (5 * self._bytes + 2 * values)))
        size = self.size + self.size % 2
        return max(2, min(fits, size) // 2 * 2) if fits > 1 or self.antithetic else 1

    def _block(self, count: int) -> int:
        """How many inputs are evaluated at once."""
        share = min(self.budget * _GIB / 4, _CACHE)
        return max(1, min(count, int(share // (self.width * jnp.dtype(self.dtype).itemsize))))

    def _draw(self, first: int, chunk: int) -> PyTree:
        return _draw(self._network, self.width, self.antithetic, self.key, first + jnp.arange(chunk))

    def _trained(self, start: int, stop: int, count: int) -> Iterator["Chunk"]:
        """Chunks of trained networks; the last is trained whole and cut, so that one compilation serves all."""
        if self.step is not None:
            self._check_step()
        chunk = self._chunk(count)
        for first in range(start, stop, chunk):
            yield self._descend(self._draw(first, chunk)).cut(min(chunk, stop - first))

    def _descend(self, params: PyTree) -> "Chunk":
        bounds = _spectrum(self._setup, params)
        step = 2 / (bounds.smallest + bounds.largest) if self.step is None else jnp.full_like(bounds.largest, self.step)
        tolerance = 100 * jnp.finfo(self.dtype).eps if self.tolerance is None else self.tolerance
        labels = jnp.asarray(self.task.labels, self.dtype)
        limits = {"tolerance": jnp.asarray(tolerance, self.dtype), "most": jnp.asarray(self.most_steps)}
        done = descend(self._setup, params, labels, step, **limits)
        worst = float(done.residual.max())
        if not worst <= tolerance:
            raise RuntimeError(
                f"`Ensemble(..., {self.size}, {self.width})`: after {int(done.steps)} steps a network is still {worst:.2g} from its "
                f"labels, above the tolerance {float(tolerance):.2g}; raise `width`, `most_steps` or `tolerance`, or lower `step`"
            )
        return Chunk(done.params, len(done.residual), int(done.steps))

    def _check_step(self) -> None:
        stable = self.largest_stable_step
        if self.step > stable:
            raise ValueError(
                f"`Ensemble(..., step={self.step:g})`: gradient descent diverges at this step; the largest stable one is "
                f"{stable:.4g} = 2/λ_max of the tangent kernel, over all {self.size} networks. Pass at most that, or leave `step` "
                "out for each network's fastest"
            )

    def _outputs(self, chunk: "Chunk", evaluate: Any, points: Array) -> Outputs:
        values = np.asarray(evaluate(chunk.params, points))
        paired = values.reshape(-1, 2, *values.shape[1:]).mean(1) if self.antithetic else values
        return Outputs(paired, chunk.members, chunk.steps)


class Chunk(NamedTuple):
    """Some trained networks: leaves with a first axis of members."""

    params: PyTree
    members: int
    steps: int

    def cut(self, members: int) -> "Chunk":
        if members == self.members:
            return self
        return Chunk(jax.tree.map(lambda leaf: leaf[:members], self.params), members, self.steps)


class Trained:
    """An ensemble whose trained networks are kept: `trained(x)` is their `Average`."""

    def __init__(self, ensemble: Ensemble, chunks: tuple[Chunk, ...]):
        self.ensemble = ensemble
        self._chunks = chunks

    def __call__(self, x: Bool[ndarray, "n k"]) -> Average:
        """Mean and variance over the networks at binary inputs `x`."""
        ensemble = self.ensemble
        x = inputs(ensemble.task, "`trained(x)`", x)
        evaluate = partial(_evaluate, ensemble._network, ensemble._block(len(x)))
        points = jnp.asarray(ensemble.task.normalise(x), ensemble.dtype)
        outputs = (ensemble._outputs(chunk, evaluate, points) for chunk in self._chunks)
        return reduce(add, (each.average(ensemble.task, x, ensemble.regime) for each in outputs))


@lru_cache(maxsize=64)
def _network(k: int, outputs: int, parametrisation: Parametrisation, dtype: str) -> Network:
    """One object a description, so that what is compiled for it is found again."""
    return network(k, outputs, parametrisation, dtype=dtype)


_spectrum = jax.jit(spectrum, static_argnums=0)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _draw(net: Network, width: int, antithetic: bool, key: PRNGKeyArray, numbers: Array) -> PyTree:
    """Members by their numbers; the odd ones of antithetic pairs are their partners with W₂ turned over."""
    if not antithetic:
        return jax.lax.map(lambda i: net.init(jax.random.fold_in(key, i), width), numbers)
    halves = jax.lax.map(lambda i: net.init(jax.random.fold_in(key, i), width), numbers[::2])
    signs = {"w1": (1, 1), "w2": (1, -1)}
    pairs = {name: jnp.stack([a * leaf for a in signs[name]], 1) for name, leaf in halves.items()}
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), pairs)


@partial(jax.jit, static_argnums=(0, 1))
def _evaluate(net: Network, block: int, params: PyTree, x: Float[Array, "n k"]) -> Float[Array, "members n outputs"]:
    """The network's own code at every input, one member after the other, `block` inputs at once."""
    return jax.lax.map(lambda member: jax.lax.map(lambda one: net.apply(member, one), x, batch_size=block), params)
