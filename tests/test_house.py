"""Which way imports run, who touches JAX's internals, and how long functions are."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import widelimit

ROOT = Path(widelimit.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

LAYERS = (  # from the top down; a folder imports from the layers below its own, and from its own while no circle results
    ("cli", "plot", "learn"),
    ("dynamics", "finite", "exact", "solve", "spectrum", "evidence"),
    ("limit",),
    ("particles", "network"),
    ("trace",),
    ("program", "gaussian"),
)
LEVEL = {folder: level for level, folders in enumerate(reversed(LAYERS)) for folder in folders}
LEAVES = ("program", "gaussian")  # these import nothing of the others, not even of each other
Function = ast.FunctionDef | ast.AsyncFunctionDef
CORE = {"jax", "numpy", "jaxtyping", "threadpoolctl", "widelimit"}


def name_of(path: Path) -> str:
    """The module's name inside the package: `trace/_jaxpr.py` is "trace._jaxpr", the package itself is ""."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in FILES}
INNER = [path for path in FILES if name_of(path)[:1] not in ("", "_")]  # the root re-exports from everywhere
CORE_FILES = [path for path in FILES if name_of(path).partition(".")[0] not in LAYERS[0]]  # the top needs its extras


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def base(node: ast.ImportFrom, path: Path) -> str:
    """The absolute module that `from … import` starts from."""
    if not node.level:
        return node.module
    package = ("widelimit", *path.relative_to(ROOT).parts[:-1])
    return ".".join((*package[: len(package) - node.level + 1], *((node.module,) if node.module else ())))


def imports(path: Path, nodes: Iterator[ast.AST]) -> Iterator[str]:
    """Absolute names of all that is imported; `from a import b` counts as `a.b`."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{base(node, path)}.{alias.name}" for alias in node.names)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes executed when the module is imported: not bodies of functions, nor what only type checkers read."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, Function | ast.Lambda) and not is_type_checking(child):
            yield child
            yield from run_at_import(child)


def within(path: Path, nodes: Iterator[ast.AST]) -> set[str]:
    """The modules of the package that `path` imports, each the longest name that is a file ("" is the root)."""
    found = set()
    for name in imports(path, nodes):
        head, *parts = name.split(".")
        if head == "widelimit":
            known = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
            found.add(next((module for module in known if module in MODULES), parts[0] if parts[1:] else ""))
    return found - {name_of(path)}


def folder(module: str) -> str:
    return module.partition(".")[0]


def objection(here: str, there: str) -> str | None:
    """Why folder `here` may not import from folder `there`; None where it may."""
    if there == here or there.startswith("_"):
        return None
    if not there:
        return "imports the package's root; import from the folder that defines the name"
    if unknown := {here, there} - LEVEL.keys():
        return f"{unknown} is in no layer"
    if here in LEAVES:
        return f"{here} imports nothing of the others, not {there}"
    return f"{there} is in a layer above {here}" if LEVEL[there] > LEVEL[here] else None


def test_imports_run_downwards():
    asked = ((name_of(path), module) for path in INNER for module in within(path, ast.walk(tree(path))))
    refused = {f"{name} -> {module}": objection(folder(name), folder(module)) for name, module in asked}
    assert {edge: why for edge, why in refused.items() if why} == {}


def test_imports_have_no_circle():
    graph = {name: within(path, run_at_import(tree(path))) for name, path in MODULES.items() if name}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("circle of imports: " + " <- ".join(error.args[1]))


def test_folders_have_no_circle():
    graph: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        others = {folder(module) for module in within(path, run_at_import(tree(path)))}
        graph.setdefault(folder(name), set()).update(others - {folder(name), ""})
    graph.pop("", None)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("circle of imports between folders: " + " <- ".join(error.args[1]))


def dotted(node: ast.AST) -> str:
    """`a.b.c` as text for a chain of attributes, "" for anything else."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def mentions(path: Path, module: str) -> bool:
    """Whether the code (not its comments or docstrings) imports or reaches into `module`."""
    used = [*imports(path, ast.walk(tree(path))), *map(dotted, ast.walk(tree(path)))]
    return any(f"{name}.".startswith(f"{module}.") for name in used)


def test_one_file_touches_jax_extend():
    assert [name_of(path) for path in FILES if mentions(path, "jax.extend")] == ["trace._jaxpr"]


@pytest.mark.parametrize("private", ["jax._src", "jax.interpreters", "jaxlib"])
def test_no_file_touches_private_jax(private):
    assert [name_of(path) for path in FILES if mentions(path, private)] == []


def test_core_imports_few_packages():
    foreign = {
        f"{name_of(path)} imports {name}"
        for path in CORE_FILES
        for name in imports(path, run_at_import(tree(path)))
        if name.partition(".")[0] not in CORE | sys.stdlib_module_names
    }
    assert foreign == set(), "import an extra inside the function that uses it"


def test_files_stay_under_500_lines():
    assert {name_of(path): n for path in FILES if (n := len(path.read_text().splitlines())) >= 500} == {}


def functions() -> Iterator[tuple[str, Function, list[str]]]:
    """Every function of the package: where it stands, its node, and the lines of its file."""
    for path in FILES:
        source = path.read_text().splitlines()
        for node in ast.walk(tree(path)):
            if isinstance(node, Function):
                yield f"{name_of(path)}:{node.lineno} {node.name}", node, source


def body_lines(node: Function, source: list[str]) -> int:
    """Lines of the body that are neither blank, nor a comment, nor the docstring."""
    body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
    text = source[body[0].lineno - 1 : body[-1].end_lineno]
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in text)


def positional(node: Function) -> list[str]:
    return [a.arg for a in (*node.args.posonlyargs, *node.args.args) if a.arg not in ("self", "cls")]


def test_functions_stay_under_80_lines():
    assert {where: n for where, node, source in functions() if (n := body_lines(node, source)) > 80} == {}


def test_functions_take_at_most_five_positional_arguments():
    assert {where: names for where, node, _ in functions() if len(names := positional(node)) > 5} == {}
