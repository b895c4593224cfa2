"""``compile``: a function that runs as one program where nothing it depends on has changed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from flambeau.compiler.results import FAILED, MISSED
from flambeau.compiler.unit import Unit

__all__ = ["compile"]


def compile(model: Callable | None = None, *, fullgraph: bool = False, disable: bool = False) -> Any:
    """A function that does as ``model``, compiled."""
    if model is None:
        return functools.partial(compile, fullgraph=fullgraph, disable=disable)
    if disable:
        return model
    unit = Unit(model, fullgraph)

    @functools.wraps(model)
    def compiled(*args: Any, **kwargs: Any) -> Any:
        if not kwargs and len(args) == unit.count:
            result = unit.fast(*args)
            if result is not MISSED and result is not FAILED:
                return result
        return unit(args, kwargs)

    compiled._unit = unit  # type: ignore[attr-defined]
    return compiled
