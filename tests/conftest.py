"""What every test relies on: 64-bit JAX, no display, reference numbers, and a header that says what ran."""

import os
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")

import jax
import pytest

import golden as reference
import typecheck  # noqa: F401  before the package is imported: what its functions are decorated with

# The suite compares with references to 1e-6 and better; tests of float32 ask for it by dtype.
jax.config.update("jax_enable_x64", True)

# Most of the suite's time goes into compiling. What was compiled before is kept; each process has a folder of its own, as JAX does
# not write these files in one step.
_PROGRAMS = Path(__file__).parents[1] / ".cache" / "xla" / os.environ.get("PYTEST_XDIST_WORKER", "one")
jax.config.update("jax_compilation_cache_dir", str(_PROGRAMS))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture(scope="session")
def golden():
    """`golden("kernels.npz")` or `golden("tensor_programs.json")`; skips where the reference numbers are absent."""
    return reference.golden


@pytest.fixture(scope="module", autouse=True)
def _room_for_programs():
    """Linux lets a process map 65,530 pieces of memory, of which each compiled program takes some; beyond them XLA crashes."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_text().count("\n") > 30_000:
        jax.clear_caches()


def pytest_report_header():
    numbers = reference.folder()
    packages = ("jax", "jaxlib", "numpy", "flax", "equinox")
    return [
        ", ".join(f"{package} {version(package)}" for package in packages) + ", x64 on",
        f"reference numbers: {numbers if numbers.is_dir() else f'absent ({numbers}); tests against them are skipped'}",
    ]
