"""The table of rules: which primitive is read by which rule, and which are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

RULES: dict[str, Callable[..., Any]] = {}
REFUSED: dict[str, str] = {}


def rule(*names: str) -> Callable[[Callable], Callable]:
    """Register a rule for primitives: `rule(step, *operands)` gives the outputs (one, or a list)."""

    def register(fn: Callable) -> Callable:
        RULES.update({name: fn for name in names})
        return fn

    return register


def refuse(reason: str, names: str) -> None:
    """Primitives (separated by blanks) that no rule can read, with the reason; it ends "the primitive `x` acts on …: "."""
    REFUSED.update({name: reason for name in names.split()})
