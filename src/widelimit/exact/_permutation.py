"""Permutations of bits."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Int, PRNGKeyArray
from numpy import ndarray

from . import _arguments
from ._basis import BasisTask


@dataclass(frozen=True)
class Permutation(BasisTask):
    """The task of permuting `k` bits: output j is input bit `order[j]`, as `x[..., order]` has it.

    Trained on the k basis vectors alone, the limit's mean has the permuted input in its sign at every one of the 2ᵏ − 1 inputs
    (arXiv 2502.16763): an unset bit has the mean κ (1 − s β(s)) < 0 for s ≥ 2 ones, a set bit β (1 − κ s) + κ > 0.

    >>> Permutation(3, (2, 0, 1)).truth(np.array([[1, 0, 0]]))
    array([[False,  True, False]])

    Raises ValueError for k < 2, and for an `order` that does not name each of 0, …, k − 1 once.
    """

    k: int
    order: Sequence[int] | Int[ndarray, " k"]
    labels: Int[ndarray, "k k"] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        k = _arguments.at_least("`Permutation(k, order)`", "k", self.k, 2)
        order = _order(k, self.order)
        object.__setattr__(self, "order", tuple(order.tolist()))
        object.__setattr__(self, "labels", np.eye(k, dtype=int)[:, order])

    @classmethod
    def random(cls, k: int, *, key: PRNGKeyArray) -> "Permutation":
        """One of the k! permutations, each as likely."""
        _arguments.at_least("`Permutation.random(k)`", "k", k, 2)
        return cls(k, tuple(np.asarray(jax.random.permutation(key, k)).tolist()))


def all_inputs(k: int) -> Bool[ndarray, "n k"]:
    """The 2ᵏ − 1 inputs other than 0, in counting order; bit 0 is the least significant."""
    _arguments.at_least("`all_inputs(k)`", "k", k, 1)
    if k > 24:
        raise ValueError(
            f"`all_inputs({k})`: 2^{k} − 1 inputs of {k} bits do not fit a usual memory; above 24 bits take a sample: "
            f"`random_inputs({k}, count, key=key)`"
        )
    return (np.arange(1, 2**k)[:, None] >> np.arange(k) & 1).astype(bool)


def random_inputs(k: int, count: int, *, key: PRNGKeyArray, ones: int | None = None) -> Bool[ndarray, "count k"]:
    """`count` inputs other than 0: their number of ones is uniform on 1, …, k, or is `ones`; their places are uniform.

    Uniform bits would have about k/2 ones each, and miss the hard inputs, which have few.
    """
    _arguments.at_least("`random_inputs(k, count)`", "k", k, 1)
    if ones is not None and not 1 <= ones <= k:
        raise ValueError(f"`random_inputs({k}, {count})`: `ones` must be between 1 and {k}, got {ones}")
    generator = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    rank = np.argsort(np.argsort(generator.random((count, k))))
    return rank < (generator.integers(1, k + 1, (count, 1)) if ones is None else ones)


def _order(k: int, order: Any) -> Int[ndarray, " k"]:
    places = np.asarray(order)
    if places.shape != (k,) or not np.issubdtype(places.dtype, np.integer):
        raise ValueError(
            f"`Permutation({k}, order)`: `order` needs {k} whole numbers, got shape {places.shape}, {places.dtype}"
        )
    missing = sorted(set(range(k)) - set(places.tolist()))
    if missing:
        raise ValueError(
            f"`Permutation({k}, {places.tolist()})`: not a permutation: each of 0, …, {k - 1} must occur once; "
            f"missing: {', '.join(map(str, missing))}"
        )
    return places
