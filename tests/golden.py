"""Reference numbers computed by other programs; they lie beside the checkout and are not part of the project."""

import json
import os
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "golden"


def folder() -> Path:
    """The folder of reference numbers: `$WIDELIMIT_GOLDEN`, or `../shared/golden` beside the checkout."""
    return Path(os.environ.get("WIDELIMIT_GOLDEN", BESIDE))


def golden(name: str):
    """The content of the reference file `name`: arrays by name for `.npz`, parsed JSON for `.json`.

    Skips the calling test (or module) where the file is absent, as it is in an installation from a source archive.
    """
    path = folder() / name
    if not path.is_file():
        pytest.skip(f"no reference numbers at {path} (set WIDELIMIT_GOLDEN to their folder)", allow_module_level=True)
    if path.suffix == ".json":
        return json.loads(path.read_text())
    with np.load(path) as arrays:
        return MappingProxyType(dict(arrays))
