"""Doctests that say ``import flambeau as torch`` show the names that such a program reads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flambeau.base import naming


@pytest.fixture(autouse=True)
def torch_spelling(request: pytest.FixtureRequest) -> Iterator[None]:
    """Names print as ``torch.…`` while such a doctest runs."""
    test = getattr(request.node, "dtest", None)
    if test is None or "flambeau as torch" not in (test.docstring or ""):
        yield
        return
    naming.set_prefix(naming.TORCH)
    yield
    naming.set_prefix(naming.OWN)
