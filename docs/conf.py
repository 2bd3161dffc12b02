"""Sphinx settings: `make docs` builds the pages with warnings as errors and runs every tutorial."""

import os
import re
from importlib.metadata import version as installed

project = "widelimit"
author = "The widelimit authors"
project_copyright = author
release = version = installed("widelimit")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build", "jupyter_execute", "tables"]
source_suffix = {".md": "myst-nb", ".rst": "restructuredtext"}
myst_enable_extensions = ["amsmath", "dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3

nb_execution_mode = "auto"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
os.environ["IPYKERNEL_CELL_NAME"] = "cell.py"  # what messages of executed pages say for the file of your code
nb_merge_streams = True  # what a cell prints stays in one block

autodoc_typehints = "none"  # jaxtyping's shapes read better in the signature's source and in the docstring
autodoc_member_order = "bysource"
napoleon_google_docstring = True

default_role = "code"  # docstrings quote names and calls in single backticks

html_theme = "sphinx_book_theme"
html_title = "widelimit"


def escape_bars(app, what, name, obj, options, lines):
    """|z| in a docstring is an absolute value, not a substitution, except in what is quoted as code."""
    lines[:] = [
        "`".join(_escaped(part) if i % 2 == 0 else part for i, part in enumerate(line.split("`"))) for line in lines
    ]


def _escaped(text):
    return re.sub(r"(?<!\\)\|", r"\|", text)


def setup(app):
    app.connect("autodoc-process-docstring", escape_bars)
