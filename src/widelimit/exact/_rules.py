"""Rules of algorithms: templates of partial bit patterns, each with the bits that it sets."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped
from numpy import ndarray

from . import _arguments
from ._arccosine import Regime
from ._basis import BasisTask, Threshold
from ._condition import Condition, condition, padding_needed

States = Shaped[Array | ndarray, "*n bits"]
Predict = Callable[[Bool[ndarray, "n k"]], Float[ndarray, "n outputs"]]
_ANY = -1


@dataclass(frozen=True, eq=False)
class Rules(BasisTask):
    """One step of an algorithm on a state of bits: each template that matches the state sets its bits of the next one.

    The network sees which templates match, a vector of k zeros and ones over the root of their number, and is trained on
    the k templates alone, one at a time (arXiv 2502.16763, version 2). A bit of the next state is the OR over the
    matching templates that set it. With the threshold zero the limit is exact where its correlation condition holds,
    see `check`; `padded` makes it hold.

    `Rules.of({"01?": "100", "1??": "011"})` reads bits from left to right: 1, 0, or ? for any.

    Args:
        templates: (rules, bits) of 1, 0 and −1 for any.
        results: (rules, bits of the next state) of 0 and 1. A bit that no rule sets is 0 after every step; it is not learnt.
        padding: training examples more, of templates that match nothing and set nothing.
        one_hot: groups of bits of which no state has two: what cannot match together by that is known to `check()`.
    """

    templates: Int[ndarray, "rules bits"]
    results: Int[ndarray, "rules next_bits"]
    padding: int = 0
    one_hot: Sequence[Sequence[int]] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        call = "`Rules(templates, results)`"
        templates, results = np.asarray(self.templates), np.asarray(self.results)
        if templates.ndim != 2 or results.ndim != 2 or len(templates) != len(results) or not len(templates):
            raise ValueError(
                f"{call}: needs as many results as templates, at least one, got shapes {templates.shape} and {results.shape}"
            )
        _holds(call, "templates", templates, (0, 1, _ANY))
        _holds(call, "results", results, (0, 1))
        if not results.any():
            raise ValueError(f"{call}: no rule sets any bit, so there is nothing to learn")
        _arguments.at_least(call, "padding", self.padding, 0)
        object.__setattr__(self, "templates", templates.astype(int))
        object.__setattr__(self, "results", results.astype(int))

    @classmethod
    def of(cls, rules: Mapping[str, str] | Iterable[tuple[str, str]]) -> "Rules":
        """Rules from text: pairs of a template, such as "1?0", and what it sets, such as "010"."""
        pairs = list(rules.items() if isinstance(rules, Mapping) else rules)
        for column, known in ((0, "10?"), (1, "10")):
            _texts([pair[column] for pair in pairs], known)
        digits = {"1": 1, "0": 0, "?": _ANY}
        return cls(
            *(np.array([[digits[each] for each in text] for text in column]) for column in zip(*pairs, strict=True))
        )

    @cached_property
    def columns(self) -> Int[ndarray, " outputs"]:
        """The bits of the next state that some rule sets: the outputs that are learnt."""
        return np.flatnonzero(self.results.any(0))

    @cached_property
    def labels(self) -> Int[ndarray, "k outputs"]:
        """What the k basis vectors are trained to: the results, and zeros for the padding."""
        return np.pad(self.results[:, self.columns], ((0, self.padding), (0, 0)))

    @property
    def k(self) -> int:
        """The number of training examples: of rules and padding."""
        return len(self.templates) + self.padding

    def match(self, states: States) -> Bool[ndarray, "*n k"]:
        """Which templates match each state. ValueError for a state that no template matches."""
        states = _arguments.bits("`rules.match(states)`", "states", states, self.templates.shape[1])
        matches = self._matching(states)
        if not matches.any(-1).all():
            lost = states[~matches.any(-1)].reshape(-1, states.shape[-1])[0]
            raise ValueError(
                f"`rules.match(states)`: no template matches the state {_text(lost)}, and the network is 0 there whatever it "
                "learnt; add a rule that matches it, if only one that sets nothing"
            )
        return matches

    def step(
        self, states: States, *, predict: Predict | None = None, threshold: Threshold = "zero", regime: Regime = "ntk"
    ) -> Bool[ndarray, "*n bits"]:
        """The next states as predicted and rounded: by the limit's mean, or by `predict`.

        `predict` maps matches (n, k) to averaged outputs (n, outputs): `lambda matches: trained(matches).mean` of a trained
        ensemble, whose `regime` is then to be given too.
        """
        matches = self.match(states)
        values = self.mean(matches, regime=regime) if predict is None else predict(matches)
        return self._next(self.round(values, matches, threshold, regime=regime))

    def true_step(self, states: States) -> Bool[ndarray, "*n bits"]:
        """The next states by the rules themselves."""
        return self._next(self.truth(self.match(states)))

    def run(self, states: States, steps: int, **how: Any) -> Bool[ndarray, "*n bits"]:
        """`step`, again and again, rounded each time; `how` is handed on to it."""
        self._iterates("run")
        for _ in range(steps):
            states = self.step(states, **how)
        return np.asarray(states, bool)

    def reached(self, states: States, steps: int) -> Bool[ndarray, "reached bits"]:
        """All different states that the rules themselves go through from `states`, these included, before the last step."""
        self._iterates("reached")
        seen = now = np.unique(np.atleast_2d(np.asarray(states, bool)), axis=0)
        for _ in range(steps - 1):
            now = np.unique(self.true_step(now), axis=0)
            seen = np.unique(np.concatenate([seen, now]), axis=0)
        return seen

    def check(self, states: States | None = None, *, regime: Regime = "ntk") -> Condition:
        """Whether the sign of the limit's mean is right at `states` or, without them, at every state there can be.

        μ_j = a β − n_j κ (s β − 1) > 0 is needed wherever a ≥ 1 of the s matching templates set bit j, which n_j templates set in
        all: its interference n_j κ (s β − 1) / (a β) must be below 1. For every state, a = 1 and s is the largest number of
        templates that can match at once, bounded from above: what holds then holds always; what does not may still hold at
        the states of interest.
        """
        return condition(self, None if states is None else np.unique(self.match(states), axis=0), regime)

    def padded(self, states: States | None = None, *, interference: float = 0.9, regime: Regime = "ntk") -> "Rules":
        """The same rules with the least padding that brings the interference of `check(states)` to at most `interference`.

        Training examples of label 0 that never match lower κ = c / (d + (k − 1) c) and nothing else; the price is a larger k.
        """
        if not 0 < interference < 1:
            raise ValueError(f"`rules.padded(...)`: `interference` must lie between 0 and 1, got {interference!r}")
        bare = replace(self, padding=0)
        matches = None if states is None else np.unique(bare.match(states), axis=0)
        return replace(self, padding=padding_needed(bare, matches, interference, regime=regime))

    @cached_property
    def conflicts(self) -> Bool[ndarray, "rules rules"]:
        """Which pairs of templates can never match one state."""
        ones, zeros = (self.templates == 1).astype(float), (self.templates == 0).astype(float)
        clash = ones @ zeros.T
        for group in self.one_hot:
            part = ones[:, list(group)]
            clash = clash + (part.sum(1)[:, None] * part.sum(1)[None, :] - part @ part.T)
        return clash + clash.T > 0

    def _matching(self, states: Bool[ndarray, "*n bits"]) -> Bool[ndarray, "*n k"]:
        ones, zeros = (self.templates == 1).astype(float), (self.templates == 0).astype(float)
        misses = (~states).astype(float) @ ones.T + states.astype(float) @ zeros.T
        return np.concatenate([misses == 0, np.zeros((*states.shape[:-1], self.padding), bool)], -1)

    def _next(self, bits: Bool[ndarray, "*n outputs"]) -> Bool[ndarray, "*n bits"]:
        states = np.zeros((*bits.shape[:-1], self.results.shape[1]), bool)
        states[..., self.columns] = bits
        return states

    def _iterates(self, method: str) -> None:
        before, after = self.templates.shape[1], self.results.shape[1]
        if before != after:
            raise ValueError(
                f"`rules.{method}(...)`: templates read {before} bits and results have {after}; iterated, they need the same"
            )


def _holds(call: str, name: str, values: ndarray, known: tuple[int, ...]) -> None:
    if not np.isin(values, known).all():
        raise ValueError(f"{call}: `{name}` must hold {', '.join(map(str, known))} only")


def _texts(column: list[str], known: str) -> None:
    lengths = {len(text) for text in column}
    if len(lengths) != 1 or not set("".join(column)) <= set(known):
        raise ValueError(
            f"`Rules.of(rules)`: needs texts of one length, of {', '.join(known)} only, got {', '.join(map(repr, column[:4]))}"
        )


def _text(bits: Bool[ndarray, " bits"]) -> str:
    return "".join("01"[int(bit)] for bit in bits)
