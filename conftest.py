"""Doctests that say ``import flambeau as torch`` show the names that such a program reads."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from flambeau.base import naming

# Without the optional package its modules cannot be imported to look for doctests.
collect_ignore = [] if find_spec("tensorboard") else ["flambeau/utils/tensorboard"]


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
