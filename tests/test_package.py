"""Importing widelimit is free of side effects and pulls in none of the extras."""

import subprocess
import sys
from importlib.metadata import entry_points, requires, version
from importlib.resources import files

import jax.numpy as jnp
import pytest
from beartype.roar import BeartypeCallHintParamViolation
from jaxtyping import TypeCheckError

import widelimit
from widelimit.dynamics import _layout
from widelimit.limit import _gram

EXTRAS = (
    "flax",
    "equinox",
    "torch",
    "sklearn",
    "matplotlib",
    "typer",
    "tqdm",
    "scipy",
    "optax",
    "diffrax",
    "matfree",
    "mlxtend",
)


def fresh(code: str) -> str:
    """What `code` prints in an interpreter of its own, with warnings as errors."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """The top-level modules that importing widelimit loads beyond what its dependencies load."""
    code = "import sys, jax, jaxtyping, numpy; before = set(sys.modules); import widelimit; print(*set(sys.modules) - before)"
    return {name.partition(".")[0] for name in fresh(code).split()}


@pytest.mark.parametrize("extra", EXTRAS)
def test_import_loads_no_extra(loaded, extra):
    assert extra not in loaded


def test_import_leaves_jax_config_alone():
    code = "import jax; before = dict(jax.config.values); import widelimit; print(before == dict(jax.config.values))"
    assert fresh(code).strip() == "True"


def test_import_prints_nothing():
    assert fresh("import widelimit") == ""


def test_import_installs_no_logging_handler():
    code = """
import logging, jax
before = {name: len(getattr(log, "handlers", ())) for name, log in logging.root.manager.loggerDict.items()}
import widelimit
after = {name: len(getattr(log, "handlers", ())) for name, log in logging.root.manager.loggerDict.items()}
print([name for name in after if after[name] > before.get(name, 0)], len(logging.root.handlers))
"""
    assert fresh(code).strip() == "[] 0"


def test_shapes_are_checked_in_the_suite():
    assert type(widelimit.__spec__.loader).__module__.startswith("jaxtyping")


def test_version_is_the_installed_one():
    assert widelimit.__version__ == version("widelimit")


def test_core_requires_few_packages():
    core = {line.partition(">")[0].strip() for line in requires("widelimit") if "extra ==" not in line}
    assert core == {"jax", "numpy", "jaxtyping", "threadpoolctl"}


def test_package_is_marked_typed():
    assert files("widelimit").joinpath("py.typed").is_file()


def test_command_is_installed():
    (command,) = entry_points(group="console_scripts", name="widelimit")
    assert command.value == "widelimit.cli:main"


def test_types_are_checked_in_the_suite():
    with pytest.raises(BeartypeCallHintParamViolation):
        _gram._sides("many")


def test_axes_are_checked_in_the_suite():
    with pytest.raises(TypeCheckError):
        _layout.flat(jnp.ones(3))
