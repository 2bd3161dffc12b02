"""Names for the bits of a state."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from . import _arguments


class Fields:
    """`Fields(item=(3, 2), phase=1)`: named blocks of bits, numbered in order; `fields.item[i, q]` is the number of a bit.

    The last axis of a block is one number's bits, the least significant first.
    """

    def __init__(self, **shapes: int | tuple[int, ...]):
        self._blocks: dict[str, ndarray] = {}
        self.bits = 0
        for name, shape in shapes.items():
            size = int(np.prod(shape))
            self._blocks[name] = np.arange(self.bits, self.bits + size).reshape(shape)
            self.bits += size

    def __getattr__(self, name: str) -> Int[ndarray, "..."]:
        try:
            return self.__dict__["_blocks"][name]
        except KeyError:
            raise AttributeError(
                f"these fields are {', '.join(self.__dict__['_blocks'])}; there is no {name!r}"
            ) from None

    def write(self, **numbers: Any) -> Bool[ndarray, "*n bits"]:
        """States with unsigned `numbers` in the fields named; the others are 0. Leading axes are examples, broadcast."""
        blocks = {name: self._encode(name, np.asarray(value)) for name, value in numbers.items()}
        lead = np.broadcast_shapes(*(value.shape[: value.ndim - self._blocks[n].ndim] for n, value in blocks.items()))
        states = np.zeros((*lead, self.bits), bool)
        for name, value in blocks.items():
            states[..., self._blocks[name]] = value
        return states

    def read(self, states: Bool[ndarray, "*n bits"], name: str) -> Int[ndarray, "..."]:
        """The unsigned numbers in a field."""
        places = self._blocks[name]
        return states[..., places] @ (1 << np.arange(places.shape[-1]))

    def _encode(self, name: str, value: Int[ndarray, "..."]) -> Bool[ndarray, "..."]:
        width = self._blocks[name].shape[-1]
        if not np.issubdtype(value.dtype, np.integer) or (value < 0).any() or (value >= 1 << width).any():
            raise ValueError(
                f"`{name}` takes whole numbers of {width} bits, 0 to {2**width - 1}, got {_outside(value, width)}"
            )
        return (value[..., None] >> np.arange(width) & 1).astype(bool)


class Book:
    """Rules as they are written down: `book.add({bit: value, …}, {bits set})`."""

    def __init__(self, fields: Fields):
        self._fields = fields
        self._pairs: list[tuple[dict, Any]] = []

    def add(self, when: dict[Any, int], then: Any = ()) -> None:
        """A template of the bits in `when`, which sets the bits in `then`."""
        self._pairs.append((when, then))

    def arrays(self) -> tuple[Int[ndarray, "rules bits"], Int[ndarray, "rules bits"]]:
        """Templates and results, as `Rules` takes them."""
        templates = np.full((len(self._pairs), self._fields.bits), -1)
        results = np.zeros_like(templates)
        for number, (when, then) in enumerate(self._pairs):
            templates[number, list(when)] = list(when.values())
            results[number, list(then)] = 1
        return templates, results


def size(call: str, **sizes: Any) -> list[int]:
    """Sizes of a machine, each at least 1."""
    return [_arguments.at_least(call, name, value, 1) for name, value in sizes.items()]


def _outside(value: ndarray, width: int) -> Any:
    if not np.issubdtype(value.dtype, np.integer):
        return value.dtype
    return value[(value < 0) | (value >= 1 << width)].ravel()[0].item()
