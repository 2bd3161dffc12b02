"""The command line: what it prints and writes, and how it ends."""

import re
import sys
from contextlib import redirect_stdout
from io import StringIO

import matplotlib.image
import pytest

from widelimit.cli import main

SMALL = ("demo", "--train", "60", "--test", "20", "--widths", "8,16", "--networks", "2", "--epochs", "4")


def code_of(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """One small run: what it printed, and its picture."""
    picture = tmp_path_factory.mktemp("demo") / "demo.png"
    with redirect_stdout(StringIO()) as printed:
        assert code_of(*SMALL, "--out", str(picture)) == 0
    return printed.getvalue(), picture


def test_demo_prints_the_tensor_program(demo):
    assert "MatMul   g₃ := conv2/kernel x₁    [5, 5] 3×3 taps" in demo[0]


def test_demo_prints_what_was_recognised(demo):
    assert demo[0].count("relu [max] of 1 Gaussian: closed form, exact") == 2


def test_demo_prints_accuracies_of_both_kernels(demo):
    for name in ("NNGP", "NTK"):
        (share,) = re.findall(rf"{name} +test accuracy +([\d.]+)%", demo[0])
        assert 30 < float(share) <= 100  # of ten classes


def test_demo_prints_a_row_for_each_width_and_the_limit(demo):
    rows = re.findall(r"^ +(8|16|limit) +([\d.]+)% +([\d.]+)% +([\d.]+) +([\d.]+)$", demo[0], re.MULTILINE)
    assert [row[0] for row in rows] == ["8", "16", "limit"]
    for _, right, same, first, last in rows:
        assert 0 <= float(right) <= 100
        assert 0 <= float(same) <= 100
        assert 0 <= float(first) < 2
        assert 0 <= float(last) < 2


def test_demo_prints_the_time_of_every_stage(demo):
    times = re.search(r"Wrote .*: (.*)", demo[0])[1]
    assert re.sub(r" [\d.]+ s", "", times) == "Images, Tensor Program, Kernels, Regression, Finite networks"


def test_demo_draws_a_picture(demo):
    pixels = matplotlib.image.imread(demo[1])
    assert min(pixels.shape[:2]) > 600
    assert pixels.std() > 0.05


def test_version(capsys):
    import widelimit

    assert code_of("--version") == 0
    assert capsys.readouterr().out == f"widelimit {widelimit.__version__}\n"


def test_without_arguments_there_is_help(capsys):
    code_of()
    assert "demo" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options", [("--widths", "64,a"), ("--widths", "64,32"), ("--widths", "0,4"), ("--train", "3"), ("--no-such",)]
)
def test_bad_options_are_usage_errors(options, capsys):
    assert code_of("demo", *options) == 2
    assert options[0] in capsys.readouterr().err.replace("'", "")


def test_more_images_than_there_are(capsys):
    assert code_of("demo", "--train", "4500", "--test", "600") == 1
    assert capsys.readouterr().err == (
        "widelimit: error: `--train 4500 --test 600`: there are 5000 images, so both together are at most 5000\n"
    )


def test_a_folder_that_does_not_exist(tmp_path, capsys):
    assert code_of("demo", "--out", str(tmp_path / "none" / "demo.png")) == 1
    assert f"there is no folder {tmp_path / 'none'}" in capsys.readouterr().err


def test_a_picture_of_no_known_format(tmp_path, capsys):
    assert code_of("demo", "--out", str(tmp_path / "demo.xyz")) == 1
    assert "the ending must be one of .pdf, .png, .svg" in capsys.readouterr().err


def test_missing_packages_are_named(monkeypatch, capsys):
    monkeypatch.setattr("widelimit.cli._extras.find_spec", lambda name: None if name in ("mlxtend", "tqdm") else name)
    assert code_of("demo") == 1
    assert capsys.readouterr().err == (
        'widelimit: error: `widelimit demo` needs mlxtend, tqdm, not installed here: `pip install "widelimit[demo]"`\n'
    )


def test_without_typer(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "widelimit.cli._app", raising=False)
    monkeypatch.setitem(sys.modules, "typer", None)
    assert code_of("--version") == 1
    assert capsys.readouterr().err == 'widelimit: error: the command line needs typer: `pip install "widelimit[cli]"`\n'
