"""Positive definiteness of the NTK on the sphere (Jacot, Gabriel & Hongler 2018, Proposition 2), with numbers.

    python papers/positive_definiteness/run.py [--dimension 3] [--counts 4 8 9 10 16 17 32 64]

Networks of one hidden layer with biases (L = 2 in the paper) on points of the unit sphere. For activations that are no
polynomial the NTK is positive definite: prints its smallest eigenvalue beside the certificate's lower bound. For
polynomials it fails at a rank that is known beforehand. Writes the table to `docs/tables`, and draws both, and the
coefficients behind them, into `docs/_static`.
"""

import argparse
import math
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # `kept`

from kept import placed, report, table  # noqa: E402

import widelimit as wl  # noqa: E402
from widelimit import plot, spectrum  # noqa: E402

DOCS = HERE.parents[1] / "docs"
BIAS = 0.1  # β of the paper
ACTIVATIONS = {
    "ReLU": jax.nn.relu,
    "GELU": lambda u: jax.nn.gelu(u, approximate=False),
    "erf": jax.scipy.special.erf,
    "u + u²": lambda u: u + u**2,
    "1 + u³": lambda u: 1 + u**3,
}
COLOURS = dict(zip(ACTIVATIONS, (plot.BLUE, plot.GREEN, plot.PURPLE, plot.ORANGE, plot.GREY), strict=True))
Rows = list[tuple[int, float, spectrum.Certificate]]


def main() -> None:
    options = _options()
    jax.config.update("jax_enable_x64", True)
    start, x = time.perf_counter(), _points(max(options.counts), options.dimension)
    found = {name: _rows(_kernel(phi, options.dimension), x, options.counts) for name, phi in ACTIVATIONS.items()}
    for name, rows in found.items():
        _print(name, rows)
    print()
    report(options.out / "tables" / "positive-definiteness.md", _table(found))
    _draw(found, placed(options.out / "_static" / "positive-definiteness.png"))
    print(f"({time.perf_counter() - start:.0f} s)")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dimension", type=int, default=3, help="d, of the sphere S^{d-1}")
    parser.add_argument("--counts", type=int, nargs="+", default=[2, 4, 6, 8, 9, 10, 12, 16, 17, 24, 32, 48, 64])
    parser.add_argument("--out", type=Path, default=DOCS, help="folder with `_static` and `tables`")
    return parser.parse_args()


def _table(found: dict[str, Rows]) -> str:
    """Every activation at the most points."""
    rows = []
    for name, ((count, smallest, last), *_) in ((name, rows[::-1]) for name, rows in found.items()):
        kind = "none" if last.polynomial is None else f"{last.polynomial} (rank {last.rank})"
        rows.append([name, kind, str(count), f"{smallest:.2e}", f"{last.bound:.2e}" if last.bound else "0"])
    return table(["φ", "degree as a polynomial", "N", "smallest eigenvalue", "certified bound"], rows)


def _points(count: int, dimension: int) -> np.ndarray:
    """Random points; fewer of them are the first ones, so that smallest eigenvalues can only fall with their number."""
    x = np.random.default_rng(0).standard_normal((count, dimension))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def _kernel(phi, dimension: int) -> wl.Kernel:
    """f(x) = n^{-1/2} v·φ(W x + β b), all parameters N(0, 1): on the unit sphere preactivations have the variance 1 + β²."""

    def init(key, width):
        keys = jax.random.split(key, 3)
        return {
            "w": jax.random.normal(keys[0], (dimension, width)),
            "b": jax.random.normal(keys[1], (width,)),
            "v": jax.random.normal(keys[2], (width, 1)),
        }

    def apply(params, x):
        h = phi(x @ params["w"] + BIAS * params["b"])
        return h @ params["v"] / math.sqrt(h.shape[-1])

    return wl.limit(wl.Network(init, apply), (dimension,))


def _rows(kernel: wl.Kernel, x: np.ndarray, counts: list[int]) -> Rows:
    gram = np.asarray(kernel.ntk(jnp.asarray(x)))
    smallest = {n: float(np.linalg.eigvalsh(gram[:n, :n])[0]) for n in counts}
    return [(n, smallest[n], spectrum.certificate(kernel, x[:n])) for n in counts]


def _print(name: str, rows: Rows) -> None:
    last = rows[-1][2]
    kind = "no polynomial" if last.polynomial is None else f"polynomial of degree {last.polynomial}, rank {last.rank}"
    decay = " ".join(f"{v:.2e}" for v in last.sphere.eigenvalues[:8])
    print(f"\nφ = {name}: {kind}; positive definite on every set of distinct points: {'yes' if last.strict else 'no'}")
    print(f"λ_0 … λ_7 of the NTK on the sphere: {decay}")
    print("   N   smallest eigenvalue   certified bound   bound / eigenvalue")
    for n, smallest, found in rows:
        share = f"{found.bound / smallest:18.2f}" if found.bound else " " * 17 + "-"
        print(f"{n:4}   {smallest:19.3e}   {found.bound:15.3e}   {share}")


def _draw(found: dict[str, Rows], path: Path) -> None:
    with plot.style():
        drawing = plot.figure(9.4, 4.2)
        left, right = drawing.subplots(1, 2)
        for name, rows in found.items():
            _draw_eigenvalues(left, name, rows)
            _draw_coefficients(right, name, rows[-1][2].sphere)
        left.set(xscale="log", yscale="log", ylim=(1e-16, 1e2), xlabel="points N on the sphere")
        left.set_xticks([2, 4, 8, 16, 32, 64], ["2", "4", "8", "16", "32", "64"])
        left.set_xticks([], minor=True)
        left.set(title="NTK on N points", ylabel="smallest eigenvalue (○ certified bound)")
        right.set(yscale="log", ylim=(1e-16, 1e2), xlabel="degree k", ylabel="eigenvalue λ_k")
        right.set_title("NTK on the sphere: the coefficients behind it")
        right.legend()
        plot.save(drawing, path)


def _draw_eigenvalues(axes, name: str, rows: Rows) -> None:
    counts, smallest = [n for n, _, _ in rows], [max(s, 1e-17) for _, s, _ in rows]
    axes.plot(counts, smallest, color=COLOURS[name], label=name)
    certified = [(n, c.bound) for n, _, c in rows if c]
    axes.plot(*zip(*certified, strict=True), "o", color=COLOURS[name], fillstyle="none")


def _draw_coefficients(axes, name: str, sphere: spectrum.Sphere) -> None:
    shown = sphere.resolved & (sphere.degrees <= 40)
    axes.plot(sphere.degrees[shown], sphere.eigenvalues[shown], ".-", color=COLOURS[name], label=name)


if __name__ == "__main__":
    main()
