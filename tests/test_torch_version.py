"""Versions compare as PyTorch's do."""

from __future__ import annotations

import operator

import pytest

from flambeau.torch_version import TorchVersion

VERSIONS = ["2.13.0", "2.13", "2.13.0+cpu", "2.9", "2.9.1", "2.13.0a0", "2.13.0.dev2026", "2.14",
            "2.13.0rc1", "2.13.0.post1", "abc", "2.13.0a0+git1", "1.10", "v2.0", "2.13.0+cpu.2",
            "2.13.0+5", "2.13.0rc1.dev3"]
TUPLES = [(2, 1), (2, 13), (2, 13, 0), (2, 13, 1), ["2", "13"]]
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


def test_order():
    version = TorchVersion("2.13.0")
    assert version == "2.13" and version >= (2, 13) and version > "2.9.1"
    assert version > "2.13.0rc1" and version < "2.13.0+cpu" and version < "2.13.0.post1"
    assert {version: 1}["2.13.0"] == 1


@pytest.mark.parity
@pytest.mark.parametrize("text", VERSIONS)
def test_as_in_torch(torch_oracle, text):
    theirs = torch_oracle.torch_version.TorchVersion(text)
    others = VERSIONS if text == "abc" else [*VERSIONS, *TUPLES]
    for other in others:
        for compare in COMPARISONS:
            assert compare(TorchVersion(text), other) == compare(theirs, other), (other, compare)
