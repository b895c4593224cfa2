"""What is said of missing names."""

from __future__ import annotations

from flambeau.base.missing import missing_attribute, missing_module, nearest


def test_nearest():
    assert nearest("MSEloss", ["MSELoss", "L1Loss"]) == "MSELoss"
    assert nearest("conv2", ["conv1d", "conv2d", "_conv2"]) == "conv2d"
    assert nearest("zzz", ["relu"]) is None


def test_the_first_line_is_pytorchs():
    error = missing_attribute("torch.nn.functional", "rleu", ["relu"])
    assert str(error).splitlines()[0] == "module 'flambeau.nn.functional' has no attribute 'rleu'"
    assert error.name == "rleu" and error.obj is None
    assert str(missing_module("torch.x", [])).splitlines()[0] == "No module named 'torch.x'"


def test_private_names_are_missed_in_one_line():
    error = missing_attribute("flambeau", "__wrapped__", ["wrapped"])
    assert str(error) == "module 'flambeau' has no attribute '__wrapped__'"
