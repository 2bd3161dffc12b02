"""Measurements of cases as text."""

from __future__ import annotations

from cases import CASES, work

HEADER = (
    *("case", "N", "floor", "ours", "peer", "ratio", "wall ratio", "ours/floor"),
    *("first ours", "first peer", "error ours", "error peer", "ours-peer"),
)


def text(results: dict[str, dict], costs: dict) -> str:
    """One line a case, under HEADER; what was not measured is a dash, what failed is named below."""
    rows = [HEADER, *(row(name, result, costs) for name, result in results.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in rows]
    failures = [f"{name}: {result['failed']}" for name, result in results.items() if "failed" in result]
    return "\n".join([*lines, *failures, _machine(costs)])


def _machine(costs: dict) -> str:
    one, product = costs["pass"]["cpu"], costs["gemm"]["cpu"]
    return f"floor: {seconds(one)} CPU an element of a fused memory pass, {2e-9 / product:.0f} GFLOP/s a CPU second in a GEMM"


def row(name: str, result: dict, costs: dict) -> tuple[str, ...]:
    """The cells of one case: CPU seconds per entry of the N × N matrix, ratios, first calls (wall), errors."""
    inputs = result["inputs"]
    known = {**result, "floor": floor(name, costs, inputs=inputs)}
    return (
        *(CASES[name].title, str(inputs)),
        *(_time(known, side, per=inputs**2) for side in ("floor", "ours", "peer")),
        *(_ratio(known, "peer", "ours", clock) for clock in ("cpu", "wall")),
        _ratio(known, "ours", "floor", "cpu"),
        *(_first(known, side) for side in ("ours", "peer")),
        *(_errors(known, key) for key in ("ours", "peer", "ours-peer")),
    )


def floor(name: str, costs: dict, *, inputs: int) -> dict[str, float]:
    """CPU and wall seconds that the symmetric half of the Gram matrix costs at the least: its elements of covariance
    at one fused memory pass each, its multiply-adds at the speed of a matrix product."""
    one, entries = work(CASES[name]), inputs * (inputs + 1) // 2
    passes, products = costs["pass"], costs["gemm"]
    return {k: entries * (one.elements * passes[k] + one.multiply_adds * products[k]) for k in ("cpu", "wall")}


def seconds(value: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def _time(known: dict, side: str, *, per: int) -> str:
    return seconds(known[side]["cpu"] / per) if side in known else "-"


def _ratio(known: dict, above: str, below: str, clock: str) -> str:
    return f"{known[above][clock] / known[below][clock]:.1f}" if above in known and below in known else "-"


def _first(known: dict, side: str) -> str:
    return seconds(known[side]["first"]["wall"]) if side in known else "-"


def _errors(known: dict, key: str) -> str:
    found = known.get("errors", {}).get(key)
    return f"{found['nngp']:.0e} {found['ntk']:.0e}" if found else "-"
