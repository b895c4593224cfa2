"""Whether a later call can give what a traced call gave, from what the trace knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flambeau.base.device import device, layout, memory_format
from flambeau.base.dtypes import dtype
from flambeau.base.pytree import is_node, tree_flatten
from flambeau.compiler.made_objects import attributes
from flambeau.compiler.state import ATOMS
from flambeau.compiler.trace import Made, Trace
from flambeau.core.tensor import Tensor

__all__ = ["shared_results", "unrepeatable"]


def unrepeatable(results: Iterable[Any], arguments: Any, known: Iterable[int],
                 made: Mapping[int, Any] | None = None) -> Iterator[tuple[int, str]]:
    """The number of each result, with the kind of what it has that is made anew at every call,
    or that is an argument's own container. ``known`` has ids of objects that the program holds,
    ``made`` objects by id that a call makes of what it returns.
    """
    made = made or {}
    seen = {*known, *[id(x) for x in _nodes(arguments, {})]}
    for number, result in enumerate(results):
        for x in _nodes(result, made):
            if isinstance(x, (Tensor, *ATOMS)) or _is_constant(x):
                continue
            if is_node(type(x)) or id(x) in made:
                if id(x) in seen and not isinstance(x, tuple):
                    yield number, type(x).__name__
                seen.add(id(x))
            elif id(x) not in seen:
                yield number, type(x).__name__


def _nodes(tree: Any, made: Mapping[int, Any]) -> Iterator[Any]:
    """Containers and leaves."""
    yield tree
    # Only one level: the containers inside are leaves of it.
    if is_node(type(tree)):
        for x in tree_flatten(tree, lambda x: x is not tree)[0]:
            yield from _nodes(x, made)
    elif id(tree) in made:
        for x in attributes(tree):
            yield from _nodes(x, made)


def _is_constant(x: Any) -> bool:
    if isinstance(x, tuple) and not is_node(type(x)):
        return all(map(_is_constant, x))
    return isinstance(x, (*ATOMS, dtype, device, layout, memory_format))


def shared_results(trace: Trace) -> Iterator[int]:
    """The leaves of the result whose new memory another one shares: they would not be views."""
    first: dict[int, Made] = {}
    for at, x in enumerate(trace.outputs):
        if type(x) is not Made or x.memory.captures:
            continue
        whole = x if x.of is None else x.of
        if first.setdefault(id(x.memory), whole) is not whole:
            yield at
