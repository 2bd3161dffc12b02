"""What the recursion is asked for: two values, at two inputs, at which positions."""

from __future__ import annotations

import dataclasses
from typing import Any

from widelimit import program as tp
from widelimit.limit._labels import free_axes

Match = tuple[int | None, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
    """E[Z^u(x_s) Z^v(x_t)] with (s, t) = `sides`; `match` gives for each axis of v the axis of u it is read with.

    `centred` asks for the covariance (of Gaussian values): deterministic parts drop out.
    """

    u: tp.Value
    v: tp.Value
    sides: tuple[int, int]
    match: Match
    centred: bool = False

    @property
    def key(self) -> Any:
        return (self.u, self.v, self.sides, self.match, self.centred)

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.u.shape, *(self.v.shape[i] for i in free_axes(self.match)))

    def replace(self, **changes: Any) -> Request:
        return dataclasses.replace(self, **changes)

    def unmatched(self, split: frozenset[int]) -> Request:
        return self.replace(match=tuple(None if i in split else m for i, m in enumerate(self.match)))

    def between(self, a: tp.Value, b: tp.Value, ends: tuple[int, int], *, centred: bool = False) -> Request:
        """The same positions for other values, of both sides or of one (there at equal positions)."""
        if ends == (0, 1):
            return Request(a, b, self.sides, self.match, centred)
        side = self.sides[ends[0]]
        return Request(a, b, (side, side), same_positions(a), centred)


def same_positions(u: tp.Value) -> Match:
    """Both sides at the same positions."""
    return tuple(range(len(u.shape)))


def complete(u: tp.Value, v: tp.Value, sides: tuple[int, int]) -> Request:
    """All positions of both."""
    return Request(u, v, sides, (None,) * len(v.shape))
