"""Exact learning of permutations, and of algorithms, by ensembles in the NTK regime (arXiv 2502.16763).

    python papers/permutations/run.py [--out docs/_static] [--seed 0] [--only limit sizes networks algorithms]

prints the limit against reference numbers, the sign of its mean at all inputs, ensemble sizes beside the published ones, real networks
against the limit, and algorithms; and draws `permutations-sizes.png` and `permutations-networks.png` into the folder given.
"""

import argparse
import time
from pathlib import Path

import algorithms
import jax
import sizes

import limit
import networks
from widelimit.plot import draw_ensemble_sizes, draw_networks, save

PARTS = ("limit", "sizes", "networks", "algorithms")


def main() -> None:
    options = _options()
    jax.config.update("jax_enable_x64", True)  # the general machinery is compared to 1e-10
    for part in options.only:
        began = time.perf_counter()
        print(f"\n── {part} ──")
        globals()[f"run_{part}"](options)
        print(f"({time.perf_counter() - began:.0f} s)")


def run_limit(options: argparse.Namespace) -> None:
    keys = jax.random.split(jax.random.key(options.seed))
    limit.against_reference()
    limit.two_ways(6, keys[0])
    limit.signs(14, 64, keys[1])


def run_sizes(options: argparse.Namespace) -> None:
    result = sizes.sizes(5, options.seed)
    sizes.show(result)
    _save(draw_ensemble_sizes(result), options.out / "permutations-sizes.png")


def run_networks(options: argparse.Namespace) -> None:
    _save(draw_networks(networks.networks((5, 10), options.seed)), options.out / "permutations-networks.png")


def run_algorithms(options: argparse.Namespace) -> None:
    algorithms.table()
    algorithms.real(options.seed)


def _save(drawing, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save(drawing, path)
    print(f"drawn: {path}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[2] / "docs" / "_static")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
