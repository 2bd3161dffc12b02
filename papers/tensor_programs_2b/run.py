"""Tensor Programs IIb (Yang & Littwin 2021): networks of any architecture follow kernel gradient descent.

    python papers/tensor_programs_2b/run.py [--widths 64 128 256 512] [--steps 20] [--only MLP GRU] [--again]

prints, for six architectures and two losses, the largest distance over the steps of stochastic gradient descent between a
network and the limit started at the network's own f_0, on the same minibatches, and how far the network's tangent kernel
drifts; writes both to `docs/tables`, and draws them against the width into `docs/_static`. Every architecture, loss and width is kept in
`.parts`: a run that is stopped goes on where it was, `--again` trains anew, and `--finished` shows what there is and trains nothing.
"""

import argparse
import functools
import sys
import time
from pathlib import Path

import jax
import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # `kept`

from descent import Course, Limit, courses, task  # noqa: E402
from kept import Kept, placed, report, table  # noqa: E402

import widelimit as wl  # noqa: E402
from networks import NETWORKS  # noqa: E402
from widelimit import plot  # noqa: E402

DOCS = HERE.parents[1] / "docs"

LOSSES = {"squared error": wl.squared_error, "cross-entropy": wl.cross_entropy}
MEMBERS = {64: 16, 128: 12, 256: 8, 512: 6, 1024: 4, 2048: 3}
Results = dict[str, dict[int, Course]]


def main() -> None:
    options = _options()
    kept = Kept(HERE / ".parts", again=options.again)
    results = {name: measure(kept, name, options) for name in options.only or NETWORKS}
    results = {name: by_loss for name, by_loss in results.items() if all(map(len, by_loss.values()))}
    for what, title in (("distance", "max over steps of |f_network - f_kernel| (rms)"), ("drift", "drift of the NTK")):
        print(f"\n{title}")
        report(options.out / "tables" / f"tensor-programs-2b-{what}.md", rows(results, options.widths, what))
    draw(results, placed(options.out / "_static" / "tensor-programs-2b.png"))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256, 512, 1024, 2048])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--only", nargs="+", choices=list(NETWORKS))
    parser.add_argument("--out", type=Path, default=DOCS, help="folder with `_static` and `tables`")
    parser.add_argument("--again", action="store_true", help="train anew what an earlier run has kept")
    parser.add_argument("--finished", action="store_true", help="train nothing, show what earlier runs have kept")
    return parser.parse_args()


def measure(kept: Kept, name: str, options: argparse.Namespace) -> Results:
    """The courses of one architecture, by loss and width."""
    start, net, job = time.perf_counter(), NETWORKS[name](), task(options.steps)
    limit = functools.cache(lambda: Limit(net, job.x))  # not needed where all is kept

    def course(loss: str, width: int) -> Course | None:
        how = {"loss": LOSSES[loss], "width": width, "members": MEMBERS.get(width, 4), "key": jax.random.key(0)}
        settings = {"loss": loss, "width": width, "members": how["members"], "steps": options.steps}
        if options.finished and not kept.has(name, settings):
            return None
        return Course(**kept(name, settings, lambda: courses(net, limit(), job, **how)._asdict()))

    courses_of = {loss: {width: course(loss, width) for width in options.widths} for loss in LOSSES}
    found = {loss: {n: one for n, one in by_width.items() if one} for loss, by_width in courses_of.items()}
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


def rows(results: dict[str, Results], widths: list[int], what: str) -> str:
    """The means over networks, and their exponent."""
    lines, widths = [], [n for n in widths if any(n in w for by_loss in results.values() for w in by_loss.values())]
    for name, by_loss in results.items():
        for loss, by_width in by_loss.items():
            slope, error = exponent(by_width, what)
            means = (f"{getattr(by_width[n], what).mean():.4f}" if n in by_width else "–" for n in widths)
            lines.append([name, loss, *means, f"{slope:+.2f} ± {error:.2f}"])
    return table(["network", "loss", *map(str, widths), "exponent"], lines)


def draw(results: dict[str, Results], path: Path) -> None:
    """One panel an architecture."""
    with plot.style():
        figure = plot.figure(9.4, 5.8)
        panels = figure.subplots(2, 3, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, (name, by_loss) in zip(panels, results.items(), strict=False):
            _panel(axes, name, by_loss)
        widths = sorted({n for by_loss in results.values() for by_width in by_loss.values() for n in by_width})
        for axes in panels[: len(results)]:
            plot.width_axis(axes, widths)
        for axes in panels[len(results) :]:
            axes.set_visible(False)
        for axes in panels[:3]:
            axes.set_xlabel("")
        panels[0].set_yscale("log")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncol=3)
        plot.save(figure, path)


def _panel(axes, name: str, by_loss: Results) -> None:
    looks = {"squared error": (plot.BLUE, "o"), "cross-entropy": (plot.ORANGE, "s")}
    for loss, by_width in by_loss.items():
        widths, (colour, marker) = list(by_width), looks[loss]
        for what, line, label in (("distance", "-", "distance from the limit"), ("drift", "--", "drift of the NTK")):
            means = [getattr(course, what).mean() for course in by_width.values()]
            errors = [_error(getattr(course, what)) for course in by_width.values()]
            look = {"fmt": line + marker, "color": colour, "alpha": 1 if line == "-" else 0.5, "markersize": 4}
            axes.errorbar(widths, means, errors, label=f"{label}, {loss}", **look)
    first = max(by_width[widths[0]].distance.mean() for by_width in by_loss.values())
    last = min(by_width[widths[0]].drift.mean() for by_width in by_loss.values())
    plot.slope_guide(axes, widths, 1.4 * first, -0.5, "width$^{-1/2}$")
    plot.slope_guide(axes, widths, last / 1.4, -1, "width$^{-1}$")
    axes.set_title(name)


if __name__ == "__main__":
    main()
