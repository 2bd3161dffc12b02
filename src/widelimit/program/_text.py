"""A listing as text: one line a variable, loops written once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from widelimit.program import _formula as f
from widelimit.program._listing import Line, Listing
from widelimit.program._rolled import Loop, loops

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_LONG = 100  # characters of a formula, beyond which only what it is of is written
_DIGITS = re.compile(r"(\d+)")


class Row(NamedTuple):
    """One line of text in its columns: the kind, the definition, shape and notes, the place in the code."""

    kind: str
    text: str
    note: str
    where: str


def rows(listing: Listing, factors: dict[str, bool], *, rolled: bool = True) -> list[Row]:
    """The program's lines; `factors` says which parameters' uses differ in their factor, which is then written."""
    return _Writer(listing, factors, loops(listing.lines) if rolled else []).rows()


class _Writer:
    def __init__(self, listing: Listing, factors: dict[str, bool], found: list[Loop]):
        self.listing, self.factors, self.loops = listing, factors, found
        self.index = {id(line.node): i for i, line in enumerate(listing.lines)}
        self.inputs = {k: name for k, name in listing.names.items() if k not in self.index}
        self.bodies = {i: loop for loop in found for i in range(loop.start, loop.stop)}
        self.short: dict[int, str] = {}
        self._number()

    def _number(self) -> None:
        """Names, those of a loop's body counted once."""
        counts: dict[str, int] = {}
        for i, line in enumerate(self.listing.lines):
            loop = self.bodies.get(i)
            if loop is None or i < loop.start + loop.length:
                counts[line.letter] = counts.get(line.letter, 0) + 1
                self.short[i] = line.letter + str(counts[line.letter]).translate(_SUBSCRIPTS)

    def rows(self) -> list[Row]:
        starts = {loop.start: loop for loop in self.loops}
        found: list[Row] = []
        i = 0
        while i < len(self.listing.lines):
            if i in starts:
                found += self._repeated(starts[i])
                i = starts[i].stop
            else:
                found.append(self._row(i, None))
                i += 1
        return [*found, Row("output", self.listing.output.text(self.name), "", "")]

    def _repeated(self, loop: Loop) -> list[Row]:
        body = [self._row(i, loop) for i in range(loop.start, loop.start + loop.length)]
        last = loop.first + loop.count - 1
        carried = ", ".join(self._carried(loop))
        head = Row(f"for t = {loop.first}, …, {last}:", "", f"from {carried}" if carried else "", "")
        return [head, *(row._replace(kind="  " + row.kind) for row in body)]

    def _carried(self, loop: Loop) -> list[str]:
        """What the first repeats read from before the loop: x₂[0] = x₁."""
        found: dict[str, None] = {}
        for i in range(loop.start, loop.start + loop.length):
            for node in self.listing.lines[i].reads:
                j = self.index.get(id(node))
                if j is not None and j < loop.start and self._moves(loop, i, node):
                    repeat, line = loop.at(j)
                    found[f"{self.short[line]}[{f.written(repeat)}] = {self.name(node)}"] = None
        return list(found)

    def _moves(self, loop: Loop, i: int, node: Any) -> bool:
        """Whether a variable that line i reads is another one in the next repeat."""
        later = {self.index.get(id(n)) for n in self.listing.lines[i + loop.length].reads}
        return self.index[id(node)] + loop.length in later

    def name(self, node: Any) -> str:
        """A variable as it is called outside of loops."""
        i = self.index.get(id(node))
        if i is None:
            return self.inputs[id(node)]
        if i not in self.bodies:
            return self.short[i]
        repeat, line = self.bodies[i].at(i)
        return f"{self.short[line]}[{repeat}]"

    def _name_in(self, loop: Loop, i: int, node: Any) -> str:
        j = self.index.get(id(node))
        if j is None or not self._moves(loop, i, node):
            return self.name(node)
        repeat, line = loop.at(j)
        return f"{self.short[line]}[{_in_t(repeat - loop.first)}]"

    def _row(self, i: int, loop: Loop | None) -> Row:
        line = self.listing.lines[i]
        formula = self._with_factor(line)
        if loop is not None:
            formula = _counted(formula, self._with_factor(self.listing.lines[i + loop.length]), loop.first)
        name = self.short[i] + ("[t]" if loop else "")
        text = formula.text(lambda node: self._name_in(loop, i, node) if loop else self.name(node))
        if len(text) > _LONG:
            text = self._abbreviated(line, loop, i)
        shape = f"[{', '.join(map(str, line.shape))}]" if line.shape else ""
        return Row(line.kind, f"{name} := {text}", " ".join(filter(None, (shape, line.note))), line.where)

    def _with_factor(self, line: Line) -> f.Formula:
        if line.weight is None:
            return line.formula
        c = line.amplitude if self.factors.get(line.weight.path) else (-1.0 if line.amplitude < 0 else 1.0)
        return f.times(f.number(c), line.formula)

    def _abbreviated(self, line: Line, loop: Loop | None, i: int) -> str:
        """ψ of what it reads, and the operations that ψ is made of."""
        names = [self._name_in(loop, i, v) if loop else self.name(v) for v in line.reads]
        calls = dict.fromkeys(str(p.args[0]) for p in line.formula.walk() if p.operation == "call")
        return f"ψ({', '.join(names)}),  ψ of {' '.join(calls) or 'products'}"


def _counted(one: f.Formula, other: f.Formula, first: int) -> f.Formula:
    """A formula with the numbers in its texts that change from one repeat to the next written in t."""
    match one.operation, one.args, other.args:
        case "words", (text,), (later,):
            return f.words(_in_texts(text, later, first, braces=True))
        case "matmul", (weight, h), (later, g):
            return f.applied(_in_texts(weight, later, first, braces=True), _counted(h, g, first))
        case "index", (a, index), (b, later):
            return f.indexed(_counted(a, b, first), _in_texts(index, later, first, braces=False))
    args = (_counted(a, b, first) if isinstance(a, f.Formula) else a for a, b in zip(one.args, other.args, strict=True))
    return f.Formula(one.operation, tuple(args))


def _in_texts(text: str, later: str, first: int, *, braces: bool) -> str:
    parts, after = _DIGITS.split(text), _DIGITS.split(later)
    for k in range(1, len(parts), 2):
        step = int(after[k]) - int(parts[k])
        if step:
            counted = _in_t(int(parts[k]) - step * first, step)
            parts[k] = f"{{{counted}}}" if braces else counted
    return "".join(parts)


def _in_t(offset: int, step: int = 1) -> str:
    factor = {1: "t", -1: "−t"}.get(step, f"{step}t")
    return factor if offset == 0 else f"{factor}{'+' if offset > 0 else '−'}{abs(offset)}"


def aligned(found: Sequence[Row]) -> list[str]:
    """Rows as lines of text with their columns one below the other."""
    kinds = max((len(r.kind) for r in found if r.text), default=0)
    texts = max((len(r.text) for r in found), default=0)
    notes = max((len(r.note) for r in found if r.text), default=0)
    return [_line(r, kinds, texts, notes) for r in found]


def _line(row: Row, kinds: int, texts: int, notes: int) -> str:
    if not row.text:
        return f"{row.kind}  {row.note}".rstrip()
    return f"{row.kind:<{kinds}}  {row.text:<{texts}}  {row.note:<{notes}}  {row.where}".rstrip()
