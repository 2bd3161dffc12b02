"""Algorithms as machines: rules, how numbers get in and out, and how many steps they take."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool
from numpy import ndarray

from ._arccosine import Regime
from ._basis import Threshold
from ._fields import Fields
from ._rules import Predict, Rules


@dataclass(frozen=True, eq=False)
class Machine:
    """An algorithm that a trained network executes, step by step, each rounded to bits.

    `machine(*numbers)` runs it by the limit's mean, or by an ensemble's averages with `predict`. `load(*numbers)` gives the states
    to start from, `read(states)` the results; `reference(*numbers)` is the same in plain NumPy, for comparison.
    """

    name: str
    rules: Rules
    fields: Fields
    steps: int
    load: Callable[..., Bool[ndarray, "*n bits"]]
    read: Callable[[Bool[ndarray, "*n bits"]], Any]
    reference: Callable[..., Any]

    def __call__(
        self, *numbers: Any, predict: Predict | None = None, threshold: Threshold = "zero", regime: Regime = "ntk"
    ) -> Any:
        """Results for arrays of `numbers`; see `Rules.step` for the rest."""
        how = {"predict": predict, "threshold": threshold, "regime": regime}
        return self.read(self.rules.run(self.load(*numbers), self.steps, **how))

    def states(self, *numbers: Any) -> Bool[ndarray, "reached bits"]:
        """All states that occur on the way, each once: where the network must be right."""
        return self.rules.reached(self.load(*numbers), self.steps)

    def __repr__(self) -> str:
        rules = self.rules
        return f"{self.name}: {len(rules.templates)} rules, padding {rules.padding}, {self.fields.bits} bits, {self.steps} steps"
