"""Maps on positions as something to read: an index, a function's name, or nothing where the shape says it all."""

from __future__ import annotations

import math

from widelimit.program._formula import Formula, call, indexed, mixed_by
from widelimit.program._maps import AxisMap

_SILENT = ("identity", "spread", "reshape", "convert", "read")
_FEW = 4  # positions that are listed


def rearranges_only(maps: tuple[AxisMap, ...]) -> bool:
    """Whether positions are only picked, repeated and moved: then an index, or nothing, is what is written."""
    return all(m.matrix is None and _name(m) in (*_SILENT, "take", "pick", "reverse") for m in maps)


def mapped(a: Formula, maps: tuple[AxisMap, ...], matrices: list[Formula]) -> Formula:
    """The image of a formula under maps; `matrices` are those of the maps that have one."""
    given = iter(matrices)
    a = indexed(a, _index(maps))
    for name in dict.fromkeys(_function(m) for m in maps if m.matrix is None):
        a = call(name, a) if name and a.args[0] != name else a
    for m in maps:
        a = a if m.matrix is None else mixed_by(next(given), a)
    return a


def _name(m: AxisMap) -> str:
    return str(m.key[0] if isinstance(m.key, tuple) else m.key)


def _function(m: AxisMap) -> str:
    name = _name(m)
    if name in (*_SILENT, "take", "pick", "reverse"):
        return ""
    return {"sum": "Σ", "pool": "pool"}.get(name, name)


def _index(maps: tuple[AxisMap, ...]) -> str:
    """Which positions are read along each axis."""
    read = {m.inputs[0]: _positions(m) for m in maps if len(m.inputs) == 1}
    rank = 1 + max((i for m in maps for i in m.inputs), default=-1)
    parts = [read.get(i, ":") for i in range(rank)]
    while parts and parts[-1] == ":":
        parts.pop()
    return ", ".join(parts)


def _positions(m: AxisMap) -> str:
    name = _name(m)
    if name == "reverse":
        return "::-1"
    if name == "take":
        _, start, limit, stride, dropped = m.key
        return str(start) if dropped else f"{start}:{limit}" + (f":{stride}" if stride != 1 else "")
    if name == "pick":
        indices = list(map(str, m.key[1]))
        return f"[{', '.join(indices if len(indices) <= _FEW else [*indices[: _FEW - 1], '…'])}]"
    return ":"


def count(shape: tuple[int, ...]) -> str:
    """Positions as `8×8`."""
    return "×".join(map(str, shape)) if shape else str(math.prod(shape))
