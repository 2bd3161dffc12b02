"""Finite output axes: kernels of (N1, N2, axes, axes) are matrices over examples × axes."""

from __future__ import annotations

import dataclasses
import math

from jaxtyping import Array, Float


@dataclasses.dataclass(frozen=True)
class Layout:
    """The finite output axes of one example, and the axis of outputs that the kernel does not repeat: () or (C,)."""

    axes: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def size(self) -> int:
        """Rows of a matrix that one example takes."""
        return math.prod(self.axes)

    def columns(self, values: Array) -> Float[Array, "m c"]:
        """Values (N, *axes, *outputs) as columns, one an output."""
        return values.reshape(-1, math.prod(self.outputs))

    def values(self, columns: Float[Array, "... m c"]) -> Array:
        """Columns (..., N × axes, C) as values (..., N, *axes, *outputs)."""
        return columns.reshape(*columns.shape[:-2], -1, *self.axes, *self.outputs)

    def kernel(self, matrix: Float[Array, "... m m"]) -> Array:
        """A symmetric matrix (..., N × axes, N × axes) as a kernel (..., N, N, *axes, *axes)."""
        if not self.axes:
            return matrix
        lead, k = matrix.ndim - 2, len(self.axes)
        apart = matrix.reshape(*matrix.shape[:-2], *2 * (matrix.shape[-1] // self.size, *self.axes))
        first, second = lead, lead + 1 + k
        order = (*range(lead), first, second, *range(first + 1, first + 1 + k), *range(second + 1, second + 1 + k))
        return apart.transpose(order)


def flat(kernel: Float[Array, "n1 n2 ..."]) -> Float[Array, "m1 m2"]:
    """(N1, N2, *axes, *axes) as (N1 × axes, N2 × axes)."""
    if kernel.ndim == 2:
        return kernel
    k = (kernel.ndim - 2) // 2
    rows = kernel.shape[0] * math.prod(kernel.shape[2 : 2 + k])
    return kernel.transpose(0, *range(2, 2 + k), 1, *range(2 + k, 2 + 2 * k)).reshape(rows, -1)
