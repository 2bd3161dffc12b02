"""Walking a Tensor Program: what each value is computed from."""

from __future__ import annotations

from typing import Any

from widelimit.program._known import Apply, Moment
from widelimit.program._value import Given, Image, Pointwise, Scaled, Value


def reachable(output: Value) -> list[Value]:
    """Every value the output is made of, in the order of computation."""
    order: dict[int, Value] = {}
    _visit(output, order, set())
    return list(order.values())


def _visit(x: Any, order: dict[int, Value], seen: set[int]) -> None:
    stack: list[tuple[Any, bool]] = [(x, False)]
    while stack:
        node, ready = stack.pop()
        if ready:
            if isinstance(node, Value):
                order[id(node)] = node
            continue
        if id(node) in seen:
            continue
        seen.add(id(node))
        stack.append((node, True))
        stack.extend((p, False) for p in reversed(ingredients(node)))


def ingredients(node: Any) -> list[Any]:
    """What a value or known array is computed from."""
    match node:
        case Given():
            return [node.known]
        case Scaled():
            return [node.known, node.h]
        case Pointwise():
            return list(node.operands)
        case Image():
            return [*(m.matrix for m in node.maps if m.matrix is not None), node.h]
        case Apply():
            return list(node.args)
        case Moment():
            return [v for v in (node.left, node.right) if v is not None]
        case Value():
            return list(node.parts)
    return []
