"""Parameters, buffers and submodules of a module by name, and the attributes that show them."""

from __future__ import annotations

import copy
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["AttributeView", "HOOKS", "Holder", "Members", "PRIVATE", "SLOTS", "SPECIAL",
           "adopt_members", "attributes_of", "find_member", "hooks_of", "replace_attributes",
           "set_special", "visible"]

SLOTS = ("_parameters", "_buffers", "_modules")
HOOKS = ("_backward_pre_hooks", "_backward_hooks", "_forward_hooks", "_forward_hooks_with_kwargs",
         "_forward_hooks_always_called", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs",
         "_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks",
         "_load_state_dict_post_hooks")
FULL = "_is_full_backward_hook"
# The order in which PyTorch's modules hold what every module has.
ORDER = ("training", "_parameters", "_buffers", "_non_persistent_buffers_set", *HOOKS[:2], FULL,
         *HOOKS[2:], "_modules")
PRIVATE = "_module_has_hooks"
# Hooks that a call must look for.
CALLED = frozenset(("_backward_pre_hooks", "_backward_hooks", "_forward_hooks",
                    "_forward_pre_hooks"))
NO_HOOKS: Mapping[int, Any] = MappingProxyType({})
SPECIAL = frozenset((*SLOTS, *HOOKS, "_compiled_call_impl"))
ABSENT: Any = object()

class Holder:
    """What has attributes; its ``__dict__`` is the one that Python itself reads."""

    __slots__ = ("__dict__", "__weakref__")


attributes_of: Callable[[Any], dict] = Holder.__dict__["__dict__"].__get__
replace_attributes: Callable[[Any, dict], None] = Holder.__dict__["__dict__"].__set__


class Members(dict):
    """The parameters, the buffers or the submodules of a module, by name.

    Each is kept among the module's own attributes, too, where Python finds it at once; every
    change here shows there. A class attribute or plain attribute of the name goes first.
    """

    __slots__ = ("owner", "slot")

    def __init__(self, owner: weakref.ref, slot: str) -> None:
        self.owner = owner
        self.slot = slot

    @classmethod
    def made(cls, owner: Any, slot: str, start: dict) -> Members:
        """The members of ``owner`` that ``start`` has; they do not show yet."""
        found = cls(weakref.ref(owner), slot)
        dict.update(found, start)
        return found

    def show(self) -> None:
        """Make all members attributes of the owner."""
        for name in self:
            self._refresh(name, ABSENT)

    def hide(self) -> None:
        """Take the members from the owner's attributes; they stay here."""
        owner = self.owner()
        held = {} if owner is None else attributes_of(owner)
        for name, value in self.items():
            if held.get(name, ABSENT) is value:
                del held[name]

    def _refresh(self, name: str, before: Any) -> None:
        owner = self.owner()
        if owner is None:
            return
        held = attributes_of(owner)
        if held.get(self.slot) is not self:
            return
        values = [held[s][name] for s in SLOTS if s in held and name in held[s]]
        current = held.get(name, ABSENT)
        if current is not ABSENT and current is not before and not _any_is(values, current):
            return
        if values and not _covered(type(owner), name):
            held[name] = values[0]
        else:
            held.pop(name, None)

    def __setitem__(self, name: str, value: Any) -> None:
        before = self.get(name, ABSENT)
        super().__setitem__(name, value)
        self._refresh(name, before)

    def __delitem__(self, name: str) -> None:
        before = self[name]
        super().__delitem__(name)
        self._refresh(name, before)

    def pop(self, name: str, *default: Any) -> Any:
        if name not in self:
            return super().pop(name, *default)
        value = self[name]
        del self[name]
        return value

    def popitem(self) -> tuple[str, Any]:
        name, value = super().popitem()
        self._refresh(name, value)
        return name, value

    def clear(self) -> None:
        for name in list(self):
            del self[name]

    def setdefault(self, name: str, default: Any = None) -> Any:
        if name not in self:
            self[name] = default
        return self[name]

    def update(self, *others: Any, **named: Any) -> None:
        for name, value in dict(*others, **named).items():
            self[name] = value

    def __ior__(self, other: Any) -> Members:  # type: ignore[override,misc]
        self.update(other)
        return self

    def __deepcopy__(self, memo: dict) -> dict:
        found = memo[id(self)] = {}
        for name, value in self.items():
            found[name] = copy.deepcopy(value, memo)
        return found

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return dict, (), None, None, iter(self.items())


def _any_is(values: list, wanted: Any) -> bool:
    return any(v is wanted for v in values)


def _covered(kind: Any, name: str) -> bool:
    """Whether instances of the class find another attribute before a member of this name."""
    return hasattr(kind, name) or kind.__getattr__ is not find_member


def find_member(self: Any, name: str) -> Any:
    """The member ``name``, where it is no plain attribute; hooks are made when first read."""
    held = attributes_of(self)
    for slot in SLOTS:
        members = held.get(slot)
        if members is not None and name in members:
            return members[name]
    if name in HOOKS and "_parameters" in held:
        if name in CALLED:
            held[PRIVATE] = True
        held[name] = OrderedDict()
        return held[name]
    raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'",
                         name=name, obj=self)


def _stands_for_member(held: dict, name: str, value: Any) -> bool:
    """Whether an attribute is there only to show a member."""
    return any(name in held[s] and held[s][name] is value for s in SLOTS if s in held)


def hooks_of(owner: Any, name: str) -> Mapping[int, Any]:
    """The hooks of one kind, to be read only; none are made where there are none."""
    return attributes_of(owner).get(name, NO_HOOKS)


class NoHooks(OrderedDict):
    """Stands in a module's state for hooks that it has none of; copying it takes no time."""

    def __deepcopy__(self, memo: dict) -> NoHooks:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        return OrderedDict, ()


def visible(owner: Any) -> dict:
    """The attributes of a module but those that stand for members, in PyTorch's order.

    Hooks that nobody has read or registered show as empty.
    """
    held = attributes_of(owner)
    if "_parameters" not in held:
        return dict(held)
    found: dict[str, Any] = {}
    for name in ORDER:
        if name in held:
            found[name] = held[name]
        elif name in HOOKS:
            found[name] = NoHooks()
        elif name == FULL:
            found[name] = None
    for name, value in held.items():
        if name != PRIVATE and not _stands_for_member(held, name, value):
            found[name] = value
    return found


class AttributeView(dict):
    """``module.__dict__``: what ``visible`` says, anew at each look; changes go to the module."""

    __slots__ = ("owner",)

    def __init__(self, owner: Any) -> None:
        self.owner = owner

    def get(self, name: Any, default: Any = None) -> Any:
        held = attributes_of(self.owner)
        if name in held:
            value = held[name]
            if name in SPECIAL:
                return value
            shown = name != PRIVATE and not _stands_for_member(held, name, value)
            return value if shown else default
        if "_parameters" in held:
            if name in HOOKS:
                return getattr(self.owner, name)
            if name == FULL:
                return None
        return default

    def __getitem__(self, name: Any) -> Any:
        value = self.get(name, ABSENT)
        if value is ABSENT:
            raise KeyError(name)
        return value

    def __contains__(self, name: Any) -> bool:
        held = attributes_of(self.owner)
        return "_parameters" in held and name in HOOKS or self.get(name, ABSENT) is not ABSENT

    def __setitem__(self, name: str, value: Any) -> None:
        set_special(self.owner, name, value)

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        attributes_of(self.owner).pop(name, None)

    def pop(self, name: str, *default: Any) -> Any:
        if name not in self and default:
            return default[0]
        value = self[name]
        del self[name]
        return value

    def popitem(self) -> tuple[str, Any]:
        name = next(reversed(self))
        return name, self.pop(name)

    setdefault = Members.setdefault  # type: ignore[assignment]
    update = Members.update  # type: ignore[assignment]
    clear = Members.clear  # type: ignore[assignment]
    __ior__ = Members.__ior__  # type: ignore[assignment]
    __reduce_ex__ = Members.__reduce_ex__


def _reading_all(name: str, gives_hooks: bool) -> Callable:
    read = getattr(dict, name)

    def method(self: AttributeView, *args: Any) -> Any:
        if gives_hooks and "_parameters" in attributes_of(self.owner):
            for hooks in HOOKS:
                getattr(self.owner, hooks)
        return read(visible(self.owner), *args)

    method.__name__ = name
    return method


for _name in ("__iter__", "__reversed__", "__len__", "keys"):
    setattr(AttributeView, _name, _reading_all(_name, False))
for _name in ("__eq__", "__ne__", "__repr__", "__or__", "__ror__", "values", "items", "copy"):
    setattr(AttributeView, _name, _reading_all(_name, True))


def set_special(owner: Any, name: str, value: Any) -> None:
    """Set a plain attribute, a module's hooks or members of one kind, or its compiled call."""
    held = attributes_of(owner)
    if name in SLOTS:
        set_members(owner, name, value)
        return
    held[name] = value
    if name in (*CALLED, "_compiled_call_impl") and "_parameters" in held:
        held[PRIVATE] = True


def set_members(owner: Any, slot: str, given: dict) -> None:
    """Make ``given`` the members of this kind; another module's stay its own."""
    held = attributes_of(owner)
    before = held.get(slot)
    if isinstance(before, Members):
        before.hide()
    held[slot] = given if isinstance(given, Members) else Members.made(owner, slot, given)
    held[slot].show()


def adopt_members(owner: Any) -> None:
    """Make plain dicts of members, as a state has them, members of ``owner``, and show them."""
    held = attributes_of(owner)
    for slot in SLOTS:
        if slot in held and not isinstance(held[slot], Members):
            held[slot] = Members.made(owner, slot, held[slot])
    for slot in SLOTS:
        if slot in held:
            held[slot].show()
