"""The paper's figure: how many networks an ensemble needs, against the number of bits."""

from functools import partial
from itertools import combinations

import numpy as np
import published

from widelimit import exact
from widelimit.plot import EnsembleSizes

BITS = range(2, 31)
MANY = (5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000, 1500, 2000, 3000)
FITTED = [k >= 200 for k in MANY]


def sizes(trials: int, seed: int) -> EnsembleSizes:
    generator = np.random.default_rng(seed)
    count = partial(exact.ensemble_size, delta=published.FAILURE)
    regimes = ("ntk", "last")
    bounds = {r: [count(k, inputs=published.TEST_INPUTS, regime=r) for k in BITS] for r in regimes}
    exactly = {r: [count(k, method="exact", regime=r) for k in BITS] for r in regimes}
    simulated = {r: np.stack([simulate(k, r, trials, generator) for k in BITS], -1) for r in regimes}
    growth = {
        f"{'one input' if which == 'one' else 'all inputs'}, {label}": [count(k, inputs=which, **how) for k in MANY]
        for which in ("one", "all")
        for label, how in (
            ("bound", {"method": "bound"}),
            ("exact", {"method": "exact"}),
            ("midpoint", {"method": "exact", "threshold": "midpoint"}),
        )
    }
    theirs = list(published.NETWORKS_90), list(published.NETWORKS_90.values())
    fits = {label: _fit(label, counts) for label, counts in growth.items()}
    return EnsembleSizes(BITS, bounds, exactly, simulated, theirs, MANY, growth, fits)


def simulate(k: int, regime: str, trials: int, generator: np.random.Generator) -> np.ndarray:
    """Networks drawn from the limit's Gaussian process are added up until 9 of 10 inputs of two ones are exact.

    As in the published experiment, but over all such inputs. The sum of n draws is Gaussian, so it is drawn at sizes 5 % apart.
    """
    task = exact.Permutation(k, range(k))
    x = np.zeros((k * (k - 1) // 2, k), bool)
    for row, pair in zip(x, combinations(range(k), 2), strict=True):
        row[list(pair)] = True
    values, vectors = np.linalg.eigh(task.covariance(x, regime=regime))
    root = (vectors * np.sqrt(np.maximum(values, 0))).astype(np.float32)
    mean, total, before = task.mean(x, regime=regime), np.zeros((trials, *x.shape), np.float32), 0
    found = np.zeros(trials, int)
    for size in _grid(exact.ensemble_size(k, published.FAILURE, method="exact", regime=regime)):
        noise = root @ generator.standard_normal(total.shape, np.float32)
        total += mean * (size - before) + np.sqrt(size - before) * noise
        right = ((total > 0) == x).all(-1).mean(-1) >= 1 - published.FAILURE
        found = np.where((found == 0) & right, size, found)
        before = size
        if found.all():
            return found
    raise RuntimeError(f"k = {k}: no size on the grid sufficed")


def _grid(expected: int) -> np.ndarray:
    return np.unique(np.rint(np.geomspace(max(1, expected / 30), 30 * expected, 140)).astype(int))


def _fit(label: str, counts: list[int]) -> str:
    ((name, scale),) = _SCALES[label]
    return f"{counts[-1] / scale(MANY[-1]):.2g} {name} (slope {exponent(counts):.2f})"


def exponent(counts: list[int]) -> float:
    """Log-log slope from k = 200 on."""
    return float(np.polyfit(np.log(np.array(MANY)[FITTED]), np.log(np.array(counts)[FITTED]), 1)[0])


def show(result: EnsembleSizes) -> None:
    print(
        "\nNetworks until one input of two ones is right in 9 of 10 (bound: 1,000 such inputs at once, as the paper's)"
    )
    print(f"{'':>4} | {'both layers train (NTK)':^35} | {'last layer trains':^27} | published")
    print(
        f"{'k':>4} | {'bound':>7} {'paper':>7} {'exact':>7} {'simulated':>11} | {'bound':>7} {'exact':>7} {'simulated':>11} | {'count':>9}"
    )
    for place, k in enumerate(BITS):
        if k in published.BOUND:
            ntk, last = (
                (result.bound[r][place], result.exact[r][place], f"{np.median(result.simulated[r][:, place]):.0f}")
                for r in ("ntk", "last")
            )
            print(
                f"{k:>4} | {ntk[0]:>7} {published.BOUND[k]:>7} {ntk[1]:>7} {ntk[2]:>11} | {last[0]:>7} {last[1]:>7} {last[2]:>11} | "
                f"{published.NETWORKS_90[k]:>9}"
            )
    _which_regime(result)
    _growth(result)


def _which_regime(result: EnsembleSizes) -> None:
    chosen = [place for place, k in enumerate(BITS) if k >= 6]
    theirs = np.array([published.NETWORKS_90[BITS[place]] for place in chosen])
    for regime in ("ntk", "last"):
        middle = np.median(result.simulated[regime], 0)[chosen]
        print(f'published / simulated "{regime}", k ≥ 6: median ratio {np.median(theirs / middle):.2f}')
    print("mean squared error at the published size (means, and variance over N), published beside both regimes:")
    for k, theirs in published.ERRORS_90.items():
        ours = (f"{squared_error(k, published.NETWORKS_90[k], r):.6f}" for r in ("ntk", "last"))
        print("  k = {:>2}: published {:.6f}, ntk {}, last {}".format(k, theirs, *ours))


def squared_error(k: int, size: int, regime: str) -> float:
    """Expected mean squared error of the average of `size` networks at an input of two ones; their target is x̂/√2."""
    task, x = exact.Permutation(k, range(k)), np.arange(k) < 2
    mean, variance = task.mean(x, regime=regime), task.variance(x, regime=regime)
    return float(((mean - task.normalise(x)) ** 2).mean() + variance / size)


def _growth(result: EnsembleSizes) -> None:
    print(f"\nGrowth, both layers trained, δ = {published.FAILURE} (slopes from k = 200 to {MANY[-1]})")
    for label, counts in result.growth.items():
        at = {k: count for k, count in zip(MANY, counts, strict=True)}
        k = MANY[-1]
        ratios = ", ".join(
            f"N/({name}) = {at[small] / scale(small):.3g} → {at[k] / scale(k):.3g}"
            for name, scale in _SCALES[label]
            for small in (500,)
        )
        print(
            f"  {label:<22} N(10) = {at[10]:>6,}, N({k}) = {at[k]:>13,}, slope {exponent(counts):.3f}; from k = 500 on {ratios}"
        )


_LOG = ("log k", lambda k: np.log(k))
_K_LOG = ("k log k", lambda k: k * np.log(k))
_SQUARE = ("k²", lambda k: k**2)
_LINEAR = ("k", lambda k: k)
_SCALES = {
    "one input, bound": [_K_LOG],
    "one input, exact": [_K_LOG],
    "one input, midpoint": [_LOG],
    "all inputs, bound": [_SQUARE],
    "all inputs, exact": [_K_LOG],
    "all inputs, midpoint": [_LINEAR],
}
