"""How the uses of parameters are called: W, its transpose Wᵀ, and the blocks that are cut from it."""

from __future__ import annotations

from widelimit.program._value import MatMul, Value, Vector, Weight
from widelimit.program._walk import reachable


class Labels:
    """The names of all uses of parameters in a program."""

    def __init__(self, output: Value):
        self.orientations: dict[str, list[frozenset]] = {}
        self.blocks: dict[str, list[tuple]] = {}
        for value in reachable(output):
            if isinstance(value, MatMul | Vector):
                self._note(value.weight)

    def _note(self, weight: Weight) -> None:
        for table, key in ((self.orientations, weight.contracted), (self.blocks, weight.block)):
            known = table.setdefault(weight.path, [])
            if key not in known:
                known.append(key)

    def __call__(self, weight: Weight) -> str:
        """The path; ᵀ for the orientation that comes second; blocks are numbered where there are several."""
        blocks = self.blocks[weight.path]
        block = f"⟨{blocks.index(weight.block) + 1}⟩" if len(blocks) > 1 else ""
        second = self.orientations[weight.path].index(weight.contracted) > 0
        return f"{weight.path}{block}{'ᵀ' * second}"
