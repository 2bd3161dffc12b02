"""The zoo's rows and what is made of their results; the rows themselves are checked by `make zoo`."""

import pytest

from zoo import rows, run
from zoo._check import Result
from zoo._row import Row, row
from zoo._table import text


def test_every_row_makes_a_network_and_says_where_its_code_is_from():
    for title, each in rows().items():
        assert isinstance(each, Row)
        assert title == f"{each.name} ({each.source})"


def test_two_rows_of_one_name_are_an_error():
    first = next(iter(rows().values()))
    with pytest.raises(ValueError, match="two rows"):
        row(first.name, source=first.source, x=None)(lambda: None)


def test_an_unknown_source_is_an_error():
    with pytest.raises(ValueError, match=r"source='keras'"):
        row("perceptron", source="keras", x=None)


def result(**figures):
    whole = {"title": "a (jax)", "name": "a", "family": "f", "source": "jax", "passed": True, "verdict": "fine"}
    return vars(Result(**whole | figures))


def test_the_table_says_what_failed():
    figures = {"z": 9.0, "threshold": 3.0, "resolution": 0.04, "compile_seconds": 1.0, "pair_seconds": 1e-4}
    found = {
        "a (jax)": result(**figures, passed=False),
        "b (jax)": result(name="b", verdict="at net.py:3:1 (f): W stays random | no limit"),
    }
    lines = text(found, ["a (jax)", "b (jax)", "c (jax)"]).splitlines()
    assert any(line.startswith("| a | jax | **9.00, failed** | 3.00") for line in lines)
    assert any("W stays random \\| no limit |" in line for line in lines)
    assert "1 networks of the zoo, not checked in this run: c (jax)." in lines


def test_a_row_that_takes_too_long_stands_in_the_table():
    found = run._apart("perceptron, NTK parametrisation (jax)", "recursion", 0.01)
    assert not found["passed"]
    assert found["verdict"] == "stopped after 0 s"
    assert "| perceptron, NTK parametrisation | jax | **failed**: stopped" in text(
        {found["title"]: found}, [found["title"]]
    )
