"""The table of docs/performance.md, from measurements of run.py.

python benchmarks/run.py --cases fc3 --json fc3.json
python benchmarks/record.py fc3.json ...        # writes docs/performance-table.md
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cases import CASES
from table import HEADER, row

TABLE = Path(__file__).parent.parent / "docs" / "performance-table.md"
SHOWN = ("case", "N", "floor", "ours", "peer", "ratio", "wall ratio", "ours/floor", "error ours", "error peer")


def lines(report: dict) -> list[str]:
    """The rows of one report, each with the load of the machine at the time."""
    load = f"{report['machine']['load'][0]:.0f} on {report['machine']['cores']} cores"
    rows = [
        dict(zip(HEADER, row(name, found, report["costs"]), strict=True)) for name, found in report["results"].items()
    ]
    return [_line([*(cells[key] for key in SHOWN), load]) for cells in rows]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reports", nargs="+", type=Path)
    reports = [json.loads(path.read_text()) for path in parser.parse_args().reports]
    reports.sort(key=lambda report: list(CASES).index(next(iter(report["results"]))))
    head = [_line([*SHOWN, "load"]), _line(["---"] * (len(SHOWN) + 1))]
    TABLE.write_text("---\norphan: true\n---\n\n" + "\n".join([*head, *(x for r in reports for x in lines(r))]) + "\n")


if __name__ == "__main__":
    main()
