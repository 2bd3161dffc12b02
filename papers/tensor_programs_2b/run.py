"""Tensor Programs IIb (Yang & Littwin 2021): networks of any architecture follow kernel gradient descent.

    python papers/tensor_programs_2b/run.py [--widths 64 128 256 512] [--steps 20] [--only MLP GRU]

prints, for six architectures and two losses, the largest distance over the steps of stochastic gradient descent between a
network and the limit started at the network's own f_0, on the same minibatches, and how far the network's tangent kernel
drifts; and draws both against the width into `architectures.png` beside this file.
"""

import argparse
import time
from pathlib import Path

import jax
import numpy as np
from descent import Course, Limit, courses, task

import widelimit as wl
from networks import NETWORKS
from widelimit import plot

LOSSES = {"squared error": wl.squared_error, "cross-entropy": wl.cross_entropy}
MEMBERS = {64: 16, 128: 12, 256: 8, 512: 6, 1024: 4, 2048: 2}
Results = dict[str, dict[int, Course]]


def main() -> None:
    options = _options()
    names = options.only or list(NETWORKS)
    results = {name: measure(name, options.widths, options.steps) for name in names}
    table(results, options.widths)
    path = Path(__file__).with_name("architectures.png")
    draw(results, path)
    print(f"\ndrawn: {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256, 512, 1024, 2048])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--only", nargs="+", choices=list(NETWORKS))
    return parser.parse_args()


def measure(name: str, widths: list[int], steps: int) -> Results:
    """The courses of one architecture, by loss and width."""
    start = time.perf_counter()
    net, job = NETWORKS[name](), task(steps)
    limit = Limit(net, job.x)
    found = {
        loss: {
            width: courses(net, limit, job, loss=fn, width=width, members=MEMBERS.get(width, 4), key=jax.random.key(0))
            for width in widths
        }
        for loss, fn in LOSSES.items()
    }
    print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    return found


def exponent(by_width: dict[int, Course], what: str) -> tuple[float, float]:
    """Slope of the log mean over log width, and its standard error from the spread over the networks."""
    widths = np.log(list(by_width))
    means = np.array([getattr(course, what).mean() for course in by_width.values()])
    errors = np.array([_error(getattr(course, what)) for course in by_width.values()]) / means
    weights = (widths - widths.mean()) / ((widths - widths.mean()) ** 2).sum()
    return float(weights @ np.log(means)), float(np.sqrt(weights**2 @ errors**2))


def _error(values: np.ndarray) -> float:
    return values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else values.mean() / 2


def table(results: dict[str, Results], widths: list[int]) -> None:
    for what, title in (("distance", "max over steps of |f_network - f_kernel| (rms)"), ("drift", "drift of the NTK")):
        print(f"\n{title}\n{'':34}" + "".join(f"{w:>9}" for w in widths) + "   exponent")
        for name, by_loss in results.items():
            for loss, by_width in by_loss.items():
                slope, error = exponent(by_width, what)
                cells = "".join(f"{getattr(course, what).mean():9.4f}" for course in by_width.values())
                print(f"{name:19} {loss:14}{cells}   {slope:+.2f} ± {error:.2f}")


def draw(results: dict[str, Results], path: Path) -> None:
    """One panel an architecture."""
    with plot.style():
        figure = plot.figure(9.6, 5.6)
        panels = figure.subplots(2, 3, sharex=True, squeeze=False).ravel()
        for axes, (name, by_loss) in zip(panels, results.items(), strict=False):
            _panel(axes, name, by_loss)
        for axes in panels[len(results) :]:
            axes.set_visible(False)
        panels[0].legend(fontsize=7.5)
        plot.save(figure, path)


def _panel(axes, name: str, by_loss: Results) -> None:
    looks = {"squared error": (plot.BLUE, "o"), "cross-entropy": (plot.ORANGE, "s")}
    for loss, by_width in by_loss.items():
        widths, (colour, marker) = list(by_width), looks[loss]
        for what, line in (("distance", "-"), ("drift", "--")):
            means = [getattr(course, what).mean() for course in by_width.values()]
            errors = [_error(getattr(course, what)) for course in by_width.values()]
            label = f"{'distance' if what == 'distance' else 'NTK drift'}, {loss}"
            axes.errorbar(
                widths, means, errors, fmt=line + marker, color=colour, alpha=1 if line == "-" else 0.5, label=label
            )
    first = max(by_width[widths[0]].distance.mean() for by_width in by_loss.values())
    plot.slope_guide(axes, widths, 1.3 * first, -0.5, "width$^{-1/2}$")
    axes.set_yscale("log")
    axes.set_title(name)
    plot.width_axis(axes, widths)


if __name__ == "__main__":
    main()
