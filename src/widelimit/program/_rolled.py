"""Loops in a listing: lines that repeat, step by step of a recurrence or layer by layer, are written once."""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import Any

from widelimit.program._formula import Formula
from widelimit.program._listing import Line

_LEAST_REPEATS, _LEAST_LINES = 3, 6  # that are rolled up
_LONGEST = 120  # lines of a loop's body
_TOO_LARGE = 300  # operations of a formula that is compared
_DIGITS = re.compile(r"(\d+)")


@dataclasses.dataclass(frozen=True)
class Loop:
    """`count` repeats of the lines `start`, …, `start + length - 1`; texts count from `first` on."""

    start: int
    length: int
    count: int
    first: int

    @property
    def stop(self) -> int:
        return self.start + self.length * self.count

    def at(self, index: int) -> tuple[int, int]:
        """The repeat (from `first` on) and the line of the body that an index is."""
        repeat, line = divmod(index - self.start, self.length)
        return self.first + repeat, self.start + line


def loops(lines: tuple[Line, ...]) -> list[Loop]:
    """The repeats of a listing, those that save most lines first found, in order."""
    comparison = _Comparison(lines)
    return sorted(_loops(comparison, 0, len(lines)), key=lambda loop: loop.start)


def _loops(comparison: _Comparison, start: int, stop: int) -> list[Loop]:
    found = comparison.best(start, stop)
    if found is None:
        return []
    return [*_loops(comparison, start, found.start), found, *_loops(comparison, found.stop, stop)]


class _Comparison:
    """Which lines are the same up to a shift of what they read and a step of the numbers in their texts."""

    def __init__(self, lines: tuple[Line, ...]):
        self.lines = lines
        self.index = {id(line.node): i for i, line in enumerate(lines)}
        self.tokens = [_tokens(line) for line in lines]

    def best(self, start: int, stop: int) -> Loop | None:
        found = [
            (count, length, a)
            for length in range(1, min(_LONGEST, (stop - start) // _LEAST_REPEATS) + 1)
            for a in range(start, stop - _LEAST_REPEATS * length + 1)
            if (count := self._repeats(a, length, stop)) >= _LEAST_REPEATS and count * length >= _LEAST_LINES
        ]
        if not found:
            return None
        count, length, a = max(found, key=lambda p: ((p[0] - 1) * p[1], -p[1], -p[2]))
        return Loop(a, length, count, self._first(a, length))

    def _repeats(self, a: int, length: int, stop: int) -> int:
        i = a
        while i + length < stop and (step := self.step(i, length)) is not None:
            if i - a >= length and step != self.step(i - length, length):
                break
            i += 1
        return (i - a) // length + 1

    def _first(self, a: int, length: int) -> int:
        """The number that the first repeat has in the code, where one counts up."""
        steps = [n for i in range(a, a + length) for n in self._numbered(i, length)]
        return next((n for n, step in steps if step == 1), 1)

    def _numbered(self, i: int, length: int) -> list[tuple[int, int]]:
        numbers = [int(n) for kind, x in self.tokens[i] if kind == "text" for n in _DIGITS.findall(x)]
        steps = [s for x in self.step(i, length) or () if isinstance(x, tuple) for s in x]
        return list(zip(numbers, steps, strict=True))

    @functools.cache  # noqa: B019 (it lives as long as one listing is printed)
    def step(self, i: int, length: int) -> tuple[Any, ...] | None:
        """From line i to the line `length` later: what moves, by how much; None where they are not alike."""
        one, other = self.lines[i], self.lines[i + length]
        if (one.kind, one.shape, one.note) != (other.kind, other.shape, other.note):
            return None
        if abs(one.amplitude - other.amplitude) > 1e-6 * abs(one.amplitude):
            return None
        a, b = self.tokens[i], self.tokens[i + length]
        if len(a) != len(b):
            return None
        steps = [self._token_step(x, y, length) for x, y in zip(a, b, strict=True)]
        return None if None in steps else tuple(steps)

    def _token_step(self, x: tuple[str, Any], y: tuple[str, Any], length: int) -> Any:
        if x[0] != y[0]:
            return None
        if x[0] == "text":
            return _text_step(x[1], y[1])
        if x[0] != "variable":
            return 0 if x[1] == y[1] else None
        shift = self.index.get(id(y[1]), -1) - self.index.get(id(x[1]), -1)
        if shift == 0:
            return 0 if x[1] is y[1] else None
        return shift if shift == length else None


def _text_step(x: str, y: str) -> tuple[int, ...] | None:
    a, b = _DIGITS.split(x), _DIGITS.split(y)
    if a[::2] != b[::2]:
        return None
    return tuple(int(n) - int(m) for m, n in zip(a[1::2], b[1::2], strict=True))


def _tokens(line: Line) -> list[tuple[str, Any]]:
    """A formula as a row of operations, variables, numbers and texts."""
    if line.formula.size(_TOO_LARGE) >= _TOO_LARGE:
        return [("operation", id(line))]
    return [("operation", line.kind), *_read(line.formula)]


def _read(formula: Formula) -> list[tuple[str, Any]]:
    match formula.operation, formula.args:
        case "variable", (node,):
            return [("variable", node)]
        case "number", (value,):
            return [("number", value)]
        case "words", (text,):
            return [("text", text)]
        case "matmul", (weight, h):
            return [("text", weight), *_read(h)]
        case "index", (a, index):
            return [*_read(a), ("text", index)]
    own = tuple(a for a in formula.args if not isinstance(a, Formula))
    parts = [token for part in formula.parts for token in _read(part)]
    return [("operation", (formula.operation, own, len(formula.parts))), *parts]
