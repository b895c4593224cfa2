"""Nested tuples, lists and dicts as a list of their leaves and a description of the nesting."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["TreeSpec", "broadcast_prefix", "build_node", "is_node", "register", "tree_flatten",
           "tree_leaves", "tree_map", "tree_unflatten"]

# Per type: its children and what else it needs to be built again; and how to build it.
_NODES: dict[type, tuple[Callable, Callable]] = {}


def register(kind: type, flatten: Callable[[Any], tuple[list, Any]],
             unflatten: Callable[[list, Any], Any]) -> None:
    """Treat objects of exactly this type as nesting: ``flatten`` gives (children, context)."""
    _NODES[kind] = (flatten, unflatten)


def _flatten_default(d: defaultdict) -> tuple[list, Any]:
    return list(d.values()), [d.default_factory, list(d)]


register(tuple, lambda t: (list(t), None), lambda c, _: tuple(c))
register(list, lambda t: (t, None), lambda c, _: list(c))
register(dict, lambda d: (list(d.values()), list(d)), lambda c, keys: dict(zip(keys, c)))
register(OrderedDict, lambda d: (list(d.values()), list(d)),
         lambda c, keys: OrderedDict(zip(keys, c)))
register(defaultdict, _flatten_default, lambda c, x: defaultdict(x[0], zip(x[1], c)))
register(deque, lambda d: (list(d), d.maxlen), lambda c, length: deque(c, maxlen=length))


def _is_namedtuple(kind: type) -> bool:
    return issubclass(kind, tuple) and hasattr(kind, "_fields")


def is_node(kind: type) -> bool:
    """Whether objects of exactly this type are nesting, not leaves."""
    return kind in _NODES or _is_namedtuple(kind)


class TreeSpec:
    """The nesting of a tree: the type of its root, what that needs, the children's nesting."""

    __slots__ = ("children", "context", "kind", "num_leaves")

    def __init__(self, kind: type | None, context: Any = None,
                 children: tuple[TreeSpec, ...] = ()) -> None:
        self.kind = kind
        self.context = context
        self.children = children
        self.num_leaves: int = 1 if kind is None else sum(c.num_leaves for c in children)

    @property
    def type(self) -> Any:
        """The type of the root; None for a leaf, ``namedtuple`` for every named tuple."""
        named = self.kind is not None and _is_namedtuple(self.kind)
        return namedtuple if named and self.kind not in _NODES else self.kind

    @property
    def num_nodes(self) -> int:
        """The number of containers and leaves."""
        return 1 + sum(c.num_nodes for c in self.children)

    @property
    def num_children(self) -> int:
        """The number of children of the root."""
        return len(self.children)

    def is_leaf(self) -> bool:
        """Whether the tree is a single leaf."""
        return self.kind is None

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, TreeSpec) and self.kind is other.kind
                and self.context == other.context and self.children == other.children)

    def __hash__(self) -> int:
        return hash((self.kind, self.num_leaves))

    def __repr__(self, indent: int = 0) -> str:
        if self.kind is None:
            return "*"
        gap = ",\n" + " " * (indent + 2)
        children = gap.join(c.__repr__(indent + 2) for c in self.children)
        return f"TreeSpec({self.type.__name__}, {self.context}, [{children}])"


LEAF = TreeSpec(None)


def tree_flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None
                 ) -> tuple[list, TreeSpec]:
    """The leaves of ``tree`` in order, and its nesting; ``is_leaf`` says where to go no deeper.

    >>> tree_flatten({"a": 1, "b": (2, 3)})[0]
    [1, 2, 3]
    """
    leaves: list = []
    return leaves, _flatten(tree, leaves, is_leaf)


def _flatten(tree: Any, leaves: list, is_leaf: Callable[[Any], bool] | None = None) -> TreeSpec:
    if is_leaf is not None and is_leaf(tree):
        leaves.append(tree)
        return LEAF
    kind = type(tree)
    node = _NODES.get(kind)
    if node is not None:
        children, context = node[0](tree)
    elif _is_namedtuple(kind):
        children, context = list(tree), kind
    else:
        leaves.append(tree)
        return LEAF
    return TreeSpec(kind, context, tuple([_flatten(c, leaves, is_leaf) for c in children]))


def tree_unflatten(leaves: Iterable, spec: TreeSpec) -> Any:
    """The tree of this nesting with these leaves."""
    if not isinstance(spec, TreeSpec):
        raise TypeError("Expected `treespec` to be an instance of PyTreeSpec but got item of type "
                        f"{type(spec)}.")
    leaves = list(leaves)
    if len(leaves) != spec.num_leaves:
        raise ValueError(f"treespec.unflatten(leaves): `leaves` has length {len(leaves)} "
                         "but the spec refers to a pytree that holds "
                         f"{spec.num_leaves} items ({spec}).")
    return _unflatten(iter(leaves), spec)


def _unflatten(leaves: Any, spec: TreeSpec) -> Any:
    if spec.kind is None:
        return next(leaves)
    return build_node(spec, [_unflatten(leaves, c) for c in spec.children])


def build_node(spec: TreeSpec, children: list) -> Any:
    """The container at the root of a nesting, with these children."""
    assert spec.kind is not None
    node = _NODES.get(spec.kind)
    return spec.kind(*children) if node is None else node[1](children, spec.context)


def tree_leaves(tree: Any) -> list:
    """The leaves of ``tree`` in order."""
    return tree_flatten(tree)[0]


def tree_map(function: Callable, tree: Any, *rest: Any) -> Any:
    """``function`` of every leaf (and of the leaves of further trees of the same nesting)."""
    leaves, spec = tree_flatten(tree)
    others = [tree_leaves(t) for t in rest]
    return tree_unflatten([function(*xs) for xs in zip(leaves, *others)], spec)


def broadcast_prefix(prefix: Any, spec: TreeSpec) -> list | None:
    """The leaves of ``prefix``, each repeated for all leaves of ``spec`` that it stands for.

    None where ``prefix`` is not the upper part of a tree of that nesting.
    """
    kind = type(prefix)
    if kind not in _NODES and not _is_namedtuple(kind):
        return [prefix] * spec.num_leaves
    if spec.kind is not kind:
        return None
    children = _NODES[kind][0](prefix)[0] if kind in _NODES else list(prefix)
    if len(children) != len(spec.children):
        return None
    found: list = []
    for child, below in zip(children, spec.children):
        part = broadcast_prefix(child, below)
        if part is None:
            return None
        found += part
    return found
