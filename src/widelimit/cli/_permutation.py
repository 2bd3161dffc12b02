"""Exact learning of a permutation, live: the limit, how many networks it takes, and that many real networks."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, PRNGKeyArray
from numpy import ndarray

from widelimit.exact import (
    Average,
    Ensemble,
    Permutation,
    all_inputs,
    ensemble_size,
    failure_probability,
    random_inputs,
)

from ._extras import require
from ._stages import Stages, explain, say

_ALL = 12  # bits up to which every input is tested
_SAMPLE = 4095
_THRESHOLDS = ("zero", "midpoint")
_PURPOSES = ("order", "inputs", "networks")


@dataclass(frozen=True)
class Request:
    """The options of `widelimit permutation`."""

    k: int
    delta: float
    width: int
    seed: int

    def key(self, purpose: str) -> PRNGKeyArray:
        return jax.random.fold_in(jax.random.key(self.seed), _PURPOSES.index(purpose))


def run(request: Request) -> None:
    """All stages, printed, with a verdict at the end.

    Raises ImportError that names the packages missing, ValueError for a `delta` that is no probability.
    """
    require(("tqdm",), command="widelimit permutation", extra="cli")
    sizes = {kind: _size(request, kind) for kind in _THRESHOLDS}  # refuses what cannot be before anything else
    stages = Stages()
    task = Permutation.random(request.k, key=request.key("order"))
    with stages("Task"):
        x = _inputs(request)
        _say_task(task, x)
    with stages("Limit"):
        _say_limit(task)
        _say_agreement(task, x)
    with stages("Ensemble size"):
        _say_sizes(request)
    with stages("Real networks"):
        averages = _train(request, task, x, sizes)
    _say_verdict(request, averages)
    say(f"\n{stages.total:.0f} s: {stages}")


def _size(request: Request, threshold: Any) -> int:
    return ensemble_size(request.k, request.delta, inputs="all", method="exact", threshold=threshold)


def _inputs(request: Request) -> Bool[ndarray, "n k"]:
    if request.k <= _ALL:
        return all_inputs(request.k)
    return random_inputs(request.k, _SAMPLE, key=request.key("inputs"))


def _say_task(task: Permutation, x: Bool[ndarray, "n k"]) -> None:
    say(f"Output bit j is input bit {list(task.order)}[j].")
    tested = (
        f"all {len(x)} inputs but 0"
        if task.k <= _ALL
        else f"{len(x)} inputs, their numbers of ones uniform on 1, …, {task.k}"
    )
    explain(
        f"A two-layer ReLU network sees {task.k} training examples, the basis vectors, and is tested on {tested}. "
        "It trains by gradient descent on the squared error until that is zero."
    )


def _say_limit(task: Permutation) -> None:
    """Mean and scatter by number of ones."""
    explain("The infinitely wide network, trained to the end, by the number s of ones of the input:")
    say(f"\n{'s':>4}{'mean, set bit':>16}{'mean, unset bit':>18}{'deviation of one network':>27}")
    for ones in _shown(task.k):
        x = np.arange(task.k) < ones
        mean, truth = task.mean(x), task.truth(x)
        unset = f"{round(mean[~truth][0], 9) + 0.0:+.5f}" if ones < task.k else "–"  # no −0 of rounding
        say(f"{ones:>4}{mean[truth][0]:>+16.5f}{unset:>18}{np.sqrt(task.variance(x)):>27.5f}")


def _shown(k: int) -> list[int]:
    return list(range(1, k + 1)) if k <= 10 else [1, 2, 3, 4, 5, k // 2, k - 1, k]


def _say_agreement(task: Permutation, x: Bool[ndarray, "n k"]) -> None:
    """The sign at every input, and the same limit by the general machinery."""
    right = (task.round(task.mean(x), x) == task.truth(x)).all(-1)
    say(f"\nSign of the limit's mean: right at {right.sum()} of {len(x)} inputs.")
    some = x[:: max(1, len(x) // 200)]
    general = task.fit()(task.normalise(some))
    mean = np.abs(np.asarray(general.mean) - task.mean(some)).max()
    covariance = np.abs(np.asarray(general.covariance) - task.covariance(some)).max()
    explain(
        f"The same by wl.limit of the network's code and wl.train, at {len(some)} inputs: mean and covariance differ by at most "
        f"{mean:.1g} and {covariance:.1g} ({general.mean.dtype})."
    )


def _say_sizes(request: Request) -> None:
    say(f"Networks for an exact rounded average, but with probability {request.delta:g}:\n")
    say(f"{'':<34}{'one input':>12}{'all inputs':>12}")
    for label, how in (
        ("bound, threshold zero", {"method": "bound"}),
        ("exact count, threshold zero", {"method": "exact"}),
        ("exact count, midpoint", {"method": "exact", "threshold": "midpoint"}),
        ("last layer only, threshold zero", {"method": "exact", "regime": "last"}),
    ):
        one, every = (ensemble_size(request.k, request.delta, inputs=which, **how) for which in ("one", "all"))
        say(f"{label:<34}{one:>12,}{every:>12,}")


def _train(request: Request, task: Permutation, x: Bool[ndarray, "n k"], sizes: dict[str, int]) -> dict[str, Average]:
    """The ensemble of the size for each threshold: the smaller one is made of the first networks of the larger."""
    ensemble = Ensemble(task, max(sizes.values()), request.width, parametrisation="ntk", key=request.key("networks"))
    explain(f"{ensemble.size} networks of width {request.width}, NTK parametrisation, each from its own random start.")
    averages, done = {}, None
    for kind in sorted(sizes, key=sizes.__getitem__):
        reached = done is not None and done.members == sizes[kind]
        done = done if reached else ensemble(x, after=done, stop=sizes[kind], progress=True)
        averages[kind] = done
    say(f"Steps of gradient descent to the end: at most {done.steps}.")
    return averages


def _say_verdict(request: Request, averages: dict[str, Average]) -> None:
    say("\n── Verdict ──")
    say(
        f"{'threshold':<12}{'networks':>10}{'asked for':>12}{'inputs':>9}{'exact':>9}   hardest input, s = 2: limit, observed"
    )
    for kind, average in sorted(averages.items(), key=lambda item: item[1].members):
        right, two = average.correct(kind), average.x.sum(-1) == 2
        predicted = 1 - failure_probability(request.k, average.members, threshold=kind)[1]
        observed = f"{right[two].mean():.4f}" if two.any() else "–"
        say(
            f"{kind:<12}{average.members:>10,}{1 - request.delta:>12g}{len(right):>9,}{right.mean():>9.2%}   {predicted:.4f}, {observed}"
        )
    for kind, average in averages.items():
        wrong = int((~average.correct(kind)).sum())
        say(f"Threshold {kind}: " + ("exact at every input." if not wrong else f"wrong at {wrong} inputs."))
