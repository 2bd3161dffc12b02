"""Networks as people write them, each with its infinite-width limit verified; `python -m zoo.run` does it."""

from zoo._row import Row, row, rows

__all__ = ["Row", "row", "rows"]
