"""The bar of `progress=True`."""

import sys

import pytest

from widelimit import _progress


def test_items_are_handed_on(capsys):
    assert list(_progress.bar(range(3), desc="tiles")) == [0, 1, 2]
    assert "tiles: 100%" in capsys.readouterr().err


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match="pip install 'widelimit\\[progress\\]'"):
        _progress.bar(range(3))
