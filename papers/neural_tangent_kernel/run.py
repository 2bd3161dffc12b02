"""Neural Tangent Kernel (Jacot, Gabriel & Hongler 2018): the three figures of section 6.

    python papers/neural_tangent_kernel/run.py [--figures 1 2 3] [--widths1 500 2000] [--again]

prints the numbers beside the paper's, writes them to `docs/tables`, and draws the figures into `docs/_static`. Every trained network
is kept in `.parts`: a run that is stopped goes on where it was, and `--again` trains anew. The paper's widest networks have 10,000 units
a layer (200 million parameters, 8 GB of memory, minutes a network on a few idle cores): `--widths1 500 10000`,
`--widths3 100 1000 10000`.
"""

import argparse
import sys
import time
from pathlib import Path

import jax
import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # `kept`

import circle  # noqa: E402
import digits  # noqa: E402
import drawings  # noqa: E402
from kept import Kept, placed, report, table  # noqa: E402

DOCS = HERE.parents[1] / "docs"


def main() -> None:
    options = _options()
    jax.config.update("jax_enable_x64", True)
    kept = Kept(HERE / ".parts", again=options.again)
    for number in options.figures:
        start = time.perf_counter()
        {1: figure1, 2: figure2, 3: figure3}[number](options, kept)
        print(f"({time.perf_counter() - start:.0f} s)\n", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=int, nargs="+", default=[1, 2, 3], choices=[1, 2, 3])
    parser.add_argument("--widths1", type=int, nargs="+", default=[500, 2000])
    parser.add_argument("--widths2", type=int, nargs="+", default=[50, 1000])
    parser.add_argument("--widths3", type=int, nargs="+", default=[100, 300, 1000])
    parser.add_argument(
        "--examples", type=int, default=32, help="training points of figure 1; the paper gives no number"
    )
    parser.add_argument("--out", type=Path, default=DOCS, help="folder with `_static` and `tables`")
    parser.add_argument("--again", action="store_true", help="train anew what an earlier run has kept")
    return parser.parse_args()


def figure1(options: argparse.Namespace, kept: Kept) -> None:
    """Convergence of the NTK at initialisation, and its stability in training."""
    found = circle.kernels(kept, options.widths1, examples=options.examples)
    print("Figure 1: the NTK on the circle, 10 networks a width, before and after 200 steps at rate 1.0")
    head = ["width n", "spread of Θ over networks at t = 0", "growth of Θ(x, x) in 200 steps"]
    rows = [[str(n), f"{found.spread(n):.1%}", _percent(*found.inflation(n))] for n in options.widths1]
    report(options.out / "tables" / "ntk-circle.md", table(head, rows))
    drawings.kernels(found, placed(options.out / "_static" / "ntk-circle.png"))


def figure2(options: argparse.Namespace, kept: Kept) -> None:
    """Trained functions against the limit's Gaussian law."""
    found = circle.functions(kept, options.widths2)
    print("Figure 2: trained on 4 points of the circle, 1,000 steps at rate 1.0, 10 networks a width")
    head = ["width n", "values between the limit's 10 and 90 percentiles"]
    rows = [[str(n), _percent(*found.inside(n))] for n in options.widths2] + [["∞", "80 %"]]
    report(options.out / "tables" / "ntk-functions.md", table(head, rows))
    drawings.functions(found, placed(options.out / "_static" / "ntk-functions.png"))


def figure3(options: argparse.Namespace, kept: Kept) -> None:
    """Convergence along one principal component."""
    found = digits.straight_line(kept, options.widths3)
    print("Figure 3: 512 digits, eigenvalues of the kernel operator (1/N) Θ, and training toward f_0 + ½ f⁽²⁾")
    report(options.out / "tables" / "ntk-eigenvalues.md", _eigenvalues(found))
    report(options.out / "tables" / "ntk-line.md", _line(found, options.widths3))
    drawings.line(found, placed(options.out / "_static" / "ntk-line.png"))


def _eigenvalues(found: digits.Straight) -> str:
    lines = {
        "the paper": digits.PAPER,
        "the limit, pixels from 0 to 1": found.eigenvalues,
        f"the limit, pixels from 0 to {digits.DIM}": found.dimmed,
    }
    return table(["", "λ₁", "λ₂", "λ₃"], [[name, *(f"{v:.3g}" for v in values[:3])] for name, values in lines.items()])


def _line(found: digits.Straight, widths: list[int]) -> str:
    head = [
        "width n",
        "networks",
        "largest difference of the component from ½ exp(−λ₂ t)",
        "largest norm across the line",
    ]
    rows = []
    for n in widths:
        off = np.abs(found.along[n] - found.decay).max(1).mean()
        rows.append([str(n), str(len(found.along[n])), f"{off:.4f}", f"{found.across[n].max(1).mean():.4f}"])
    return table(head, rows)


def _percent(mean: float, error: float) -> str:
    return f"{100 * mean:.1f} ± {100 * error:.1f} %"


if __name__ == "__main__":
    main()
