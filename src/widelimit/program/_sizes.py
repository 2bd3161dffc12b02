"""Sizes as they grow with the width."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def grown(sizes: Sequence[int], widths: Sequence[int]) -> str:
    """A dimension's size as the width grows: `10`, `n`, `4n`, `n/2`, `n + 1`."""
    if len(set(sizes)) == 1:
        return str(sizes[0])
    ratio = (sizes[-1] - sizes[0]) / (widths[-1] - widths[0])
    rest = sizes[0] - ratio * widths[0]
    if not np.allclose(np.asarray(widths) * ratio + rest, sizes):
        return f"{sizes[0]} at n = {widths[0]}"
    below = next((k for k in range(1, 65) if abs(ratio * k - round(ratio * k)) < 1e-9), None)
    if below is None:
        return f"{ratio:.4g}n"
    above = round(ratio * below)
    text = ("n" if above == 1 else f"{above}n") + (f"/{below}" if below > 1 else "")
    return text + (f" {'+' if rest > 0 else '−'} {abs(round(rest))}" if round(rest) else "")
