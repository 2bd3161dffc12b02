"""Formulas: what a variable of a Tensor Program is of others, as something to read."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from widelimit.program._known import Known

_LOOSEST, _SUM, _PRODUCT, _TIGHT = range(4)  # how tightly a formula holds together
_COMPARED = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤", "eq": "=", "ne": "≠"}
_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


@dataclasses.dataclass(frozen=True, eq=False)
class Formula:
    """An operation and what it takes: formulas, nodes of the program ("variable"), numbers and text."""

    operation: str
    args: tuple[Any, ...]

    @property
    def parts(self) -> tuple[Formula, ...]:
        return tuple(a for a in self.args if isinstance(a, Formula))

    def __hash__(self) -> int:
        """Kept, for equal parts of a formula are one object many times over."""
        made = vars(self)
        if "_hash" not in made:
            made["_hash"] = hash((self.operation, self.args))
        return made["_hash"]

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, Formula):
            return self is other
        return hash(self) == hash(other) and (self.operation, self.args) == (other.operation, other.args)

    def walk(self) -> Iterator[Formula]:
        """Its parts and theirs, each once, in the order of reading."""
        seen, stack = set(), [self]
        while stack:
            formula = stack.pop()
            if formula not in seen:
                seen.add(formula)
                yield formula
                stack.extend(reversed(formula.parts))

    def variables(self) -> list[Any]:
        """The nodes it names, each once, in the order of reading."""
        return [f.args[0] for f in self.walk() if f.operation == "variable"]

    def size(self, most: int) -> int:
        """How many operations are written, counted up to `most`."""
        total = 1
        for part in self.parts:
            if total >= most:
                break
            total += part.size(most - total)
        return total

    def text(self, name: Callable[[Any], str]) -> str:
        """As text; `name` gives the names of nodes."""
        return _Text(name).of(self)


def variable(node: Any) -> Formula:
    return Formula("variable", (node,))


def number(value: float | int) -> Formula:
    return Formula("number", (float(value),))


def words(text: str) -> Formula:
    return Formula("words", (text,))


def call(name: str, *args: Formula) -> Formula:
    return Formula("call", (name, *args))


def indexed(a: Formula, index: str) -> Formula:
    return Formula("index", (a, index)) if index else a


def applied(weight: str, h: Formula) -> Formula:
    """W h."""
    return Formula("matmul", (weight, h))


def slope(of: Formula, by: Formula) -> Formula:
    """E[∂of/∂by]."""
    return Formula("slope", (of, by))


def mixed_by(matrix: Formula, h: Formula) -> Formula:
    """A h, with a known matrix A that acts on positions."""
    return Formula("mix", (matrix, h))


def plus(*terms: Formula) -> Formula:
    flat = [t for term in terms for t in (term.args if term.operation == "sum" else (term,))]
    return flat[0] if len(flat) == 1 else Formula("sum", tuple(flat))


def times(*factors: Formula) -> Formula:
    """The product, its numbers first and multiplied, its divisors last."""
    flat = [f for factor in factors for f in (factor.args if factor.operation == "product" else (factor,))]
    above = [f.args[0] if f.operation == "quotient" else f for f in flat]
    below = [f.args[1] for f in flat if f.operation == "quotient"]
    factor = 1.0
    for f in above:
        factor *= f.args[0] if f.operation == "number" else 1.0
    rest = _powers([f for f in above if f.operation != "number"])
    front = [number(factor)] if factor != 1 or not rest else []
    top = [*front, *rest]
    product = top[0] if len(top) == 1 else Formula("product", tuple(top))
    return _softmax(product, times(*below)) if below else product


def _powers(factors: list[Formula]) -> list[Formula]:
    """Equal factors as a power."""
    counts = {f: factors.count(f) for f in dict.fromkeys(factors)}
    return [power(f, n) if n > 1 else f for f, n in counts.items()]


def power(a: Formula, exponent: float | int) -> Formula:
    return Formula("power", (a, exponent)) if exponent != 1 else a


def inverse(a: Formula) -> Formula:
    if a.operation == "quotient":
        return times(a.args[1], inverse(a.args[0])) if a.args[0] != number(1) else a.args[1]
    return number(1 / a.args[0]) if a.operation == "number" and a.args[0] else Formula("quotient", (number(1), a))


def _softmax(above: Formula, below: Formula) -> Formula:
    """exp(a − max a) / Σ exp(a − max a) by its name."""
    factors = above.args if above.operation == "product" else (above,)
    for k, f in enumerate(factors):
        if f.operation == "call" and f.args[0] == "exp" and below in (call("reduce_sum", f), call("Σ", f)):
            return times(*factors[:k], call("softmax", _unshifted(f.args[1])), *factors[k + 1 :])
    return Formula("quotient", (above, below))


def _unshifted(a: Formula) -> Formula:
    """The logits a without their maximum, which is subtracted for accuracy alone."""
    terms = a.args if a.operation == "sum" else (a,)
    return plus(*terms[:-1]) if len(terms) > 1 and terms[-1] == _minus_max(terms[:-1]) else a


def _minus_max(terms: tuple[Formula, ...]) -> Formula:
    return times(number(-1), call("reduce_max", plus(*terms)))


class _Text:
    def __init__(self, name: Callable[[Any], str]):
        self.name = name

    def of(self, f: Formula, outer: int = _LOOSEST) -> str:
        text, strength = getattr(self, f.operation)(*f.args)
        return f"({text})" if strength < outer else text

    def variable(self, node: Any) -> tuple[str, int]:
        return self.name(node), _TIGHT

    def number(self, value: float | int) -> tuple[str, int]:
        return written(value), _TIGHT if value >= 0 else _SUM

    def words(self, text: str) -> tuple[str, int]:
        return text, _TIGHT

    def index(self, a: Formula, index: str) -> tuple[str, int]:
        return f"{self.of(a, _TIGHT)}[{index}]", _TIGHT

    def matmul(self, weight: str, h: Formula) -> tuple[str, int]:
        return f"{weight} {self.of(h, _TIGHT)}", _PRODUCT

    def slope(self, of: Formula, by: Formula) -> tuple[str, int]:
        return f"E[∂{self.of(of, _TIGHT)}/∂{self.of(by, _TIGHT)}]", _TIGHT

    def mix(self, matrix: Formula, h: Formula) -> tuple[str, int]:
        return f"{self.of(matrix, _TIGHT)} {self.of(h, _TIGHT)}", _PRODUCT

    def sum(self, *terms: Formula) -> tuple[str, int]:
        text = self.of(terms[0], _SUM)
        for term in terms[1:]:
            shown = self.of(term, _SUM)
            text += f" − {shown[1:]}" if shown.startswith("−") else f" + {shown}"
        return text, _SUM

    def product(self, *factors: Formula) -> tuple[str, int]:
        first, *rest = factors
        if first == number(-1):
            return f"−{self.product(*rest)[0]}" if len(rest) > 1 else f"−{self.of(rest[0], _PRODUCT)}", _SUM
        text = self.of(first, _TIGHT if first.operation == "number" else _PRODUCT)
        for before, factor in itertools.pairwise(factors):
            sign = " " if _is_scalar(before) or _is_scalar(factor) else " ⊙ "
            text += sign + self.of(factor, _PRODUCT)
        return text, _SUM if first.operation == "number" and first.args[0] < 0 else _PRODUCT

    def quotient(self, a: Formula, b: Formula) -> tuple[str, int]:
        return f"{self.of(a, _PRODUCT)} / {self.of(b, _TIGHT)}", _PRODUCT

    def power(self, a: Formula, exponent: float | int) -> tuple[str, int]:
        whole = float(exponent).is_integer()
        raised = str(int(exponent)).translate(_SUPERSCRIPTS) if whole else f"^{exponent:.4g}"
        return f"{self.of(a, _TIGHT)}{raised}", _TIGHT

    def call(self, name: str, *args: Formula) -> tuple[str, int]:
        if name in _COMPARED and len(args) == 2:
            return f" {_COMPARED[name]} ".join(self.of(a, _SUM) for a in args), _LOOSEST
        if name == "sqrt":
            return f"√{self.of(args[0], _TIGHT)}", _TIGHT
        if name == "E":
            return f"E[{self.of(args[0])}]", _TIGHT
        return f"{name}({', '.join(map(self.of, args))})", _TIGHT


def _is_scalar(formula: Formula) -> bool:
    return all(isinstance(v, Known) for v in formula.variables())


def written(value: float | int) -> str:
    """A number as text."""
    return f"{value:.4g}".replace("-", "−").replace("inf", "∞")
