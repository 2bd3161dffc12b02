"""What the papers' long runs share: finished parts are kept, so that a run that was stopped goes on where it was."""

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]


class Kept:
    """Results by their settings, in files of a folder; `again` computes them anew."""

    def __init__(self, folder: Path, *, again: bool = False):
        self.folder, self.again = folder, again

    def has(self, name: str, settings: dict) -> bool:
        """Whether this part is finished."""
        return self._path(name, settings).exists()

    def _path(self, name: str, settings: dict) -> Path:
        digest = hashlib.sha1(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:10]
        return self.folder / f"{name}-{digest}.npz"

    def __call__(self, name: str, settings: dict, compute: Callable[[], Arrays]) -> Arrays:
        path = self._path(name, settings)
        if path.exists() and not self.again:
            return dict(np.load(path))
        start = time.perf_counter()
        found = compute()
        self._write(path, found)
        print(f"  {name} {settings}: {time.perf_counter() - start:.0f} s", flush=True)
        return found

    def _write(self, path: Path, arrays: Arrays) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        whole = path.with_suffix(".part")
        with whole.open("wb") as file:
            np.savez(file, **arrays)
        os.replace(whole, path)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown, its columns aligned."""
    sizes = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * size for size in sizes], *rows]
    return "\n".join("| " + " | ".join(c.ljust(s) for c, s in zip(line, sizes, strict=True)) + " |" for line in lines)


def report(path: Path, text: str) -> None:
    """Print the text, and write it where the documentation includes it."""
    placed(path).write_text(text + "\n")
    print(text, flush=True)


def placed(path: Path) -> Path:
    """The path of a file whose folder exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
