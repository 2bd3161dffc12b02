"""A program's picture: nothing overlaps, shared weights have one colour, and every sign says what it is."""

import itertools
import sys
import xml.etree.ElementTree as ET

import jax.numpy as jnp
import pytest

import widelimit as wl
from tests.networks import drawn, layer_norm
from widelimit import trace
from widelimit.limit import Program
from widelimit.plot._layers import Box, layered
from widelimit.plot._program import program_scene


def recurrence(params, x):
    state = jnp.zeros(params["b"].shape)
    for t in range(3):
        state = layer_norm(jnp.tanh(state @ params["w"] / jnp.sqrt(state.size) + x[t] @ params["u"] + params["b"]))
    return state @ params["v"] / jnp.sqrt(state.size)


@pytest.fixture(scope="module")
def program():
    net = wl.Network(drawn(lambda n: {"u": (2, n), "w": (n, n), "b": (n,), "v": (n, 1)}), recurrence)
    return Program(trace.read(net, (3, 2), "ntk", None))


@pytest.fixture(scope="module")
def scenes(program):
    return {direction: program_scene(program, direction) for direction in ("right", "down")}


DIAMONDS = [(0, 1), (0, 2), (1, 3), (2, 3), (0, 3), (3, 4), (3, 5), (4, 6), (5, 6), (0, 6)]


def test_boxes_lie_apart():
    boxes = [Box(20.0 + 7 * i, 15.0) for i in range(7)]
    at = layered(boxes, DIAMONDS, gap=10.0).at
    for (i, a), (j, b) in itertools.combinations(enumerate(boxes), 2):
        beside = abs(at[i][0] - at[j][0]) >= (a.across + b.across) / 2 + 10 - 1e-6
        assert beside or abs(at[i][1] - at[j][1]) >= (a.along + b.along) / 2


def test_computation_goes_one_way():
    at = layered([Box(10.0, 10.0)] * 7, DIAMONDS).at
    assert all(at[a][1] < at[b][1] for a, b in DIAMONDS)


def test_planar_programs_have_no_crossings():
    at = layered([Box(10.0, 10.0)] * 6, [(0, 2), (1, 3), (2, 4), (3, 5), (0, 4)]).at
    assert (at[0][0] < at[1][0]) == (at[2][0] < at[3][0]) == (at[4][0] < at[5][0])


def test_svg_is_well_formed(scenes, tmp_path):
    scenes["right"].save(tmp_path / "net.svg")
    assert ET.fromstring((tmp_path / "net.svg").read_text()).tag.endswith("svg")


def test_svg_needs_no_matplotlib(program, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    program.draw(tmp_path / "net.svg")
    assert (tmp_path / "net.svg").exists()


@pytest.mark.parametrize("ending", ["pdf", "png"])
def test_other_formats(scenes, ending, tmp_path):
    scenes["down"].save(tmp_path / f"net.{ending}")
    assert (tmp_path / f"net.{ending}").read_bytes()[:4] in (b"%PDF", b"\x89PNG")


def test_tool_tips_name_instruction_and_line(scenes):
    tips = [group.tip for group in scenes["right"].groups]
    assert any(tip.startswith("MatMul: ") and "test_program.py:" in tip for tip in tips)


def test_a_shared_weight_has_one_colour(scenes):
    shapes = [s for group in scenes["right"].groups for s in group.shapes]
    assert len({s.color for s in shapes if getattr(s, "text", "") == "w"}) == 1
    assert any("w, shared by 2 uses" in getattr(s, "text", "") for s in shapes)


def test_directions(scenes):
    assert scenes["right"].size[0] > scenes["right"].size[1]
    assert scenes["down"].size[0] < scenes["down"].size[1]


def test_unknown_direction_is_refused(program, tmp_path):
    with pytest.raises(ValueError, match="direction='up'"):
        program.draw(tmp_path / "net.svg", direction="up")
