"""Pictures are written, change nothing global, and refuse what they cannot show."""

import subprocess
import sys
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest

from widelimit.finite import Comparison, Estimate, Report, Row
from widelimit.plot import DemoResult, draw_demo, draw_kernel, draw_verify, save

RNG = np.random.default_rng(0)
LABELS = np.repeat([0, 1, 2], [4, 5, 3])


def comparison(*, biased: bool) -> Comparison:
    widths = (64, 128, 256)
    rows = tuple(
        Row(1.0, 0.004, Estimate(8 / n if biased else 0.0, 0.002), Estimate(n**-0.5, 0.01 * n**-0.5)) for n in widths
    )
    z = RNG.standard_normal((3, 3))
    return Comparison(rows, z, np.full((3, 3), 0.004), None, Estimate(-0.5, 0.01), 6)


def report(**changes) -> Report:
    kernels = {"nngp": comparison(biased=False), "ntk": comparison(biased=True)}
    return Report(
        **{"widths": (64, 128, 256), "draws": (90, 80, 70), **kernels, "threshold": 3.7, "accuracy": 0.005} | changes
    )


def demo() -> DemoResult:
    gram = RNG.standard_normal((12, 30))
    return DemoResult(
        widths=(64, 128, 256),
        finite_accuracy=(0.9, 0.92, 0.93),
        nngp_accuracy=0.94,
        ntk_accuracy=0.95,
        disagreement=(0.2, 0.14, 0.1),
        images=RNG.uniform(size=(7, 28, 28)),
        image_labels=np.arange(7),
        kernel=gram @ gram.T,
        kernel_labels=LABELS,
        seconds={"kernel": 1.5, "training": 120.0},
    )


@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
@pytest.mark.parametrize("draw", [lambda: draw_verify(report()), lambda: draw_demo(demo())])
def test_written(draw, ending, tmp_path):
    path = tmp_path / f"picture.{ending}"
    save(draw(), path)
    start = path.read_bytes()[:40]
    assert start.startswith({"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[ending])


def test_nothing_global_changes(tmp_path):
    before = dict(mpl.rcParams)
    save(draw_verify(report()), tmp_path / "verify.png")
    save(draw_kernel(np.eye(12) + 0.5, LABELS), tmp_path / "kernel.png")
    assert dict(mpl.rcParams) == before


def test_importing_draws_in_no_matplotlib():
    code = "import sys, widelimit, widelimit.plot; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_window_is_opened():
    code = "import sys, numpy, widelimit.plot as p; p.draw_kernel(numpy.eye(3) + 1); assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def text_of(drawing) -> str:
    return " ".join(item.get_text() for item in drawing.findobj(mpl.text.Text))


def test_verify_says_whether_it_passed():
    assert "passed" in text_of(draw_verify(report(threshold=9.0)))
    assert "failed" in text_of(draw_verify(report(threshold=0.1)))


def test_bias_below_the_noise_is_marked_as_a_bound():
    drawing = draw_verify(report())
    legends = [text_of(axes.get_legend()) for axes in drawing.axes[:2]]
    assert ["below" in legend for legend in legends] == [False, True]


def test_demo_shows_every_number():
    text = text_of(draw_demo(demo()))
    for expected in ("95.0%", "94.0%", "120 s", "1.5 s", "122 s in all", "256"):
        assert expected in text


def test_errors_of_the_finite_networks_are_optional():
    draw_demo(replace(demo(), finite_error=(0.01, 0.01, 0.01), disagreement_error=(0.02, 0.01, 0.01)))


def test_kernel_needs_sorted_labels():
    with pytest.raises(ValueError, match="must be sorted"):
        draw_kernel(np.eye(12), LABELS[::-1])
