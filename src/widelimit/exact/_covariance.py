"""The covariance of the trained limit, from counts of bits alone."""

from typing import Any

import numpy as np

from ._arccosine import ORTHOGONAL, kernel
from ._weights import Weights


def covariance(k: int, w: tuple[Weights, Weights], overlap: Any, ones: Any, others: Any) -> Any:
    """Σ(x, x') of inputs of `ones` and `others` ones of which `overlap` are common, with their weights."""
    left, right = w
    c, g, g_ = ORTHOGONAL, *(kernel(np.ones_like(s), s, 1, regime="last") for s in (ones, others))
    here, there = ones - overlap, others - overlap  # set in one of them only
    product = (
        overlap * left.set * right.set
        + here * left.set * right.unset
        + there * left.unset * right.set
        + (k - ones - there) * left.unset * right.unset
    )
    total, total_ = (s * each.set + (k - s) * each.unset for each, s in ((left, ones), (right, others)))
    train = (0.5 - c) * product + c * total * total_
    left_cross = (g_ - c) * (overlap * left.set + there * left.unset) + c * total
    right_cross = (g - c) * (overlap * right.set + here * right.unset) + c * total_
    return (kernel(overlap, ones, others, regime="last") + train - left_cross - right_cross) / k
