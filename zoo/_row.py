"""A network of the zoo: its code, its inputs, and what is claimed of its limit."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

import widelimit as wl

SOURCES = ("jax", "flax.nnx", "equinox")
# arguments of `wl.limit` for uniform or truncated weights of few inputs: the particles keep their law, the recursion takes
# Gaussian ones, 2 to 5 % away
KEEPING_LAWS = {"engine": "particles", "particles": 2**18}


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """One network. `inputs` are a few examples along the first axis (any pytree).

    `refused`: words that the refusal must hold, for a network that has no such limit; None where the limit is verified.
    `limit` holds further arguments of `wl.limit`, `verify` those of `wl.verify`. `approximate`: `wl.limit` may warn of an
    approximation, which the table then says.
    """

    name: str
    family: str
    source: str
    make: Callable[[], wl.Network]
    inputs: Any
    refused: str | None = None
    approximate: bool = False
    limit: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    verify: Mapping[str, Any] = dataclasses.field(default_factory=dict)


_ROWS: dict[str, Row] = {}


def row(
    name: str,
    *,
    source: str,
    x: Any,
    refused: str | None = None,
    approximate: bool = False,
    limit: Mapping[str, Any] | None = None,
    verify: Mapping[str, Any] | None = None,
) -> Callable[[Callable[[], wl.Network]], Callable[[], wl.Network]]:
    """Enter a function that makes a network (`wl.Network`, or what the adapters give) into the zoo.

        @row("perceptron", source="flax.nnx", x=vectors(3, 10))
        def perceptron():
            return wl.from_flax(lambda width, rngs: MLP(width, rngs=rngs))

    `x`: examples along the first axis, or a function of no arguments that makes them.
    """
    if source not in SOURCES:
        raise ValueError(f"`row({name!r}, source={source!r})`: expected one of {SOURCES}")

    def enter(make: Callable[[], wl.Network]) -> Callable[[], wl.Network]:
        key = f"{name} ({source})"
        if key in _ROWS:
            raise ValueError(f"the zoo has two rows named {key!r}")
        family = make.__module__.rpartition(".")[2]
        _ROWS[key] = Row(name, family, source, make, x, refused, approximate, limit or {}, verify or {})
        return make

    return enter


@functools.cache
def rows() -> dict[str, Row]:
    """Every row by its title, "name (source)", in the order of the files."""
    import zoo

    for module in pkgutil.iter_modules(zoo.__path__):
        if module.name not in ("run", "table") and not module.name.startswith("_"):
            importlib.import_module(f"zoo.{module.name}")
    return dict(_ROWS)
