"""Verify the networks of the zoo against finite networks, and write the table of the docs.

    python -m zoo.run                       all rows, two at a time; results are kept in zoo/results as they come
    python -m zoo.run --only resnet GRU     rows whose title holds one of the words (any case); prints the reports
    python -m zoo.run --resume              rows that have no passing result there yet
    python -m zoo.run --list                the titles
    python -m zoo.run --table               only write docs/zoo-table.md from the results that are kept
    python -m zoo.run --engine particles    the limit by the particle engine against that by the recursion

Each row runs in a process of its own. Exits with 1 where a row fails.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = {"recursion": HERE / "results.json", "particles": HERE / "particles.json"}  # by the engine that is checked


def main() -> int:
    given = _arguments()
    if given.row:
        return _one(given.row, given.engine)
    titles = _chosen(given)
    if given.list:
        print("\n".join(titles))
        return 0
    if given.table:
        return _table()
    with concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
        began = time.monotonic()
        tasks = [pool.submit(_apart, title, given.engine, given.timeout) for title in titles]
        found = []
        for task in concurrent.futures.as_completed(tasks):
            found.append(task.result())
            _say(found[-1], len(found), len(titles), verbose=bool(given.only))
            _keep(found[-1], given.engine)
    if not given.only and given.engine == "recursion":
        _table()
    return _closing(found, time.monotonic() - began)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m zoo.run", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="rows whose title holds one of these")
    parser.add_argument("--resume", action="store_true", help="skip rows with a passing result")
    parser.add_argument("--list", action="store_true", help="print the titles and stop")
    parser.add_argument("--table", action="store_true", help="only write the table of the docs")
    parser.add_argument("--engine", choices=RESULTS, default="recursion", help="which of the two is checked")
    parser.add_argument("--jobs", type=int, default=2, help="rows at a time (default 2)")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for one row (default 600)")
    parser.add_argument("--row", help=argparse.SUPPRESS)  # the process of one row
    return parser.parse_args()


def _chosen(given: argparse.Namespace) -> list[str]:
    from zoo import rows

    done = {title for title, result in kept(given.engine).items() if result["passed"]} if given.resume else set()
    words = [w.lower() for w in given.only]
    return [t for t in rows() if t not in done and (not words or any(w in t.lower() for w in words))]


def _one(title: str, engine: str) -> int:
    from zoo import _check, _particles, rows

    check = _check.check if engine == "recursion" else _particles.check
    found = dataclasses.asdict(check(title, rows()[title])) | {"cpu_seconds": time.process_time()}
    print(json.dumps(found).replace(f"{HERE.parent}/", ""))  # places in the code as seen from the repository
    return 0


def _apart(title: str, engine: str, timeout: float) -> dict:
    """One row in a process of its own: nothing of one network is left for the next."""
    began = time.monotonic()
    command = [sys.executable, "-m", "zoo.run", "--row", title, "--engine", engine]
    try:
        done = subprocess.run(
            command, cwd=HERE.parent, env=os.environ, capture_output=True, text=True, timeout=timeout, check=False
        )
        return json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        verdict = f"stopped after {timeout:.0f} s"
    except (json.JSONDecodeError, IndexError):
        verdict = f"the process ended with {done.returncode}: {done.stderr[-2000:]}"
    name, _, source = title.removesuffix(")").rpartition(" (")
    seconds = time.monotonic() - began
    return {"title": title, "name": name, "source": source, "passed": False, "verdict": verdict, "seconds": seconds}


def _say(result: dict, count: int, total: int, *, verbose: bool) -> None:
    figures = "" if result.get("z") is None else f"  |z| {result['z']:.2f} <= {result['threshold']:.2f}"
    word = "passed" if result["passed"] else "FAILED"
    print(f"[{count}/{total}] {word} {result['title']}{figures}  {result['seconds']:.0f} s", flush=True)
    if verbose or not result["passed"]:
        print("    " + result["verdict"].replace("\n", "\n    "), flush=True)


def _table() -> int:
    from zoo import rows
    from zoo._table import TABLE, write

    write(kept(), list(rows()))
    print(f"wrote {TABLE}")
    return 0


def kept(engine: str = "recursion") -> dict[str, dict]:
    return json.loads(RESULTS[engine].read_text()) if RESULTS[engine].exists() else {}


def _keep(result: dict, engine: str) -> None:
    """What is found is kept at once; a stopped run is resumed."""
    everything = kept(engine) | {result["title"]: result}
    fresh = RESULTS[engine].with_suffix(".part")
    fresh.write_text(json.dumps(everything, indent=1, sort_keys=True) + "\n")
    fresh.replace(RESULTS[engine])


def _closing(found: list[dict], seconds: float) -> int:
    failed = [r["title"] for r in found if not r["passed"]]
    print("\n".join(f"FAILED {title}" for title in failed))
    print(f"the zoo took {seconds:.0f} s, of CPU time {sum(r.get('cpu_seconds', 0) for r in found):.0f} s")
    print(f"{len(found) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
