"""The accuracy table: E[φ(u)φ(v)] and its derivative in the covariance against a reference, and what an entry costs.

    python benchmarks/expectations.py               # measures and writes docs/expectations-table.md
    python benchmarks/expectations.py --reference   # first computes the reference numbers anew (a few minutes)
    python benchmarks/expectations.py --only tanh ELU

The reference numbers (benchmarks/expectations.json) come from nested Gauss–Legendre rules in NumPy (`plane.py`), of functions and
derivatives written by hand (`activations.py`).
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import plane
from activations import ACTIVATIONS, Activation

from widelimit.gaussian import Joint, Pointwise, describe, expect

HERE = Path(__file__).parent
NUMBERS, TABLE = HERE / "expectations.json", HERE.parent / "docs" / "expectations-table.md"
CORRELATIONS = (-1.0, -0.9, -0.5, 0.0, 0.5, 0.9, 0.99, 0.999999, 1.0)
VARIANCES = ((1e-4, 1e-4), (1e-2, 1e-2), (1.0, 1.0), (100.0, 100.0), (1e4, 1e4), (0.5, 2.0), (3.0, 40.0))
TILE, NEAR = 512, 16384


def laws(activation: Activation) -> list[tuple[float, float, float]]:
    """(k₁₁, k₂₂, ρ)."""
    most = 3.0 if activation.grows else np.inf
    return [(a, b, rho) for a, b in VARIANCES if max(a, b) < most for rho in CORRELATIONS]


def reference(activation: Activation) -> dict[str, list]:
    """For each law E[φφ], E[φ'φ'] (with what jumps add; null where infinite) and the scales √(E[φ²]E[φ²]), √(E[φ'²]E[φ'²])."""
    rows = [_reference(activation, *law) for law in laws(activation)]
    return {"laws": laws(activation), "values": [list(row) for row in zip(*rows, strict=True)]}


def _reference(activation: Activation, k11: float, k22: float, rho: float) -> tuple:
    values, slopes = (
        [plane.Side(f, activation.places, k**0.5, activation.waves) for k in (k11, k22)] for f in activation[1:3]
    )
    scale = partial(_scale, activation)
    slope = plane.expectation(*slopes, rho) + _atoms(activation, slopes, rho)
    return plane.expectation(*values, rho), slope if np.isfinite(slope) else None, scale(values), scale(slopes)


def _scale(activation: Activation, sides: list) -> float:
    squares = [side._replace(function=lambda u, f=side.function: f(u) ** 2) for side in sides]
    return float(np.sqrt(plane.mean(squares[0]) * plane.mean(squares[1])))


def _atoms(activation: Activation, sides: list, rho: float) -> float:
    """What jumps J_c add to E[φ'φ']: Σ J_c p(c) E[φ'(v) | u = c] on either side, and Σ J_c J_d p(c, d)."""
    if not activation.jumps:
        return 0.0
    if abs(rho) == 1:
        return np.inf
    narrow, total = np.sqrt((1 - rho) * (1 + rho)), 0.0
    for one, other in (sides, sides[::-1]):
        for c, size in activation.jumps:
            centre, rest = rho * other.scale / one.scale * c, other.scale * narrow
            total += size * plane.density(one, c) * plane.mean(other, centre, rest)
            if one is sides[0]:
                for d, another in activation.jumps:
                    total += (
                        size * another * plane.density(one, c) * plane.density(plane.Side(None, (), rest), d - centre)
                    )
    return total


def library(phi: Pointwise, accuracy: float = 1e-6):
    """(k₁₁, k₂₂, k₁₂) -> (E[φφ], ∂E/∂k₁₂)."""

    def value(k11, k22, k12):
        law = Joint(((k11,),), ((k22,),), ((k12,),), (None,), (None,))
        return expect(phi, phi, law, accuracy=accuracy)

    def both(k11, k22, k12):
        return jax.jvp(lambda k: value(k11, k22, k), (k12,), (jnp.ones_like(k12),))

    return both


def measure(name: str, numbers: dict) -> dict:
    """Worst errors, CPU nanoseconds an entry, CPU seconds to compile."""
    out, phi = {}, Pointwise(ACTIVATIONS[name].jax, 1, name)
    start = time.process_time()
    compiled = jax.jit(library(phi)).lower(*tile(jnp.float64)).compile()
    out["compile"] = time.process_time() - start
    out |= errors(jax.jit(library(phi)), numbers)  # entry by entry: beside each other the laws would meet in pairs
    out["float64"] = cost(compiled, tile(jnp.float64)) / TILE**2
    out["near"] = cost(compiled, tile(jnp.float64, near=NEAR)) / TILE**2
    single = jax.jit(library(Pointwise(ACTIVATIONS[name].jax, 1, name)))
    out["float32"] = cost(single, tile(jnp.float32)) / TILE**2
    about = describe(phi)
    return {"rule": rule(about.rule), "estimate": about.error, **out}


def rule(text: str) -> str:
    return "closed form" if text == "closed form" else "series, kinks" if "kinks" in text else "series"


def errors(both, numbers: dict) -> dict[str, float]:
    """Worst errors, relative to the scale and, where that is at least 1 % of the scale, to the value itself."""
    k11, k22, rho = np.array(numbers["laws"]).T
    got = [np.asarray(x) for x in both(*map(jnp.asarray, (k11, k22, rho * np.sqrt(k11 * k22))))]
    nngp, ntk, *scales = (np.array(x, float) for x in numbers["values"])
    out = {}
    for kind, found, true, scale in zip(("nngp", "ntk"), got, (nngp, ntk), scales, strict=True):
        known = np.isfinite(true)
        found, true, scale = (x[known] for x in (found, true, scale))
        # a jump's density at |ρ| near 1 is far above the scale of the derivative almost everywhere
        scale = np.maximum(scale, np.abs(true))
        error, scale = np.abs(found - true), np.where(scale > 0, scale, 1)
        large = np.abs(true) >= 0.01 * scale
        out[kind] = float(np.max(error / scale))
        out[f"{kind} of value"] = float(np.max((error / np.where(true, np.abs(true), 1))[large]))
    return out


def tile(dtype, near: int = 0) -> tuple:
    """Laws of inputs in general position, of variances near 1 and correlations up to about 0.6; some entries instead at 0.99 to 1."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(TILE, 40)) / 40**0.5
    k = x @ x.T
    d = np.diag(k).copy()
    k[np.diag_indices(TILE)] *= 0.5
    where = rng.choice(TILE**2, near, replace=False)
    k.flat[where] = (rng.uniform(0.99, 1, near)) * np.sqrt(np.outer(d, d).flat[where])
    return tuple(jnp.asarray(a, dtype) for a in (d[:, None], d[None], k))


def cost(compiled, args: tuple, repeat: int = 3) -> float:
    """CPU nanoseconds: the least of some runs."""
    jax.block_until_ready(compiled(*args))
    times = []
    for _ in range(repeat):
        start = time.process_time()
        jax.block_until_ready(compiled(*args))
        times.append(time.process_time() - start)
    return min(times) * 1e9


HEAD = """\
---
orphan: true
---

| φ | rule | NNGP error | NTK error | NNGP, of the value | NTK, of the value | ns float64 | ns float32 | ns, 1/16 near 1 | compile s |
|---|---|---|---|---|---|---|---|---|---|
"""


def row(name: str, found: dict) -> str:
    errors = " | ".join(f"{found[key]:.0e}" for key in ("nngp", "ntk", "nngp of value", "ntk of value"))
    costs = " | ".join(f"{found[key]:,.0f}" for key in ("float64", "float32", "near"))
    return f"| {name.replace('|', '∣')} | {found['rule']} | {errors} | {costs} | {found['compile']:.1f} |\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", action="store_true", help="compute the reference numbers anew")
    parser.add_argument("--only", nargs="+", default=list(ACTIVATIONS), metavar="NAME")
    parser.add_argument("--keep", type=Path, help="a file of measurements: those in it are not made again")
    args = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    numbers = json.loads(NUMBERS.read_text()) if NUMBERS.exists() else {}
    for name in args.only:
        if args.reference or name not in numbers:
            numbers[name] = reference(ACTIVATIONS[name])
            NUMBERS.write_text(json.dumps(numbers))
    found = json.loads(args.keep.read_text()) if args.keep and args.keep.exists() else {}
    for name in args.only:
        if name not in found:
            found[name] = measure(name, numbers[name])
            print(row(name, found[name]), end="", flush=True)
        if args.keep:
            args.keep.write_text(json.dumps(found))
    if args.only == list(ACTIVATIONS):
        TABLE.write_text(HEAD + "".join(row(name, found[name]) for name in args.only))


if __name__ == "__main__":
    main()
