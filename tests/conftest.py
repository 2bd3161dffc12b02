"""What every test relies on: 64-bit JAX, no display, reference numbers, and a header that says what ran."""

import os
from importlib.metadata import version

os.environ.setdefault("MPLBACKEND", "Agg")

import jax
import pytest

import golden as reference

# The suite compares with references to 1e-6 and better; tests of float32 ask for it by dtype.
jax.config.update("jax_enable_x64", True)


@pytest.fixture(scope="session")
def golden():
    """`golden("kernels.npz")` or `golden("tensor_programs.json")`; skips where the reference numbers are absent."""
    return reference.golden


def pytest_report_header():
    numbers = reference.folder()
    packages = ("jax", "jaxlib", "numpy", "flax", "equinox")
    return [
        ", ".join(f"{package} {version(package)}" for package in packages) + ", x64 on",
        f"reference numbers: {numbers if numbers.is_dir() else f'absent ({numbers}); tests against them are skipped'}",
    ]
