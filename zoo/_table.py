"""The results of the zoo as the table of the docs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

TABLE = Path(__file__).parents[1] / "docs" / "zoo-table.md"
_MOVING = ("reshape", "transpose", "broadcast_in_dim", "squeeze", "expand_dims", "slice", "iota")
_PLAIN = frozenset((*_MOVING, "convert_element_type", "copy", "add", "sub", "mul", "div", "neg"))
_VERIFIED = ("architecture", "code", "worst |z|", "bound", "bias ∝ n^", "spread ∝ n^", "finds", "first call", "a pair")
_REFUSED = ("architecture", "code", "why")


def text(results: Mapping[str, dict], order: Sequence[str]) -> str:
    """Verified rows, then refused ones, in the order of the zoo; what failed is said to have failed."""
    known = [results[title] for title in order if title in results]
    verified = [_verified(r) for r in known if r.get("z") is not None]
    refused = [_refused(r) for r in known if r.get("z") is None]
    return "\n".join(
        [
            "---\norphan: true\n---\n",
            f"{len(verified)} networks with a limit, verified:\n",
            *_lines((*_VERIFIED, "primitives"), verified),
            f"\n{len(refused)} networks without one, refused:\n",
            *_lines(_REFUSED, refused),
            *_missing([title for title in order if title not in results]),
            "",
        ]
    )


def _missing(titles: Sequence[str]) -> list[str]:
    """What the table does not hold."""
    return [f"\n{len(titles)} networks of the zoo, not checked in this run: {'; '.join(titles)}."] if titles else []


def write(results: Mapping[str, dict], order: Sequence[str]) -> None:
    TABLE.write_text(text(results, order))


def _lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [[c.replace("|", "\\|") for c in row] for row in (header, *rows)]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return [lines[0], "|" + "---|" * len(header), *lines[1:]]


def _verified(r: dict) -> tuple[str, ...]:
    word = f"{r['z']:.2f}" if r["passed"] else f"**{r['z']:.2f}, failed**"
    return (
        r["name"],
        r["source"],
        word,
        f"{r['threshold']:.2f}",
        _power(r["bias"], r["bias_error"]),
        _power(r["spread"], None),
        f"{r['resolution']:.1%}",
        f"{r['compile_seconds']:.1f} s",
        _seconds(r["pair_seconds"]),
        " ".join(p for p in r["primitives"] if p not in _PLAIN),
    )


def _power(value: float | None, error: float | None) -> str:
    if value is None:
        return "below the noise"
    return f"{value:.2f}" if error is None else f"{value:.2f} ± {error:.2f}"


def _seconds(value: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.2g} {unit}"
    return f"{value / 1e-6:.2g} µs"


def _refused(r: dict) -> tuple[str, ...]:
    """The reason, without the place in the code."""
    reason = " ".join(r["verdict"].split())
    if reason.startswith("at "):
        reason = reason.partition(": ")[2]
    return r["name"], r["source"], reason if r["passed"] else f"**failed**: {reason}"
