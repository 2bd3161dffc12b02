"""The peer's own interpreter: made once, kept under benchmarks/.peer-env.

neural-tangents 0.6.5 does not import on jax 0.6 or later, and is whole only up to jax 0.4.25; its declared dependency on
TensorFlow serves one experimental function that is not timed, so it is installed without.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / ".peer-env"
PEER = "neural-tangents==0.6.5"
PYTHONS = ("python3.11", "python3.10", "python3.12")  # those that jaxlib 0.4.20 has wheels for


def peer_python(*, jax_version: str, base: str | None = None) -> Path:
    """The peer's interpreter with that jax; made with the interpreter `base` where it does not exist yet."""
    home = FOLDER / f"jax-{jax_version}"
    python, done = home / "bin" / "python", home / "complete"
    if not done.exists():
        _make(home, python, jax_version=jax_version, base=base or _base())
        done.touch()
    return python


def _make(home: Path, python: Path, *, jax_version: str, base: str):
    print(f"making the peer's environment {home} (once)", file=sys.stderr, flush=True)
    pins = (f"jax=={jax_version}", f"jaxlib=={jax_version}", "numpy<2", "scipy<1.13", "frozendict")
    _call(base, "-m", "venv", "--clear", str(home))
    _call(str(python), "-m", "pip", "install", "--quiet", *pins)
    _call(str(python), "-m", "pip", "install", "--quiet", "--no-deps", PEER)


def _call(*command: str):
    subprocess.run(command, check=True, stdout=sys.stderr, env=isolated())


def isolated() -> dict[str, str]:
    """This process's environment without what would lead another interpreter to this one's packages."""
    misleading = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name not in misleading}


def _base() -> str:
    for name in PYTHONS:
        if (found := shutil.which(name)) and _runs(found):
            return found
    raise SystemExit(f"the peer needs one of {', '.join(PYTHONS)}, and none is on PATH: name one with `--peer-python`")


def _runs(python: str) -> bool:
    return subprocess.run([python, "-c", "import venv"], capture_output=True).returncode == 0
