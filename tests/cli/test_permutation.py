"""`widelimit permutation`: what it prints, and how it ends."""

import re
from contextlib import redirect_stdout
from io import StringIO

import pytest

from widelimit.cli import main


def code_of(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(("permutation", *arguments))
    return ended.value.code


@pytest.fixture(scope="module")
def printed():
    with redirect_stdout(StringIO()) as text:
        assert code_of("--k", "3", "--delta", "0.05", "--width", "256") == 0
    return text.getvalue()


def test_the_limit_is_right_everywhere(printed):
    assert "Sign of the limit's mean: right at 7 of 7 inputs." in printed


def test_the_limit_agrees_with_the_general_machinery(printed):
    found = re.search(r"differ\s+by\s+at\s+most\s+(\S+)\s+and\s+(\S+)\s+\(float64\)", printed)
    assert max(map(float, found.groups())) < 1e-12


def test_sizes_are_those_of_the_library(printed):
    from widelimit.exact import ensemble_size

    one, every = (ensemble_size(3, 0.05, inputs=which, method="exact") for which in ("one", "all"))
    assert re.search(rf"exact count, threshold zero +{one:,} +{every:,}\n", printed)


def test_the_verdict_has_a_row_for_each_threshold(printed):
    rows = re.findall(r"^(midpoint|zero) +([\d,]+) +0.95 +7 +([\d.]+)%", printed, re.MULTILINE)
    assert [row[0] for row in rows] == ["midpoint", "zero"]
    assert [row[2] for row in rows] == ["100.00", "100.00"]


def test_delta_must_be_a_probability(capsys):
    assert code_of("--delta", "1.5") == 1
    assert "`delta` is the probability of failure allowed" in capsys.readouterr().err


def test_k_must_be_two_or_more(capsys):
    assert code_of("--k", "1") == 2
    assert "--k" in capsys.readouterr().err
