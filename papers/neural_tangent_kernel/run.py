"""Neural Tangent Kernel (Jacot, Gabriel & Hongler 2018): the three figures of section 6.

    python papers/neural_tangent_kernel/run.py [--figures 1 2 3] [--widths1 500 2000]

prints the numbers beside the paper's and draws the figures beside this file. The paper's widest networks have 10,000 units a
layer: `--widths1 500 10000` trains them (200 million parameters each, 4 GB and hours on a few cores).
"""

import argparse
import time
from pathlib import Path

import circle
import digits
import jax
import numpy as np

from widelimit import plot

HERE = Path(__file__).parent


def main() -> None:
    options = _options()
    jax.config.update("jax_enable_x64", True)
    for number in options.figures:
        start = time.perf_counter()
        {1: figure1, 2: figure2, 3: figure3}[number](options)
        print(f"({time.perf_counter() - start:.0f} s; drawn: figure{number}.png)\n", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=int, nargs="+", default=[1, 2, 3], choices=[1, 2, 3])
    parser.add_argument("--widths1", type=int, nargs="+", default=[500, 2000])
    parser.add_argument("--widths2", type=int, nargs="+", default=[50, 1000])
    parser.add_argument("--widths3", type=int, nargs="+", default=[100, 300, 1000])
    parser.add_argument(
        "--examples", type=int, default=32, help="training points of figure 1; the paper gives no number"
    )
    return parser.parse_args()


# --- figure 1 ---------------------------------------------------------------------------------------------------------------


def figure1(options: argparse.Namespace) -> None:
    """Convergence of the NTK at initialisation, and its stability in training."""
    found = circle.kernels(tuple(options.widths1), examples=options.examples, steps=200, key=jax.random.key(0))
    print("Figure 1: the NTK on the circle, 10 networks a width, before and after 200 steps at rate 1.0")
    print("width   spread over networks at t = 0   growth of Θ(x, x) by training")
    for width in options.widths1:
        print(f"{width:5}   {found.spread(width):28.1%}   {found.inflation(width):+28.1%}")
    print("(the paper, by eye: a wide band at 500, a thin one at 10,000; slightly inflated after 200 steps at 500)")
    with plot.style():
        drawing = plot.figure(7.2, 4.2)
        _draw_kernels(drawing.subplots(), found)
        plot.save(drawing, HERE / "figure1.png")


def _draw_kernels(axes, found: circle.Kernels) -> None:
    for width, colour in zip(found.before, (plot.ORANGE, plot.GREEN, plot.PURPLE), strict=False):
        for values, line, when in ((found.before, "-", "t = 0"), (found.after, "--", "t = 200")):
            for i, one in enumerate(values[width]):
                label = f"n = {width}, {when}" if i == 0 else None
                axes.plot(circle.ANGLES, one, line, color=colour, linewidth=0.7, alpha=0.7, label=label)
    axes.plot(circle.ANGLES, found.limit, color=plot.BLUE, linewidth=2.2, label="n = ∞")
    axes.set(
        xlabel="γ", ylabel="Θ((1, 0), (cos γ, sin γ))", title="Tangent kernels of 10 networks a width, and the limit"
    )
    axes.legend(fontsize=8)


# --- figure 2 ---------------------------------------------------------------------------------------------------------------


def figure2(options: argparse.Namespace) -> None:
    """Trained functions against the limit's Gaussian law."""
    found = circle.functions(tuple(options.widths2), steps=1000, key=jax.random.key(1))
    print("Figure 2: trained on 4 points of the circle, 1,000 steps at rate 1.0, 10 networks a width")
    print("width   share of values between the limit's 10 and 90 percentiles (in the limit 80 %)")
    for width in options.widths2:
        print(f"{width:5}   {found.inside(width):.1%}")
    with plot.style():
        drawing = plot.figure(7.2, 4.2)
        _draw_functions(drawing.subplots(), found)
        plot.save(drawing, HERE / "figure2.png")


def _draw_functions(axes, found: circle.Functions) -> None:
    low, middle, high = found.percentiles
    axes.fill_between(circle.ANGLES, low, high, color=plot.BLUE, alpha=0.15, label="n = ∞, 10 to 90 %")
    axes.plot(circle.ANGLES, middle, color=plot.BLUE, label="n = ∞, median")
    for width, colour in zip(found.networks, (plot.ORANGE, plot.GREEN, plot.PURPLE), strict=False):
        for i, one in enumerate(found.networks[width]):
            label = f"n = {width}" if i == 0 else None
            axes.plot(circle.ANGLES, one, color=colour, linewidth=0.7, alpha=0.8, label=label)
    axes.plot(found.x, found.y, "o", color="black", label="training points")
    axes.set(xlabel="γ", ylabel="f(cos γ, sin γ)", title="Trained networks, and the limit's law")
    axes.legend(fontsize=8)


# --- figure 3 ---------------------------------------------------------------------------------------------------------------


def figure3(options: argparse.Namespace) -> None:
    """Convergence along one principal component."""
    found = digits.straight_line(tuple(options.widths3), networks=3, key=jax.random.key(2))
    print("Figure 3: 512 digits; eigenvalues of the kernel operator (1/N) Θ")
    print("        ", *(f"λ{i + 1:<8}" for i in range(3)))
    print("the paper", *(f"{value:<9.3g}" for value in digits.PAPER))
    print("the limit", *(f"{value:<9.3g}" for value in found.eigenvalues[:3]))
    decay = 0.5 * np.exp(-found.eigenvalues[digits.COMPONENT] * found.times)
    print("\nwidth   largest deviation of the component from ½ exp(-λ₂ t)   largest norm across the line")
    for width in options.widths3:
        off, across = np.abs(found.along[width].mean(0) - decay).max(), found.across[width].mean(0).max()
        print(f"{width:5}   {off:49.4f}   {across:28.4f}")
    with plot.style():
        drawing = plot.figure(9.0, 3.8)
        _draw_line(drawing.subplots(1, 2), found, decay)
        plot.save(drawing, HERE / "figure3.png")


def _draw_line(panels, found: digits.Straight, decay: np.ndarray) -> None:
    for width, colour in zip(found.along, (plot.ORANGE, plot.PURPLE, plot.GREEN), strict=False):
        panels[0].plot(found.times, found.along[width].mean(0), color=colour, label=f"n = {width}")
        panels[1].plot(found.times, found.across[width].mean(0), color=colour, label=f"n = {width}")
    panels[0].plot(found.times, decay, "--", color=plot.BLUE, label="½ exp(−λ₂ t)")
    panels[0].set(xlabel="t", ylabel="component left along f⁽²⁾", title="Along the line")
    panels[1].set(xlabel="t", ylabel="norm of the rest of f − f₀", title="Across the line")
    panels[0].legend()


if __name__ == "__main__":
    main()
