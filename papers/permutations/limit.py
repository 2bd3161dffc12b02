"""The limit's mean and covariance: against reference numbers, by two ways, and the sign at every input."""

import json
import math
import os
from pathlib import Path

import jax
import numpy as np

from widelimit import exact

GOLDEN = Path(os.environ.get("WIDELIMIT_GOLDEN", Path(__file__).resolve().parents[3] / "shared" / "golden"))
TIMES = (0.0, 0.3, 5.0, math.inf)


def against_reference() -> None:
    path = GOLDEN / "permutations.json"
    if not path.is_file():
        print(f"reference numbers: none at {path} (set WIDELIMIT_GOLDEN to their folder); skipped")
        return
    rows = json.loads(path.read_text())["rows"]
    worst = max(_difference(row) for row in rows)
    print(f"reference numbers: {len(rows)} rows, mean and variance differ by at most {worst:.1e}")
    assert worst < 1e-10


def _difference(row: dict) -> float:
    k, ones = row["k"], row["s"]
    task, x = exact.Permutation(k, range(k)), np.arange(k) < ones
    mean = task.mean(x, regime=row["mode"])
    pairs = [(mean[0], row["mean_set"]), (task.variance(x, regime=row["mode"]), row["var"])]
    if ones < k:
        pairs.append((mean[-1], row["mean_unset"]))
    return max(abs(ours - theirs) for ours, theirs in pairs)


def two_ways(k: int, key: jax.Array) -> None:
    """The closed form, and `wl.limit` of the network's code with `wl.train`, at several times."""
    task, x = exact.Permutation.random(k, key=key), exact.all_inputs(k)
    for regime in ("ntk", "last"):
        fit = task.fit(regime=regime)
        worst = 0.0
        for t in TIMES:
            general = fit(task.normalise(x), t=t)
            mean, covariance = task.mean(x, t=t, regime=regime), task.covariance(x, t=t, regime=regime)
            differences = np.abs(general.mean - mean).max(), np.abs(general.covariance - covariance).max()
            worst = max(worst, *map(float, differences))
        print(
            f'two ways, k = {k}, "{regime}": mean and covariance at {len(x)} inputs, t = {TIMES}: differ by at most {worst:.1e}'
        )
        assert worst < 1e-10


def signs(largest: int, wide: int, key: jax.Array) -> None:
    """Every input of every k up to `largest`, then 10⁴ random ones of each k up to `wide`."""
    seen = wrong = 0
    for k in range(2, wide + 1):
        keys = jax.random.split(jax.random.fold_in(key, k))
        task = exact.Permutation.random(k, key=keys[0])
        x = exact.all_inputs(k) if k <= largest else exact.random_inputs(k, 10_000, key=keys[1])
        for regime in ("ntk", "last"):
            right = (task.round(task.mean(x, regime=regime), x, regime=regime) == task.truth(x)).all(-1)
            seen, wrong = seen + len(x), wrong + int((~right).sum())
    print(f"signs: {seen:,} inputs (all for k ≤ {largest}, 10⁴ random for k ≤ {wide}, both regimes): {wrong} wrong")
    assert not wrong
