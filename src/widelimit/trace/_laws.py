"""The laws of a network's parameters, read from the program of its `init`, or declared."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from widelimit.trace import _draws, _numeric
from widelimit.trace._abstract import Refusal
from widelimit.trace._jaxpr import Body
from widelimit.trace._orthogonal import Orthonormal, Triangle
from widelimit.trace._sampling import Draw, Key, Number, Sample, Unread, samples
from widelimit.trace._scale import Scale, fit

_DOUBLE = 2.0**-52  # a step of float64, in which numbers are computed
_READ = (
    "What is read: normal, truncated normal, uniform and orthogonal draws and constants, times and plus numbers that depend on the "
    "width alone, rearranged, split, stacked"
)
_ZERO = Scale(0.0)


@dataclasses.dataclass(frozen=True)
class Law:
    """The law of a parameter's entries, which are independent of each other and of all others.

    `kind` is "normal", "truncated_normal", "uniform", "orthogonal" (a matrix with orthonormal rows or columns) or "constant";
    mean and variance are those of an entry as the code holds it, as the width grows. An array that is not trained may hold
    any fixed numbers: its kind is "fixed", and `values` are the numbers at each width. A truncated normal law is cut off at
    two `quantiles` of the normal one.
    """

    kind: str
    mean: Scale
    variance: Scale
    values: tuple[np.ndarray, ...] = dataclasses.field(default=(), compare=False, repr=False)
    quantiles: tuple[float, float] = dataclasses.field(default=(0.0, 1.0), compare=False, repr=False)


@dataclasses.dataclass(frozen=True)
class Declared:
    """A law that the user states: mean and standard deviation at a width."""

    kind: str
    mean: Callable[[int], int | float]
    std: Callable[[int], int | float]

    def law(self, widths: Sequence[int]) -> Law:
        mean, std = [float(self.mean(n)) for n in widths], [float(self.std(n)) for n in widths]
        if min(std) < 0:
            raise ValueError(f"a standard deviation is at least 0, got {std} at the widths {list(widths)}")
        return Law(self.kind, fit(mean, widths, eps=_DOUBLE), fit([s**2 for s in std], widths, eps=_DOUBLE))


def laws(
    init_bodies: Sequence[Body],
    paths: Sequence[str],
    widths: Sequence[int],
    *,
    declared: Mapping[str, Declared] | None = None,
    untrained: Callable[[str], bool] = lambda _: False,
) -> dict[str, Law]:
    """The law of each parameter, from the programs of `init(key)` at the widths, with the leaves at `paths` as outputs.

    `declared` laws are believed, without looking at how the parameter is drawn. Leaves that are `untrained` may be any fixed
    numbers, and leaves of whole numbers are. Keys have no law and are left out.

    Raises Refusal for a parameter whose law cannot be read, or one that shares random bits with another.
    """
    declared = dict(declared or {})
    _check_declared(declared, paths)
    at_widths = samples(init_bodies)
    dtypes = [v.aval.dtype for v in init_bodies[0].jaxpr.outvars]
    found = {}
    for path, of_path, dtype in zip(paths, zip(*at_widths, strict=True), dtypes, strict=True):
        if path in declared:
            found[path] = _stated(path, declared[path], widths)
        elif _fixed(of_path, dtype, untrained=untrained(path)):
            found[path] = Law("fixed", _ZERO, _ZERO, tuple(np.asarray(s.array, dtype) for s in of_path))
        elif _numeric.is_float(dtype):
            found[path] = _read(path, of_path, widths)
    _check_independent(
        {
            p: s
            for p, s in zip(paths, at_widths[0], strict=True)
            if isinstance(s, Draw | Orthonormal) and p not in declared
        }
    )
    return found


def _fixed(of_path: Sequence[Sample], dtype: Any, *, untrained: bool) -> bool:
    """Whether a leaf stands for its numbers: whole numbers always, others where they differ and are not trained."""
    numbers = all(isinstance(s, Number) for s in of_path)
    return numbers and (not _numeric.is_float(dtype) or (untrained and not all(s.uniform for s in of_path)))


def _check_declared(declared: Mapping[str, Declared], paths: Sequence[str]) -> None:
    unknown = sorted(set(declared) - set(paths))
    if unknown:
        raise ValueError(f"`laws` names {unknown}, but the parameters are {sorted(paths)}")


def _stated(path: str, declared: Declared, widths: Sequence[int]) -> Law:
    try:
        return declared.law(widths)
    except ValueError as error:
        raise Refusal(f"the law declared for the parameter {path!r} does not scale with the width: {error}") from None


def _read(path: str, of_path: Sequence[Sample], widths: Sequence[int]) -> Law:
    moments = [_moments(path, sample) for sample in of_path]
    kinds = {m.kind for m in moments}
    if len(kinds) > 1:
        raise _refusal(path, f"its law is not the same at every width: {sorted(kinds)}")
    eps = max(getattr(sample, "eps", 0.0) for sample in of_path)
    _check_sums(path, of_path)
    try:
        mean = fit([_rounded(m, eps) for m in moments], widths, eps=max(eps, _DOUBLE))
        variance = fit([m.variance for m in moments], widths, eps=max(eps, _DOUBLE))
    except ValueError as error:
        raise _refusal(path, f"its mean or variance does not scale with the width: {error}") from None
    return Law(moments[0].kind, mean, variance, quantiles=moments[0].quantiles)


def _check_sums(path: str, of_path: Sequence[Sample]) -> None:
    """A sum of draws is a number where it has more and more terms; one of few stays random."""
    sums = [s for s in of_path if isinstance(s, Number) and s.terms]
    if sums and not all(a.terms < b.terms for a, b in itertools.pairwise(sums)):
        raise _refusal(path, f"its entries are sums of {sums[0].terms} draws ({sums[0].where}), which stay random")


def _rounded(moments: _draws.Moments, eps: float) -> float:
    """The mean, which is zero where it is lost in the rounding of the draw."""
    return 0.0 if moments.mean**2 <= max(4 * eps, 1e-9) ** 2 * moments.variance else moments.mean


def _moments(path: str, sample: Sample) -> _draws.Moments:
    if isinstance(sample, Unread):
        raise _refusal(path, sample.why)
    if isinstance(sample, Key):
        raise _refusal(path, "it is computed from the words of a key")
    if isinstance(sample, Triangle):
        raise _refusal(path, "it is computed from the triangular factor of a `qr` decomposition")
    if isinstance(sample, Number):
        return _constant(path, sample)
    if isinstance(sample, Orthonormal) and sample.signs is not None:
        raise _refusal(
            path,
            f"the Q of a QR decomposition ({sample.where}) is uniform among orthogonal matrices only once its columns are "
            "multiplied by the signs of R's diagonal, as `jax.nn.initializers.orthogonal` does",
        )
    if not sample.entries.distinct:
        raise _refusal(
            path, f"the same draw ({sample.where}) is in several of its entries, which are then not independent"
        )
    moments = sample.law()
    if moments is None:
        raise _refusal(path, f"its entries are drawn one by one ({sample.where}), but not from one of the laws below")
    return moments


def _constant(path: str, number: Number) -> _draws.Moments:
    if not number.uniform:
        raise _refusal(
            path,
            f"it is an array of fixed numbers that differ from entry to entry (shape {number.array.shape}), drawn outside "
            "`init(key, width)` perhaps; draw it from `key`, or, if it is not to be trained, freeze it (`frozen`) or hold it "
            "in `apply`",
        )
    return _draws.Moments(_draws.CONSTANT, float(number.scalar) if number.array.size else 0.0, 0.0)


def _check_independent(drawn: Mapping[str, Draw | Orthonormal]) -> None:
    for (one, a), (other, b) in itertools.combinations(drawn.items(), 2):
        if a.entries.overlaps(b.entries):
            raise Refusal(
                f"the parameters {one!r} and {other!r} are made of the same random bits ({a.where}; {b.where}): a key was "
                "used twice, or one is a copy of the other, and they are correlated. Split the key, "
                "`k1, k2 = jax.random.split(key)`, or hold a shared parameter once and use it twice in `apply`."
            )


def _refusal(path: str, why: str) -> Refusal:
    return Refusal(
        f"cannot read from `init` the law of the parameter {path!r}: {why}. {_READ}. Declare another law with "
        f"`wl.Network(init, apply, laws={{{path!r}: wl.normal(std)}})`, std a number or a function of the width "
        "(`laws` is an argument of `wl.from_flax` and `wl.from_equinox` too)."
    )
