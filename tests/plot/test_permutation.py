"""Pictures of exact learning are drawn, and show what they were given."""

import numpy as np

from widelimit.plot import EnsembleSizes, RealNetworks, draw_ensemble_sizes, draw_networks, save


def sizes():
    bits, regimes = (3, 4, 5), ("ntk", "last")
    counts = {regime: (10, 20, 30) for regime in regimes}
    labels = [f"{which}, {kind}" for which in ("one input", "all inputs") for kind in ("bound", "exact", "midpoint")]
    return EnsembleSizes(
        bits,
        counts,
        counts,
        {regime: np.array([[8, 18, 25], [12, 25, 33]]) for regime in regimes},
        ((3, 4), (5, 7)),
        (10, 100, 1000),
        {label: (10, 100, 1000) for label in labels},
        dict.fromkeys(labels, "k"),
    )


def networks():
    widths = (64, 256)
    keys = [(k, kind) for k in (5, 10) for kind in ("set", "unset")]
    bias = {key: (0.01, 0.004) if key[1] == "set" else (-0.01, -0.004) for key in keys}
    curve = {k: ((10, 20), (0.5, 0.8), (0.6, 0.9)) for k in (5, 10)}
    observed = {k: ((10, 20), (0.55, 0.85), (0.01, 0.02)) for k in (5, 10)}
    ratios, errors = {k: (0.9, 1.0) for k in (5, 10)}, {k: (0.01, 0.01) for k in (5, 10)}
    return RealNetworks(widths, bias, dict.fromkeys(keys, (0.001, 0.001)), ratios, errors, curve, observed)


def test_ensemble_sizes_are_drawn(tmp_path):
    drawing = draw_ensemble_sizes(sizes())
    save(drawing, tmp_path / "sizes.svg")
    text = (tmp_path / "sizes.svg").read_text()
    assert "both layers train (NTK)" in text
    assert "published experiment" in text
    assert len(drawing.axes) == 2


def test_networks_are_drawn(tmp_path):
    drawing = draw_networks(networks())
    save(drawing, tmp_path / "networks.svg")
    assert [axes.get_title(loc="left") for axes in drawing.axes] == [
        "Bias of the mean",
        "Variance",
        "Probability of success",
    ]
