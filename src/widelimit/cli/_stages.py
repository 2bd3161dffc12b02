"""Stages of a long command: announced, timed."""

from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import fill
from time import perf_counter


class Stages:
    """`with stages("name"):` prints a heading and times what is inside; `seconds` maps each name to its time."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        say(f"\n── {name} ──")
        began = perf_counter()
        yield
        self.seconds[name] = perf_counter() - began
        say(f"({self.seconds[name]:.1f} s)")

    @property
    def total(self) -> float:
        return sum(self.seconds.values())

    def __str__(self) -> str:
        return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.seconds.items())


def say(text: str = "") -> None:
    print(text, flush=True)  # at once, so that it keeps its place among progress bars


def explain(text: str) -> None:
    """Say a paragraph, in lines that a terminal holds."""
    say(fill(text, 100))
