"""The kernels of a network in the limit of infinite width."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import PyTree

from widelimit import gaussian, trace
from widelimit import program as tp
from widelimit.limit._by_angle import ByAngle
from widelimit.limit._explain import (
    ApproximationWarning,
    Explanation,
    approximations,
    explain,
    inaccurate,
    missed,
    watched,
)
from widelimit.limit._gram import Gram
from widelimit.limit._inputs import check_batch, check_single, same_dtypes
from widelimit.limit._kernels import Kernels
from widelimit.limit._read import Read
from widelimit.limit._recursion import Instead, Recursion
from widelimit.limit._request import complete
from widelimit.limit._sampled import SampledKernel, sampled
from widelimit.particles import resolving

_BUDGET = 1.0  # GiB of working memory
_FRAMES = 20  # nested calls a value of the program takes


def limit(
    net: Any,
    example: PyTree,
    *,
    learning_rates: trace.Rates = "ntk",
    accuracy: float = 1e-6,
    widths: tuple[int, ...] | None = None,
    engine: str = "recursion",
    particles: int | None = None,
    key: Array | None = None,
) -> Kernel | SampledKernel:
    """The infinite-width limit of a network: its NNGP and NTK, for any architecture that is a Tensor Program.

    Args:
        net: The network as a family over its width: `wl.Network`, `wl.from_flax`, `wl.from_equinox`.
        example: One input, without a batch axis: any pytree of arrays or `jax.ShapeDtypeStruct`, or a shape.
        learning_rates: "ntk": each parameter's rate is the variance of its initialisation (NTK parametrisation; one that
            starts at a constant is not trained). A number: every parameter is trained at that rate as the code holds it
            (1.0 is J Jᵀ), or a function of the width. A dict from parameter path to either (others "ntk"); 0 is frozen.
        accuracy: The relative error asked of Gaussian expectations without a closed form.
        widths: At least three widths at which the network is traced (shapes only) to tell what scales with the width.
        engine: "recursion": second moments by closed forms and quadrature. "particles": samples of every variable of the
            program, an independent check and a way where expectations of many Gaussians are dear; it has standard errors.
        particles: How many samples the particle engine draws (default 2¹⁶; errors fall as one over the root). Known arrays
            along the width are sampled at 2¹⁴ coordinates and more: it reads such networks at multiples of the widths.
        key: Its random key, `jax.random.key(0)` if left out.

    Returns:
        A `Kernel`, or a `SampledKernel` of the particle engine: `kernel(x1, x2)` gives Gram matrices.

    Raises:
        Refusal: Where the limit is not a Gaussian process, does not exist, or a step of the network has no rule; the
            message names the line of the network's code and what to write instead.

    Warns:
        ApproximationWarning: Where entries that are not Gaussian are treated as such, or an expectation of several
            Gaussians does not reach the accuracy. A kernel warns where the inputs' own laws are beyond what is resolved.

    Jacot et al., Neural Tangent Kernel (2018); Yang, Tensor Programs I, II; Yang & Littwin, Tensor Programs IIb (2021).
    """
    _check_arguments(net, accuracy)
    _check_engine(engine, particles, key)
    if engine == "particles":
        return sampled(_read_to_sample(net, example, learning_rates, widths), particles, key)
    kernel = Kernel(_read(net, example, learning_rates, widths), accuracy)
    kernel.check()
    for approximation in (*approximations(kernel.reading), *inaccurate(kernel.reading, accuracy)):
        warnings.warn(f"`wl.limit`: {approximation}", ApproximationWarning, stacklevel=2)
    return kernel


def _check_arguments(net: Any, accuracy: float) -> None:
    if not (hasattr(net, "init") and hasattr(net, "apply") and hasattr(net, "is_trainable")):
        raise TypeError(
            f"`wl.limit(net, example)`: expected a `wl.Network` (or `wl.from_flax`, `wl.from_equinox`), got {type(net).__name__}"
        )
    if not 0 < accuracy < 1:
        raise ValueError(f"`wl.limit(..., accuracy={accuracy})`: expected a relative error between 0 and 1")


def _check_engine(engine: str, particles: int | None, key: Array | None) -> None:
    if engine not in ("recursion", "particles"):
        raise ValueError(f'`wl.limit(..., engine={engine!r})`: expected "recursion" or "particles"')
    if engine == "recursion" and not (particles is None and key is None):
        raise ValueError('`wl.limit(..., particles=..., key=...)`: these belong to `engine="particles"`; add it')


def _read(net: Any, example: PyTree, learning_rates: trace.Rates, widths: tuple[int, ...] | None) -> trace.Reading:
    """Read the network; where rates given as numbers are what makes it diverge, say so."""
    try:
        return trace.read(net, example, learning_rates, widths)
    except trace.ScalingRefusal as error:
        if learning_rates == "ntk":
            raise
        reading = _readable(net, example, widths)
        if reading is None:
            raise
        raise trace.Refusal(_diverging(net, reading, learning_rates, widths)) from error


def _read_to_sample(
    net: Any, example: PyTree, learning_rates: trace.Rates, widths: tuple[int, ...] | None
) -> trace.Reading:
    """Known vectors along the width need a larger one: their coordinates are sampled, at the largest width read."""
    reading = _read(net, example, learning_rates, widths)
    larger = resolving(reading.output, reading.widths)
    return reading if larger == reading.widths else _read(net, example, learning_rates, larger)


def _readable(net: Any, example: PyTree, widths: tuple[int, ...] | None) -> trace.Reading | None:
    try:
        return trace.read(net, example, "ntk", widths)
    except trace.Refusal:
        return None


def _diverging(net: Any, reading: trace.Reading, learning_rates: Any, widths: Any) -> str:
    table = learning_rates if isinstance(learning_rates, dict) else dict.fromkeys(reading.laws, learning_rates)
    worse = {
        p: law.variance
        for p, law in reading.laws.items()
        if table.get(p, "ntk") not in ("ntk", 0) and law.variance.exponent < 0
    }
    listed = ", ".join(f"{p!r} (NTK ~ n^{-v.exponent})" for p, v in worse.items())
    return (
        f"`wl.limit(..., learning_rates={learning_rates!r})`: the tangent kernel diverges with the width at these "
        "rates. Parameters whose variance "
        "shrinks with the width while their rate does not: "
        f"{listed or 'none by variance; a weight that starts at zero feeds a sum over the width'}. "
        'Use "ntk" for them (the rate is then the variance of the initialisation), or write the network in NTK parametrisation.'
    )


@contextlib.contextmanager
def _room_for(reading: trace.Reading) -> Iterator[None]:
    """Python's bound on nested calls, raised for deep networks: the recursion is as deep as the program is long."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 2_000 + _FRAMES * len(tp.reachable(reading.output))))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel(Read):
    """The limit of one network. All arrays are JAX arrays of the inputs' dtype; `pair` is pure and can be transformed."""

    reading: trace.Reading
    accuracy: float = 1e-6

    def __repr__(self) -> str:
        inputs = ", ".join(f"{s.dtype}{list(s.shape)}" for s in self.reading.inputs)
        return f"Kernel({inputs}; {len(self.reading.parameters)} parameters, accuracy {self.accuracy:g})"

    # --- Gram matrices ------------------------------------------------------------------------------------------------

    def __call__(
        self, x1: PyTree, x2: PyTree | None = None, *, progress: bool = False, budget: float = _BUDGET
    ) -> Kernels:
        """NNGP and NTK of all pairs: (N1, N2) [+ finite output axes of side 1, of side 2].

        Without `x2` the matrix is symmetric and half of it is computed. `budget` bounds the working memory in GiB beyond
        the result; `progress` shows a bar (needs tqdm).
        """
        return Kernels(*self._gram(x1, x2, self.pair, "both", progress=progress, budget=budget))

    def nngp(self, x1: PyTree, x2: PyTree | None = None, *, progress: bool = False, budget: float = _BUDGET) -> Array:
        """The NNGP of all pairs."""
        return self._gram(x1, x2, self._pair_nngp, "nngp", progress=progress, budget=budget)[0]

    def ntk(self, x1: PyTree, x2: PyTree | None = None, *, progress: bool = False, budget: float = _BUDGET) -> Array:
        """The NTK of all pairs."""
        return self(x1, x2, progress=progress, budget=budget).ntk

    def diagonal(self, x: PyTree) -> Kernels:
        """NNGP and NTK of each input with itself: (N,) [+ finite output axes of both sides]."""
        leaves = check_batch(self.reading, x, "kernel.diagonal(x)")
        self._begin()
        found = Kernels(*self._grams("both", self.pair, _BUDGET).diagonal(leaves))
        self._warn_of_misses()
        return found

    def ntk_by_weight(
        self, x1: PyTree, x2: PyTree | None = None, *, progress: bool = False, budget: float = _BUDGET
    ) -> dict[str, Array]:
        """The share of every trained parameter; the shares add up to the NTK."""
        trained = [p for p, parameter in self.reading.parameters.items() if parameter.rate]
        if not trained:
            return {}
        shares = self._gram(
            x1, x2, functools.partial(self._pair_shares, trained), "shares", progress=progress, budget=budget
        )
        return dict(zip(trained, shares, strict=True))

    def _gram(
        self, x1: PyTree, x2: PyTree | None, pair: Callable, kind: str, *, progress: bool, budget: float
    ) -> tuple[Array, ...]:
        first = check_batch(self.reading, x1, "kernel(x1, x2)")
        second = None if x2 is None else check_batch(self.reading, x2, "kernel(x1, x2)")
        if second is not None:
            first, second = same_dtypes(first, second)
        self._begin()
        entries = first[0].shape[0] * (second or first)[0].shape[0]
        grams = self._quickest(kind, pair, budget, entries, self._dtype((first,)))
        found = grams.matrix(first, second, progress=progress)
        self._warn_of_misses()
        return found

    def _begin(self) -> None:
        """Networks share functions, and what is known of them; what they met is their own."""
        for phi, _ in self._watched:
            gaussian.forget(phi)

    def _renew(self) -> int:
        """Have rules chosen anew for what was met since; how often that was done for all functions."""
        return sum(gaussian.renew(phi) for phi, _ in self._watched if phi.arity > 1)

    @functools.cached_property
    def _shares(self) -> dict[gaussian.Pointwise, float]:
        """Errors that were met, beyond what was said of their functions."""
        return {}

    @functools.cached_property
    def _watched(self) -> list:
        return watched(self.reading)

    def _warn_of_misses(self) -> None:
        """Warn of accuracies that were not reached at the laws of the inputs; of each once."""
        told = vars(self).setdefault("_told", set())
        for phi, (share, text) in missed(self._watched).items():
            self._shares[phi] = max(share, self._shares.get(phi, 0.0))
            if text not in told:
                told.add(text)
                warnings.warn(f"`kernel`: {text}", ApproximationWarning, stacklevel=4)

    def _quickest(self, kind: str, pair: Callable, budget: float, entries: int, dtype: Any) -> Gram:
        """By layers, or by the angle where that is possible and there are many entries."""
        by_angle = self._by_angle.pair(kind, pair) if self._by_angle.is_worth(entries, dtype) else None
        if by_angle is None:
            return self._grams(kind, pair, budget)
        return self._gram_of(f"{kind} by angle", by_angle, budget)

    @functools.cached_property
    def _by_angle(self) -> ByAngle:
        with _room_for(self.reading):
            return ByAngle(self.reading.output)

    def _grams(self, kind: str, pair: Callable, budget: float) -> Gram:
        return self._gram_of(kind, self._on_leaves(pair), budget)

    def _gram_of(self, kind: str, pair: Callable, budget: float) -> Gram:
        made = vars(self).setdefault("_compiled", {})
        if (kind, budget) not in made:
            made[kind, budget] = Gram(pair, len(self.reading.output.shape), budget, self._renew)
        return made[kind, budget]

    def _on_leaves(self, pair: Callable) -> Callable:
        def fn(a: list[Array], b: list[Array]) -> tuple[Array, ...]:
            return tuple(pair(*(jax.tree_util.tree_unflatten(self.reading.structure, list(x)) for x in (a, b))))

        return fn

    # --- one pair -----------------------------------------------------------------------------------------------------

    def pair(self, x: PyTree, xp: PyTree) -> Kernels:
        """NNGP and NTK of two single inputs: a pure function, to be jitted, mapped or differentiated.

        Θ(x, x') = Σ_W λ_W ∂K₁₂(x, x')/∂c_W: the derivative of the cross-kernel of two copies of the network with
        respect to the covariances between corresponding weights, in the direction of the learning rates.
        """
        cross, variances, rates = self._cross(x, xp)
        return Kernels(*jax.jvp(cross, (variances,), (rates,)))

    def _pair_nngp(self, x: PyTree, xp: PyTree) -> tuple[Array]:
        cross, variances, _ = self._cross(x, xp)
        return (cross(variances),)

    def _pair_shares(self, trained: list[str], x: PyTree, xp: PyTree) -> tuple[Array, ...]:
        cross, variances, rates = self._cross(x, xp)
        _, push = jax.linearize(cross, variances)

        def share(path: str) -> Array:
            return push({p: r if p == path else jnp.zeros_like(r) for p, r in rates.items()})

        return tuple(share(path) for path in trained)

    def _cross(
        self, x: PyTree, xp: PyTree
    ) -> tuple[Callable[[dict[str, Any]], Array], dict[str, Array], dict[str, Array]]:
        """The cross-kernel as a function of the weights' cross-covariances; the variances; the learning rates."""
        inputs = tuple(v if isinstance(v, Instead) else check_single(self.reading, v) for v in (x, xp))
        dtype = self._dtype(inputs)
        variances, rates = (
            {p: jnp.asarray(v, dtype) for p, v in table.items()} for table in (self._variances, self._rates)
        )

        def cross(covariances: dict[str, Any]) -> Array:
            return self.cross_covariance(inputs, variances, covariances, dtype, at_base=True)

        return cross, variances, rates

    def cross_covariance(
        self, inputs: tuple, variances: dict[str, Any], cross: dict[str, Any], dtype: Any, *, at_base: bool = False
    ) -> Array:
        """K₁₂(x, x') for two copies of the network whose weights have these variances and cross-covariances.

        `at_base` tells that the two are equal, and only the derivative in `cross` is of interest.
        """
        base = Recursion(inputs, variances, variances, dtype, self.accuracy)
        recursion = Recursion(inputs, variances, cross, dtype, self.accuracy, base, at_base)
        out = self.reading.output
        with _room_for(self.reading):
            value = recursion.second(complete(out, out, (0, 1)))
        return jnp.zeros((*out.shape, *out.shape), dtype) if value is None else value

    def _dtype(self, inputs: tuple) -> Any:
        arrays = ((x.value,) if isinstance(x, Instead) else x for x in inputs)
        floats = [a.dtype for leaves in arrays for a in leaves if jnp.issubdtype(a.dtype, jnp.floating)]
        return jnp.result_type(*floats) if floats else jnp.result_type(float)

    @functools.cached_property
    def _variances(self) -> dict[str, float]:
        return {p: parameter.variance for p, parameter in self.reading.parameters.items()}

    @functools.cached_property
    def _rates(self) -> dict[str, float]:
        return {p: parameter.rate for p, parameter in self.reading.parameters.items()}

    # --- what was read ------------------------------------------------------------------------------------------------

    def explain(self) -> Explanation:
        """What was recognised in each nonlinearity, how it is integrated, and with what error."""
        return explain(self.reading, self.accuracy, self._shares)

    def check(self) -> None:
        """Trace the kernel of a pair on shapes alone, so that what has no rule is refused at once."""
        try:
            if self._by_angle.serves(self._dtype((self.reading.inputs,))):
                self._by_angle.program("both", self.pair)
            else:
                self._grams("both", self.pair, _BUDGET).program([(s.shape, s.dtype) for s in self.reading.inputs])
        except trace.Refusal:
            raise
        except ValueError as error:
            if type(error).__name__ in ("FusionError", "SharingError"):
                raise trace.Refusal(str(error)) from error
            raise
