"""The Python of the README and of the documentation runs as it stands, block after block."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(?:python|\{code-cell\}[^\n]*)\n((?::[^\n]*\n)*)(.*?)^```", re.DOTALL | re.MULTILINE)


def run(page):
    blocks = [found[2] for found in BLOCK.finditer(page.read_text(encoding="utf-8"))]
    assert blocks
    namespace = {"__name__": page.stem}
    for block in blocks:
        exec(compile(block, str(page), "exec"), namespace)


def test_python_blocks_run():
    run(ROOT / "README.md")


@pytest.mark.slow
@pytest.mark.parametrize("page", ["start", "what-is-read", "expectations", "training", "spectrum", "permutations"])
def test_documentation_runs(page):
    run(ROOT / "docs" / f"{page}.md")


def test_quoted_messages_exist():
    """What the documentation quotes of the error messages, between “ and ”, is in the source."""
    sources = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "src").rglob("*.py")))
    sources = re.sub(r'"\s*\n\s*f?"', "", sources)  # literals that the formatter has split
    quoted = re.findall("“(.*?)”", (ROOT / "docs" / "what-is-read.md").read_text(encoding="utf-8"))
    assert quoted
    assert [words for words in quoted if words not in sources] == []
