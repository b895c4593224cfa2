"""``torch.utils._pytree``: nested containers as leaves and a description, as libraries use it."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from typing import Any, NamedTuple, NoReturn

from flambeau.base import pytree as _tree
from flambeau.base.missing import missing_attribute
from flambeau.base.pytree import TreeSpec, tree_flatten, tree_unflatten

__all__ = ["GetAttrKey", "MappingKey", "PyTree", "SequenceKey", "TreeSpec", "keystr", "key_get",
           "register_pytree_node", "tree_all", "tree_any", "tree_flatten",
           "tree_flatten_with_path", "tree_is_leaf", "tree_iter", "tree_leaves",
           "tree_leaves_with_path", "tree_map", "tree_map_", "tree_map_only", "tree_map_with_path",
           "tree_structure", "tree_unflatten"]

PyTree = Any
IsLeaf = Callable[[Any], bool] | None

# Per registered type: how to flatten it into pairs of a key and a child.
_WITH_KEYS: dict[type, Callable[[Any], tuple[list, Any]]] = {}


class SequenceKey(NamedTuple):
    """The step from a list, tuple or deque to its element ``idx``."""

    idx: int

    def __str__(self) -> str:
        return f"[{self.idx!r}]"

    def get(self, sequence: Any) -> Any:
        """The element of ``sequence``."""
        return sequence[self.idx]


class MappingKey(NamedTuple):
    """The step from a dict to the value of ``key``."""

    key: Any

    def __str__(self) -> str:
        return f"[{self.key!r}]"

    def get(self, mapping: Any) -> Any:
        """The value in ``mapping``."""
        return mapping[self.key]


class GetAttrKey(NamedTuple):
    """The step from an object to its attribute ``name``."""

    name: str

    def __str__(self) -> str:
        return f".{self.name}"

    def get(self, owner: Any) -> Any:
        """The attribute of ``owner``."""
        return getattr(owner, self.name)


def register_pytree_node(cls: type, flatten_fn: Callable[[Any], tuple[Iterable, Any]],
                         unflatten_fn: Callable[[Iterable, Any], Any], *,
                         serialized_type_name: str | None = None,
                         to_dumpable_context: Callable | None = None,
                         from_dumpable_context: Callable | None = None,
                         flatten_with_keys_fn: Callable | None = None) -> None:
    """Treat objects of exactly this class as nesting, here and in ``vmap``, ``grad`` and others.

    ``flatten_fn`` gives (children, context), ``unflatten_fn`` the object from both. The names for
    writing a nesting to a file are accepted; nestings are not written here. ValueError: the class
    is registered already.
    """
    if cls in _tree._NODES:
        raise ValueError(f"{cls} is already registered as pytree node.")

    def flatten(node: Any) -> tuple[list, Any]:
        children, context = flatten_fn(node)
        return list(children), context

    _tree.register(cls, flatten, unflatten_fn)
    if flatten_with_keys_fn is not None:
        _WITH_KEYS[cls] = flatten_with_keys_fn


def tree_structure(tree: PyTree, is_leaf: IsLeaf = None) -> TreeSpec:
    """The nesting alone."""
    return tree_flatten(tree, is_leaf)[1]


def tree_leaves(tree: PyTree, is_leaf: IsLeaf = None) -> list:
    """The leaves alone, in order.

    >>> from flambeau.utils._pytree import tree_leaves
    >>> tree_leaves({"a": 1, "b": [2, 3]})
    [1, 2, 3]
    """
    return tree_flatten(tree, is_leaf)[0]


def tree_iter(tree: PyTree, is_leaf: IsLeaf = None) -> Iterator:
    """The leaves one by one."""
    yield from tree_leaves(tree, is_leaf)


def tree_is_leaf(tree: PyTree, is_leaf: IsLeaf = None) -> bool:
    """Whether ``tree`` is a single leaf."""
    return (is_leaf is not None and is_leaf(tree)) or not _tree.is_node(type(tree))


def tree_map(func: Callable, tree: PyTree, *rests: PyTree, is_leaf: IsLeaf = None) -> PyTree:
    """``func`` of every leaf, beside the leaves of further trees that go at least as deep.

    ValueError: a further tree has another nesting.
    """
    leaves, spec = tree_flatten(tree, is_leaf)
    others = [_flatten_up_to(spec, rest) for rest in rests]
    return tree_unflatten([func(*each) for each in zip(leaves, *others)], spec)


def tree_map_(func: Callable, tree: PyTree, *rests: PyTree, is_leaf: IsLeaf = None) -> PyTree:
    """``tree_map`` for what ``func`` does: gives ``tree`` itself."""
    tree_map(func, tree, *rests, is_leaf=is_leaf)
    return tree


def _flatten_up_to(spec: TreeSpec, tree: PyTree) -> list:
    """The parts of ``tree`` where ``spec`` has its leaves."""
    if spec.kind is None:
        return [tree]
    kind = type(tree)
    mappings = (dict, OrderedDict, defaultdict)
    if kind is not spec.kind and not (kind in mappings and spec.kind in mappings):
        raise ValueError(f"Node type mismatch; expected {spec.kind!r}, but got {kind!r}.")
    if kind in mappings:
        return _mapping_up_to(spec, tree)
    children = _tree._NODES[kind][0](tree)[0] if kind in _tree._NODES else list(tree)
    if len(children) != len(spec.children):
        raise ValueError(f"Node arity mismatch; expected {len(spec.children)}, "
                         f"but got {len(children)}.")
    return [part for below, child in zip(spec.children, children)
            for part in _flatten_up_to(below, child)]


def _mapping_up_to(spec: TreeSpec, tree: Any) -> list:
    if len(tree) != len(spec.children):
        raise ValueError(f"Node arity mismatch; expected {len(spec.children)}, "
                         f"but got {len(tree)}.")
    keys = spec.context[1] if spec.kind is defaultdict else spec.context
    if set(keys) != set(tree):
        missing, extra = set(keys) - set(tree), set(tree) - set(keys)
        raise ValueError(f"Node keys mismatch; missing key(s): {missing}; "
                         f"extra key(s): {extra}.")
    return [part for below, key in zip(spec.children, keys)
            for part in _flatten_up_to(below, tree[key])]


def tree_map_only(kinds: Any, func: Callable, tree: PyTree, is_leaf: IsLeaf = None) -> PyTree:
    """``func`` of the leaves of these types (or for which ``kinds`` is true), others as they are.

    >>> from flambeau.utils._pytree import tree_map_only
    >>> tree_map_only(int, lambda x: x + 1, [1, "a"])
    [2, 'a']
    """
    chosen = _chooser(kinds)
    return tree_map(lambda leaf: func(leaf) if chosen(leaf) else leaf, tree, is_leaf=is_leaf)


def _chooser(kinds: Any) -> Callable[[Any], bool]:
    if not isinstance(kinds, (type, tuple)) and callable(kinds):
        return kinds
    return lambda leaf: isinstance(leaf, kinds)


def tree_all(pred: Callable[[Any], bool], tree: PyTree, is_leaf: IsLeaf = None) -> bool:
    """Whether ``pred`` is true of every leaf."""
    return all(map(pred, tree_iter(tree, is_leaf)))


def tree_any(pred: Callable[[Any], bool], tree: PyTree, is_leaf: IsLeaf = None) -> bool:
    """Whether ``pred`` is true of a leaf."""
    return any(map(pred, tree_iter(tree, is_leaf)))


def _dict_flatten_with_keys(mapping: dict) -> tuple[list[tuple[MappingKey, Any]], list]:
    return [(MappingKey(key), value) for key, value in mapping.items()], list(mapping)


def _keyed_children(tree: PyTree) -> list[tuple[Any, Any]]:
    kind = type(tree)
    if kind in _WITH_KEYS:
        return list(_WITH_KEYS[kind](tree)[0])
    if kind in (dict, OrderedDict, defaultdict):
        return _dict_flatten_with_keys(tree)[0]
    if hasattr(kind, "_fields"):
        return [(GetAttrKey(name), getattr(tree, name)) for name in kind._fields]
    children = _tree._NODES[kind][0](tree)[0]
    return [(SequenceKey(index), child) for index, child in enumerate(children)]


def tree_leaves_with_path(tree: PyTree, is_leaf: IsLeaf = None) -> list[tuple[tuple, Any]]:
    """Every leaf beside the tuple of keys that lead to it."""
    if tree_is_leaf(tree, is_leaf):
        return [((), tree)]
    return [((key, *path), leaf) for key, child in _keyed_children(tree)
            for path, leaf in tree_leaves_with_path(child, is_leaf)]


def tree_flatten_with_path(tree: PyTree, is_leaf: IsLeaf = None
                           ) -> tuple[list[tuple[tuple, Any]], TreeSpec]:
    """``tree_leaves_with_path`` and the nesting."""
    return tree_leaves_with_path(tree, is_leaf), tree_structure(tree, is_leaf)


def tree_map_with_path(func: Callable, tree: PyTree, *rests: PyTree, is_leaf: IsLeaf = None
                       ) -> PyTree:
    """``tree_map`` whose function is given the path of the leaf first."""
    pairs, spec = tree_flatten_with_path(tree, is_leaf)
    others = [_flatten_up_to(spec, rest) for rest in rests]
    return tree_unflatten([func(*pair, *more) for pair, *more in zip(pairs, *others)], spec)


def keystr(path: Iterable[Any]) -> str:
    """A path as text.

    >>> from flambeau.utils._pytree import MappingKey, SequenceKey, keystr
    >>> keystr((MappingKey("a"), SequenceKey(0)))
    "['a'][0]"
    """
    return "".join(map(str, path))


def key_get(tree: PyTree, path: Iterable[Any]) -> Any:
    """What a path leads to."""
    return reduce(lambda at, key: key.get(at), path, tree)


def __getattr__(name: str) -> NoReturn:
    raise missing_attribute(__name__, name, __all__)
