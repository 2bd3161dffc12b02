"""Walking a Tensor Program: what each value is computed from."""

from __future__ import annotations

from typing import Any

from widelimit.program._known import Apply, Moment, Slope
from widelimit.program._value import Given, Image, Pointwise, Scaled, Value


def reachable(output: Value) -> list[Value]:
    """Every value the output is made of, in the order of computation."""
    return [node for node in steps(output) if isinstance(node, Value)]


def steps(*roots: Any) -> list[Any]:
    """Every value and known array that the roots are computed from, and the roots, in the order of computation."""
    order: dict[int, Any] = {}
    stack, seen = [(root, False) for root in reversed(roots)], set()
    while stack:
        node, ready = stack.pop()
        if ready:
            order[id(node)] = node
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((part, False) for part in reversed(ingredients(node)))
    return list(order.values())


def pass_in_moments(output: Value) -> None:
    """Let gradients pass where they are stopped inside Moments alone: in the limit no derivative goes through a Moment.

    So does power iteration (spectral normalisation) stop them: what it makes of a weight's vectors enters a norm only.
    """
    path, stack = {id(output): output}, [output]
    while stack:
        parts = [p for p in stack.pop().parts if id(p) not in path]
        path.update((id(p), p) for p in parts)
        stack += parts
    for value in reachable(output):
        vars(value).pop("_stopped", None)  # what `is_stopped` has kept
        if isinstance(value, Pointwise) and value.name == "stop_gradient" and id(value) not in path:
            vars(value).update(name="copy", fn=lambda a: a)  # a node is known by its identity, which stays


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
        case Slope():
            return [node.of, node.by]
        case Value():
            return list(node.parts)
    return []
