"""Which of many alike run by default."""

from collections.abc import Iterable

import pytest


def but_slow(names: Iterable[str], *kept: str) -> list:
    """Parameters of a test, of which those that are not `kept` are marked slow."""
    names = list(names)
    assert set(kept) <= set(names)
    return [name if name in kept else pytest.param(name, marks=pytest.mark.slow) for name in names]
