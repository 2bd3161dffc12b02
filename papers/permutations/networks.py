"""Real networks, trained by gradient descent, against the limit: bias, variance, probability of success."""

from dataclasses import dataclass, field
from itertools import combinations
from statistics import NormalDist

import jax
import numpy as np

from widelimit import exact
from widelimit.plot import RealNetworks

WIDTHS = (256, 1024, 4096, 16384)
PAIRS = {256: 1600, 1024: 800, 4096: 400, 16384: 150}
PLAIN = {256: 1600, 1024: 800, 4096: 400, 16384: 200}
SUCCESS_WIDTH = 4096
SIZES = {5: (40, 100, 205), 10: (60, 150, 333)}  # the last fails one input in ten in the limit
GROUPS = 12


@dataclass
class Task:
    """A permutation of k bits at all inputs of two ones: the hard ones."""

    k: int
    task: exact.Permutation = field(init=False)
    x: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.task = exact.Permutation.random(self.k, key=jax.random.key(self.k))
        self.x = np.zeros((self.k * (self.k - 1) // 2, self.k), bool)
        for row, pair in zip(self.x, combinations(range(self.k), 2), strict=True):
            row[list(pair)] = True

    def outputs(self, size: int, width: int, *, key: jax.Array, **how) -> np.ndarray:
        ensemble = exact.Ensemble(self.task, size, width, key=key, **{"parametrisation": "ntk"} | how)
        return np.concatenate([chunk.values for chunk in ensemble.outputs(self.x, progress=True)]).astype(float)


def networks(ks: tuple[int, ...], seed: int) -> RealNetworks:
    bias, error, variance, variance_error, curve, observed = {}, {}, {}, {}, {}, {}
    for k in ks:
        task, key = Task(k), jax.random.fold_in(jax.random.key(seed), k)
        for kind, (values, errors) in biases(task, key).items():
            bias[k, kind], error[k, kind] = values, errors
        variance[k], variance_error[k] = variances(task, key)
        shift = {kind: bias[k, kind][WIDTHS.index(SUCCESS_WIDTH)] for kind in ("set", "unset")}
        curve[k], observed[k] = success(task, shift, jax.random.fold_in(key, 99))
        standard(task, key)
    last_layer(Task(ks[0]), jax.random.key(seed))
    return RealNetworks(WIDTHS, bias, error, variance, variance_error, curve, observed)


def biases(task: Task, key: jax.Array) -> dict:
    """Mean of antithetic pairs less the limit's: what the random start adds to one network is taken out of it."""
    mean, set_ = task.task.mean(task.x), task.task.truth(task.x)
    found = {"set": ([], []), "unset": ([], [])}
    for width in WIDTHS:
        values = task.outputs(2 * PAIRS[width], width, key=jax.random.fold_in(key, width), antithetic=True)
        for kind, (centre, error) in found.items():
            where = set_ if kind == "set" else ~set_
            each = (values - mean)[:, where].mean(1)
            centre.append(each.mean())
            error.append(each.std(ddof=1) / np.sqrt(len(each)))
    for kind, (centre, error) in found.items():
        _extrapolate(task.k, kind, np.array(centre), np.array(error))
    return found


def _extrapolate(k: int, kind: str, centre: np.ndarray, error: np.ndarray) -> None:
    n = np.array(WIDTHS, float)
    slope = np.polyfit(np.log(n), np.log(np.abs(centre)), 1, w=np.abs(centre) / error)[0]
    design = np.stack([np.ones_like(n), n**-0.5, 1 / n], -1) / error[:, None]
    covariance = np.linalg.inv(design.T @ design)
    rest = (covariance @ design.T @ (centre / error))[0]
    spread = covariance[0, 0] ** 0.5
    shown = ", ".join(f"{c:+.5f} ± {e:.5f} (n = {w})" for w, c, e in zip(WIDTHS, centre, error, strict=True))
    print(f"k = {k}, {kind} bit: mean of pairs − limit's: {shown}")
    print(
        f"    falls as n^{slope:.2f}; at n = ∞ by a + b n^(-1/2) + c/n: {rest:+.5f} ± {spread:.5f}, z = {rest / spread:+.2f}"
    )


def variances(task: Task, key: jax.Array) -> tuple[list, list]:
    """Observed variance over the limit's, pooled over inputs and outputs; and z of the mean of independent networks."""
    limit, mean, set_ = task.task.variance(task.x)[:, None], task.task.mean(task.x), task.task.truth(task.x)
    ratios, errors = [], []
    for width in WIDTHS:
        values = task.outputs(PLAIN[width], width, key=jax.random.fold_in(key, width + 1))
        off = (((values - values.mean(0)) ** 2) / limit).mean((1, 2)) * len(values) / (len(values) - 1)
        ratios.append(off.mean())
        errors.append(off.std(ddof=1) / np.sqrt(len(off)))
        z = []
        for where in (set_, ~set_):
            each = (values - mean)[:, where].mean(1)
            z.append(each.mean() / each.std(ddof=1) * np.sqrt(len(each)))
        print(
            f"k = {task.k}, n = {width}: {len(values)} networks, variance / limit's {ratios[-1]:.3f} ± {errors[-1]:.3f}; "
            f"z of the mean against the limit: set {z[0]:+.1f}, unset {z[1]:+.1f}"
        )
    return ratios, errors


def success(task: Task, shift: dict[str, float], key: jax.Array) -> tuple[tuple, tuple]:
    """Ensembles of three sizes, made of groups of the same networks: how many inputs are exact.

    Predicted by the limit, and with the mean shifted by the bias that was measured at this width.
    """
    sizes, k = SIZES[task.k], task.k
    values = task.outputs(GROUPS * max(sizes), SUCCESS_WIDTH, key=key)
    truth, shares, errors = task.task.truth(task.x), [], []
    for size in sizes:
        groups = values[: len(values) // size * size].reshape(-1, size, *values.shape[1:]).mean(1)
        right = (task.task.round(groups, np.broadcast_to(task.x, groups.shape)) == truth).all(-1).mean(-1)
        shares.append(right.mean())
        errors.append(right.std(ddof=1) / np.sqrt(len(right)))
        limit, shifted = 1 - exact.failure_probability(k, size)[1], chance(task, size, shift)
        print(
            f"k = {k}, ensembles of {size:>3} networks (n = {SUCCESS_WIDTH}): exact on {shares[-1]:.3f} ± {errors[-1]:.3f} of the "
            f"inputs; predicted {limit:.3f}, with the bias of this width {shifted:.3f}"
        )
    grid = np.unique(np.rint(np.geomspace(min(sizes) / 2, 2 * max(sizes), 40)).astype(int))
    limits = [1 - exact.failure_probability(k, int(size))[1] for size in grid]
    return (grid, limits, [chance(task, size, shift) for size in grid]), (sizes, shares, errors)


def chance(task: Task, size: int, shift: dict[str, float]) -> float:
    """Φ(√N w₁/σ)² Φ(√N |w₀|/σ)ᵏ⁻² with shifted means."""
    x = task.x[0]
    mean, truth, spread = task.task.mean(x), task.task.truth(x), np.sqrt(task.task.variance(x) / size)
    above = (mean[truth][0] + shift["set"]) / spread, -(mean[~truth][0] + shift["unset"]) / spread
    return NormalDist().cdf(above[0]) ** 2 * NormalDist().cdf(above[1]) ** (task.k - 2)


def last_layer(task: Task, key: jax.Array) -> None:
    """With the last layer alone in training, the bias of the mean is smooth in 1/n."""
    mean, set_ = task.task.mean(task.x, regime="last"), task.task.truth(task.x)
    for width in (64, 256, 1024):
        values = task.outputs(6000, width, key=jax.random.fold_in(key, width), antithetic=True, layers="last")
        each = (values - mean)[:, set_].mean(1)
        error = each.std(ddof=1) / np.sqrt(len(each))
        print(
            f"k = {task.k}, last layer only, set bit, n = {width}: mean of pairs − limit's {each.mean():+.5f} ± {error:.5f}, "
            f"times n {width * each.mean():+.2f} ± {width * error:.2f}"
        )


def standard(task: Task, key: jax.Array) -> None:
    """Standard parametrisation, one learning rate: the last layer's limit, not the tangent kernel's."""
    values = task.outputs(300, 4096, key=jax.random.fold_in(key, 5), parametrisation="standard")
    set_ = task.task.truth(task.x)
    means = {kind: (values[:, where].mean(1)) for kind, where in (("set", set_), ("unset", ~set_))}
    shown = {kind: f"{each.mean():+.4f} ± {each.std(ddof=1) / np.sqrt(len(each)):.4f}" for kind, each in means.items()}
    limits = {r: task.task.mean(task.x, regime=r) for r in ("ntk", "last")}
    print(f"k = {task.k}, standard parametrisation, n = 4096: set {shown['set']}, unset {shown['unset']}")
    for regime, mean in limits.items():
        print(f'    limit "{regime}": set {mean[set_][0]:+.4f}, unset {mean[~set_][0]:+.4f}')
