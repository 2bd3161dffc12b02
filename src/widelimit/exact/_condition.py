"""Whether unwanted correlations between templates can turn a sign over."""

from math import ceil
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ._arccosine import ORTHOGONAL, Regime, self_kernel
from ._weights import weights

if TYPE_CHECKING:
    from ._rules import Rules


class Condition(NamedTuple):
    """The worst interference found, and where: below 1, every sign is right.

    `bit` is the bit of the next state that comes nearest to being lost; `matching` is how many templates match there, s; `setting`
    how many of those set the bit, a; `templates` are the numbers of all the templates that set it, n_j of them: their
    correlation is what interferes. `everywhere` says that all states were meant, not a list of them.
    """

    interference: float
    bit: int
    matching: int
    setting: int
    templates: Int[ndarray, " n_j"]
    everywhere: bool

    @property
    def holds(self) -> bool:
        """Whether the limit's mean has the right sign at every output bit."""
        return self.interference < 1

    def __str__(self) -> str:
        where = "any state that can be" if self.everywhere else "the states given"
        verdict = "holds at" if self.holds else "may fail at" if self.everywhere else "fails at"
        return (
            f"The sign condition {verdict} {where}: interference {self.interference:.3f} (must be below 1), worst at bit {self.bit}, "
            f"set by {self.setting} of {self.matching} matching templates and by {len(self.templates)} templates in all "
            f"({_few(self.templates)})"
        )


def condition(rules: "Rules", matches: Bool[ndarray, "n k"] | None, regime: Regime) -> Condition:
    """The largest n_j κ (s β − 1) / (a β), at the matches given or for any."""
    case = _everywhere(rules) if matches is None else _cases(rules, matches)
    w = weights(rules.k, case.matching, regime=regime)
    interference = (rules.counts * np.maximum(-w.unset, 0)[:, None]) / (case.setting * w.gap[:, None])
    state, column = np.unravel_index(np.argmax(interference), interference.shape)
    return Condition(
        float(interference[state, column]),
        int(rules.columns[column]),
        int(case.matching[state]),
        int(case.setting[state, column]),
        np.flatnonzero(rules.labels[:, column]),
        matches is None,
    )


def padding_needed(rules: "Rules", matches: Bool[ndarray, "n k"] | None, most: float, *, regime: Regime) -> int:
    """The least k with n_j κ (s − 1/β) ≤ most · a everywhere, κ = c / (d + (k − 1) c), less the rules there are."""
    case = _everywhere(rules) if matches is None else _cases(rules, matches)
    beta = weights(rules.k, case.matching, regime=regime).gap  # does not depend on k
    demand = (rules.counts / case.setting * np.maximum(case.matching - 1 / beta, 0)[:, None]).max() / most
    return max(0, ceil(demand - self_kernel(regime) / ORTHOGONAL + 1) - rules.k)


class _Cases(NamedTuple):
    """s of each state, and a of its output bits; infinite where no matching template sets the bit, which is then 0 and right."""

    matching: Int[ndarray, " n"]
    setting: Float[ndarray, "n outputs"]


def _cases(rules: "Rules", matches: Bool[ndarray, "n k"]) -> _Cases:
    hits = matches.astype(float) @ rules.labels
    return _Cases(matches.sum(-1), np.where(hits > 0, hits, np.inf))


def _everywhere(rules: "Rules") -> _Cases:
    matching = np.arange(1, most_matches(rules.conflicts) + 1)
    return _Cases(matching, np.ones((len(matching), rules.outputs)))


def most_matches(conflicts: Bool[ndarray, "k k"]) -> int:
    """An upper bound on how many templates match one state: the size of a cover by groups of which only one can match."""
    groups: list[list[int]] = []
    for template, clashes in enumerate(conflicts):
        home = next((group for group in groups if clashes[group].all()), None)
        if home is None:
            groups.append(home := [])
        home.append(template)
    return len(groups)


def _few(templates: Int[ndarray, " n"]) -> str:
    shown = ", ".join(map(str, templates[:8]))
    return f"{shown}, …" if len(templates) > 8 else shown
