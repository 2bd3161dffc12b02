"""Finite networks against the limit, entry by entry."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree
from numpy import ndarray

from widelimit._threads import one_blas_thread
from widelimit.limit import limit

from . import _check, _statistics
from ._ensemble import Family
from ._outputs import kept
from ._parameters import by_path
from ._readout import readout
from ._report import Comparison, Report, Row
from ._sampling import Accuracy, Limits, Sample, samples

_CALL = "`verify(net, x1)`"
_ROUNDING = 1e-5  # of the kernel's scale: below it, a float32 mean's difference from the limit says nothing


@one_blas_thread()
def verify(
    net: Any,
    x1: PyTree,
    x2: PyTree | None = None,
    *,
    key: PRNGKeyArray | None = None,
    widths: Sequence[int] = (128, 256, 512, 1024),
    draws: int | Sequence[int] | None = None,
    learning_rates: Any = "ntk",
    kernel: Any = None,
    accuracy: float | int = 0.005,
    cost: float | int = 2e9,
    memory: float | int = 2**30,
    progress: bool = False,
) -> Report:
    """Draw `net` at growing widths and compare its mean NNGP and mean NTK with the limit.

    **Arguments** `x1`, `x2`: a few examples each (first axis); without `x2` the examples of `x1` with each other.
    `widths`: two or more, growing. `draws`: networks at each width; by default as many as bring the standard error of
    every entry under `accuracy` times the kernel's largest entry at every width, so more at small widths (a draw's
    spread falls as n^{-1/2}), at least 64, and no more than draw `cost` numbers at one width. `kernel`: the limit,
    `wl.limit(net, example, learning_rates=learning_rates)` if left out; an object with `.nngp(x1, x2)`, `.ntk(x1, x2)`
    of shape (N1, N2, axes of side 1, axes of side 2), or both by `kernel(x1, x2)`, and `.rates(width)` and
    `.replica_axes`; its `.errors(x1, x2)` count where it has them (the particle engine). Where `x2` is left out, calls
    that give both kernels or errors get `x1` alone. `memory`: bytes that the networks drawn together may hold.
    `progress`: show a bar (needs tqdm).

    **What is judged.** A finite network's mean kernel differs from the limit by O(1/n), so the means are extrapolated
    to infinite width with their errors, and each entry of that gets a z-score (`_statistics` says how). `report.passed`
    holds where no |z| exceeds the bound that the largest of that many entries of a right limit keeps with probability
    0.997. With the default `accuracy` a limit that is wrong by 3 % fails.

    **Fewer draws for the same error.** Independent outputs (`replica_axes`) are averaged; leaves of the readout that
    `init` draws apart from all others are drawn again for the same body, which changes no expectation.

    Returns a `Report`; raises `TypeError` without a key and `ValueError` for widths that do not grow and for examples
    that the network does not take.
    """
    _check_arguments(key, widths, draws)
    x1, x2 = _sides(x1, x2)
    params = _shapes(net, widths[0], key)
    _check.output(_CALL, "x1", net.apply, params=params, x=x1)
    kernel = _limit(net, x1, learning_rates) if kernel is None else kernel
    limits = _limits(net, kernel, (x1, x2), params)
    drawn = samples(
        _families(net, kernel, widths, key, x1),
        key,
        (x1, x2),
        limits,
        draws=None if draws is None else np.broadcast_to(draws, len(widths)).tolist(),
        accuracy=Accuracy(accuracy, cost),
        memory=memory,
        progress=progress,
    )
    comparisons = [_compared(tuple(widths), drawn, limits, name, symmetric=x2 is x1) for name in ("nngp", "ntk")]
    entries = sum(comparison.entries for comparison in comparisons)
    return Report(
        tuple(widths), tuple(len(s.ntk) for s in drawn), *comparisons, _statistics.threshold(entries), accuracy
    )


def _check_arguments(key: Any, widths: Sequence[int], draws: Any) -> None:
    if key is None:
        raise TypeError(f"{_CALL} draws networks and needs a key: pass `key=jax.random.key(0)`")
    if len(widths) < 2:
        raise ValueError(f"{_CALL} needs two or more `widths` to extrapolate from, got {tuple(widths)}")
    if any(b <= a for a, b in pairwise(widths)) or widths[0] < 1:
        raise ValueError(f"{_CALL}: `widths` must be positive and grow, got {tuple(widths)}")
    if draws is not None and np.size(draws) not in (1, len(widths)):
        raise ValueError(f"{_CALL}: `draws` is one number or one for each of {len(widths)} widths, got {draws}")
    if draws is not None and np.min(draws) < 2:
        raise ValueError(f"{_CALL}: an error needs two or more `draws` at a width, got {draws}")


def _sides(x1: PyTree, x2: PyTree | None) -> tuple[PyTree, PyTree]:
    x1 = _check.batch(_CALL, "x1", x1)[0]
    return x1, x1 if x2 is None else _check.batch(_CALL, "x2", x2)[0]


def _shapes(net: Any, width: int, key: PRNGKeyArray) -> PyTree:
    return jax.eval_shape(lambda k: net.init(k, width), key)


def _limit(net: Any, x1: PyTree, learning_rates: Any) -> Any:
    return limit(net, _check.example(x1), learning_rates=learning_rates)


def _limits(net: Any, kernel: Any, sides: tuple[PyTree, PyTree], params: PyTree) -> Limits:
    expected: tuple[int, ...] = tuple(jax.tree.leaves(side)[0].shape[0] for side in sides)
    for side in sides:
        expected += kept(jax.eval_shape(net.apply, params, _check.example(side)).shape, kernel.replica_axes)
    nngp, ntk = _both(kernel, sides)
    for name, got in (("nngp", nngp.shape), ("ntk", ntk.shape)):
        if got != expected:
            raise ValueError(
                f"{_CALL}: `kernel.{name}(x1, x2)` has shape {got}, but the network's kernel has {expected}"
            )
    errors = kernel.errors(*_distinct_sides(sides))._asdict() if hasattr(kernel, "errors") else {}
    return Limits(nngp.ravel(), ntk.ravel(), expected, {n: np.asarray(e, float).ravel() for n, e in errors.items()})


def _both(kernel: Any, sides: tuple[PyTree, PyTree]) -> list[ndarray]:
    """NNGP and NTK, by one call where the kernel takes one: what they share is then compiled and computed once."""
    found = kernel(*_distinct_sides(sides)) if callable(kernel) else (kernel.nngp(*sides), kernel.ntk(*sides))
    return [np.asarray(each, float) for each in found]


def _distinct_sides(sides: tuple[PyTree, PyTree]) -> tuple[PyTree, ...]:
    """The sides, one where they are the same: half of a symmetric matrix is computed."""
    return sides[:1] if sides[0] is sides[1] else sides


def _families(net: Any, kernel: Any, widths: Sequence[int], key: PRNGKeyArray, x1: PyTree) -> list[Family]:
    leaves = readout(net, widths[0], key, jax.tree.map(lambda leaf: leaf[0], x1))
    return [_family(net, kernel, width, key, leaves) for width in widths]


def _family(net: Any, kernel: Any, width: int, key: PRNGKeyArray, leaves: tuple[str, ...]) -> Family:
    sizes = {path: leaf.size for path, leaf in by_path(_shapes(net, width, key)).items()}
    # copies cost one draw of the readout each: about as much in all as the network itself, and a few in any case
    affordable = sum(sizes.values()) // max(1, sum(sizes[path] for path in leaves))
    copies = min(1024, max(64, affordable)) if leaves else 0
    rates = {path: float(rate) for path, rate in kernel.rates(width).items()}
    return Family(net, width, tuple(rates.items()), tuple(kernel.replica_axes), leaves, copies)


def _compared(
    widths: tuple[int, ...], drawn: list[Sample], limits: Limits, name: str, *, symmetric: bool
) -> Comparison:
    draws, limit, scale = [getattr(sample, name) for sample in drawn], getattr(limits, name), limits.scale(name)
    rounding = _ROUNDING * scale
    moments = [_statistics.moments(each, rounding) for each in draws]
    infinite = _statistics.extrapolate(widths, moments, scale)
    error = limits.total(name, infinite.error)
    z = _statistics.normal_score((infinite.value - limit) / error, infinite.freedom)
    rows = tuple(_row(each, moment, limit, scale) for each, moment in zip(draws, moments, strict=True))
    return Comparison(
        rows,
        z.reshape(limits.shape),
        (error / scale).reshape(limits.shape),
        _statistics.exponent(widths, [row.bias for row in rows]),
        _statistics.exponent(widths, [row.spread for row in rows]),
        z.size if not symmetric else _distinct(limits.shape),
    )


def _distinct(shape: tuple[int, ...]) -> int:
    """Entries of a symmetric kernel that are not copies of others: it is n by n with n the examples times their finite outputs."""
    side = prod(shape[:1] + shape[2 : 2 + (len(shape) - 2) // 2])
    return side * (side + 1) // 2


def _row(draws: ndarray, moments: _statistics.Moments, limit: ndarray, scale: float) -> Row:
    z = _statistics.normal_score((moments.mean - limit) / moments.error, np.full_like(limit, moments.draws - 1))
    deviation = _statistics.root(*_statistics.bias(draws, limit, scale))
    return Row(float(np.abs(z).max()), float(moments.error.max() / scale), deviation, _statistics.spread(draws, scale))
