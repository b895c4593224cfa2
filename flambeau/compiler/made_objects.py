"""Objects of the program's own classes that a step makes and returns: attributes as a tree.

An object with a dict of attributes and nothing else is as repeatable as a dict is. It is taken
apart where a tensor that the step made is in it: what else a step returns is an object it found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from flambeau.base.pytree import TreeSpec, is_node, register, tree_flatten
from flambeau.core.tensor import Tensor

__all__ = ["Flattened", "attributes", "flattened"]

# The flag of classes that Python code has defined.
_DEFINED = 1 << 9
_LEAF = TreeSpec(None)


class _Object:
    """The kind of node that an object is in a tree's description."""


def _built(values: list, context: tuple[type, tuple[str, ...]]) -> Any:
    kind, names = context
    made: Any = object.__new__(kind) if kind.__new__ is object.__new__ else kind()
    made.__dict__.update(zip(names, values))
    return made


register(_Object, lambda made: ([], None), _built)


class Flattened:
    """The leaves of a result, their nesting, and the objects that were taken apart, by id."""

    def __init__(self) -> None:
        self.leaves: list[Any] = []
        self.spec = _LEAF
        self.objects: dict[int, Any] = {}


def flattened(result: Any, is_made: Callable[[Tensor], bool]) -> Flattened:
    """A result as a tree; ``is_made`` says of a tensor whether the step made it."""
    found = Flattened()
    found.spec = _flatten(result, found, is_made)
    return found


def attributes(made: Any) -> list[Any]:
    """The values of an object's attributes."""
    return list(vars(made).values())


def _flatten(x: Any, found: Flattened, is_made: Callable[[Tensor], bool]) -> TreeSpec:
    if is_node(type(x)):
        children, spec = tree_flatten(x, lambda y: y is not x)
        kind, context = spec.kind, spec.context
    elif _is_plain(type(x)) and id(x) not in found.objects and _holds(x, is_made, set()):
        found.objects[id(x)] = x
        children, kind, context = attributes(x), _Object, (type(x), tuple(vars(x)))
    else:
        found.leaves.append(x)
        return _LEAF
    return TreeSpec(kind, context, tuple([_flatten(c, found, is_made) for c in children]))


def _is_plain(kind: type) -> bool:
    """Whether objects of a class are their attributes and nothing else."""
    if kind is SimpleNamespace:
        return True
    bases = kind.__mro__[:-1]
    if hasattr(kind, "named_parameters") or hasattr(kind, "__del__") or issubclass(kind, Tensor):
        return False
    return (kind.__dictoffset__ != 0 and kind.__new__ is object.__new__
            and all([b.__flags__ & _DEFINED and not _slots(b) for b in bases]))


def _slots(kind: type) -> bool:
    names = kind.__dict__.get("__slots__", ())
    return any([n not in ("__dict__", "__weakref__")
                for n in ((names,) if isinstance(names, str) else names)])


def _holds(x: Any, is_made: Callable[[Tensor], bool], seen: set[int]) -> bool:
    """Whether a tensor that the step made is in an object, in what it holds, and so on."""
    if id(x) in seen:
        return False
    seen.add(id(x))
    if isinstance(x, Tensor):
        return is_made(x)
    return any([_holds(y, is_made, seen) for y in _held(x)])


def _held(x: Any) -> Iterator[Any]:
    if is_node(type(x)):
        yield from tree_flatten(x, lambda y: y is not x)[0]
    elif _is_plain(type(x)):
        yield from attributes(x)
