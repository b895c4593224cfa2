"""How a module keeps parameters, buffers and submodules, and shows them as attributes."""

from __future__ import annotations

import inspect
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from flambeau.core.tensor import Tensor
from flambeau.nn.parameter import Buffer, Parameter

__all__ = ["Attributes", "Members", "attributes_of", "typename"]

SLOTS = ("_parameters", "_buffers", "_modules")
HOOKS = ("_backward_pre_hooks", "_backward_hooks", "_forward_hooks", "_forward_hooks_with_kwargs",
         "_forward_hooks_always_called", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs",
         "_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks",
         "_load_state_dict_post_hooks")
# The order in which PyTorch's modules hold what every module has.
ORDER = ("training", "_parameters", "_buffers", "_non_persistent_buffers_set", *HOOKS[:2],
         "_is_full_backward_hook", *HOOKS[2:], "_modules")
PRIVATE = "_module_has_hooks"
ABSENT: Any = object()

# Hooks of all modules, on the registration of a buffer, a submodule or a parameter.
BUFFER_HOOKS: dict[int, Callable] = OrderedDict()
MODULE_HOOKS: dict[int, Callable] = OrderedDict()
PARAMETER_HOOKS: dict[int, Callable] = OrderedDict()


def typename(obj: Any) -> str:
    """The name of an object's type (of a class or function: its own) with its module's.

    >>> typename(3), typename(OrderedDict())
    ('int', 'collections.OrderedDict')
    """
    if isinstance(obj, Tensor):
        return obj.type()
    named = obj if hasattr(obj, "__qualname__") or hasattr(obj, "__name__") else type(obj)
    module = getattr(named, "__module__", None) or ""
    name = getattr(named, "__qualname__", None) or named.__name__
    return name if module in ("", "builtins") else f"{module}.{name}"


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

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return dict, (), None, None, iter(self.items())


def _any_is(values: list, wanted: Any) -> bool:
    return any(v is wanted for v in values)


def _covered(kind: type, name: str) -> bool:
    """Whether instances of the class find another attribute before a member of this name."""
    return hasattr(kind, name) or kind.__getattr__ is not Attributes.__getattr__


def visible(owner: Any) -> dict:
    """The attributes of a module but those that stand for members, in PyTorch's order."""
    held = attributes_of(owner)
    if "_parameters" not in held:
        return dict(held)
    for name in HOOKS:
        if name not in held:
            getattr(owner, name)
    members = [held[s] for s in SLOTS if s in held]
    found = {name: getattr(owner, name, None) for name in ORDER}
    for name, value in held.items():
        if name != PRIVATE and not any(name in m and m[name] is value for m in members):
            found[name] = value
    return found


class AttributeView(dict):
    """``module.__dict__``: what ``visible`` says, anew at each look; changes go to the module."""

    __slots__ = ("owner",)

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        super().__init__(visible(owner))

    def _look(self) -> None:
        super().clear()
        super().update(visible(self.owner))

    def __setitem__(self, name: str, value: Any) -> None:
        held = attributes_of(self.owner)
        if name in SLOTS:
            set_members(self.owner, name, value)
        else:
            held[name] = value
        super().__setitem__(name, value)

    def __delitem__(self, name: str) -> None:
        self._look()
        super().__delitem__(name)
        del attributes_of(self.owner)[name]

    pop = Members.pop
    setdefault = Members.setdefault
    update = Members.update
    clear = Members.clear
    __ior__ = Members.__ior__  # type: ignore[assignment]
    __reduce_ex__ = Members.__reduce_ex__

    def popitem(self) -> tuple[str, Any]:
        name = next(reversed(self))
        return name, self.pop(name)


def _looking(name: str) -> Callable:
    read = getattr(dict, name)

    def method(self: AttributeView, *args: Any) -> Any:
        self._look()
        return read(self, *args)

    method.__name__ = name
    return method


for _name in ("__getitem__", "__contains__", "__iter__", "__reversed__", "__len__", "__eq__",
              "__ne__", "__repr__", "__or__", "__ror__", "get", "keys", "values", "items", "copy"):
    setattr(AttributeView, _name, _looking(_name))


def set_members(owner: Any, slot: str, given: dict) -> None:
    """Make ``given`` the members of this kind; another module's stay its own."""
    held = attributes_of(owner)
    before = held.get(slot)
    if isinstance(before, Members):
        before.hide()
    held[slot] = given if isinstance(given, Members) else Members.made(owner, slot, given)
    held[slot].show()


def run_hooks(hooks: dict, owner: Any, name: str, value: Any) -> Any:
    """``value``, or what a registration hook gives in its place."""
    for hook in hooks.values():
        other = hook(owner, name, value)
        if other is not None:
            value = other
    return value


class Attributes(Holder):
    """Attributes of a module: parameters, buffers and submodules are registered as they are set."""

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Any]
    _non_persistent_buffers_set: set[str]
    _is_full_backward_hook: bool | None = None
    # Whether a call must look for hooks; a module whose __init__ never ran fails in looking.
    _module_has_hooks = True

    @property
    def __dict__(self) -> dict:  # type: ignore[override]
        return AttributeView(self)

    @__dict__.setter
    def __dict__(self, given: dict) -> None:
        if isinstance(given, AttributeView):
            given = attributes_of(given.owner)
        replace_attributes(self, given)

    def __getattr__(self, name: str) -> Any:
        held = attributes_of(self)
        for slot in SLOTS:
            members = held.get(slot)
            if members is not None and name in members:
                return members[name]
        if name in HOOKS and "_parameters" in held:
            held[PRIVATE] = True
            held[name] = OrderedDict()
            return held[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'",
                             name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        held = attributes_of(self)
        params = held.get("_parameters")
        if params is None:
            set_before_init(self, name, value)
        elif isinstance(value, Tensor) and isinstance(value, Parameter):
            if value.is_leaf and not PARAMETER_HOOKS and _is_new(self, held, name):
                dict.__setitem__(params, name, value)
                held[name] = value
                return
            forget(held, name, ("_buffers", "_modules"))
            self.register_parameter(name, value)
        elif name in params:
            check_none(name, value, "parameter", "Parameter")
            self.register_parameter(name, value)
        elif isinstance(value, Attributes):
            if not MODULE_HOOKS and _is_new(self, held, name):
                dict.__setitem__(held["_modules"], name, value)
                held[name] = value
                return
            forget(held, name, ("_parameters", "_buffers"))
            held["_modules"][name] = run_hooks(MODULE_HOOKS, self, name, value)
        elif name in held["_modules"]:
            check_none(name, value, "child module", "Module")
            held["_modules"][name] = run_hooks(MODULE_HOOKS, self, name, value)
        elif name in held["_buffers"] or isinstance(value, Tensor) and isinstance(value, Buffer):
            assign_buffer(self, held, name, value)
        elif name in SLOTS:
            set_members(self, name, value)
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        for members in (self._parameters, self._buffers, self._modules):
            if name in members:
                del members[name]
                if members is self._buffers:
                    self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        held = [*dir(type(self)), *self.__dict__, *self._parameters, *self._modules,
                *self._buffers]
        return sorted(name for name in held if not name[0].isdigit())

    def __getstate__(self) -> dict[str, Any]:
        held = attributes_of(self)
        has_all = {name: held[name] if name in held else OrderedDict() for name in HOOKS}
        state = {**dict.fromkeys(ORDER), **has_all, **visible_without_hooks(held)}
        state.pop("_compiled_call_impl", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        held = attributes_of(self)
        kept = {k: v for k, v in state.items() if k not in HOOKS or v}
        held.update(kept)
        held[PRIVATE] = any(name in kept for name in HOOKS)
        held.setdefault("_non_persistent_buffers_set", set())
        for slot in SLOTS:
            if slot in held and not isinstance(held[slot], Members):
                held[slot] = Members.made(self, slot, held[slot])
        for slot in SLOTS:
            if slot in held:
                held[slot].show()

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Keep ``tensor`` as the buffer ``name``; it is part of the state if ``persistent``.

        Raises AttributeError before ``Module.__init__``, TypeError for other types, KeyError for
        a name that is empty, dotted or taken.
        """
        if "_buffers" not in attributes_of(self):
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        check_name(self, name, "buffer", "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"cannot assign '{typename(tensor)}' object to buffer '{name}' "
                            "(torch Tensor or None required)")
        self._buffers[name] = run_hooks(BUFFER_HOOKS, self, name, tensor)
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Keep ``param`` as the parameter ``name``.

        Raises AttributeError before ``Module.__init__``, TypeError for other types, KeyError for
        a name that is empty, dotted or taken, ValueError for a tensor that is not a leaf.
        """
        if "_parameters" not in attributes_of(self):
            raise AttributeError("cannot assign parameter before Module.__init__() call")
        check_name(self, name, "parameter", "_parameters")
        if param is None:
            self._parameters[name] = None
        elif not isinstance(param, Parameter):
            raise TypeError(f"cannot assign '{typename(param)}' object to parameter '{name}' "
                            "(torch.nn.Parameter or None required)")
        elif param.grad_fn:
            raise ValueError(
                f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be "
                f"created explicitly. To express '{name}' as a function of another Tensor, "
                "compute the value in the forward() method.")
        else:
            self._parameters[name] = run_hooks(PARAMETER_HOOKS, self, name, param)

    def add_module(self, name: str, module: Any) -> None:
        """Keep ``module`` (or None) as the submodule ``name``.

        Raises TypeError for other types, KeyError for a name that is empty, dotted or taken.
        """
        if not isinstance(module, Attributes) and module is not None:
            raise TypeError(f"{typename(module)} is not a Module subclass")
        if not isinstance(name, str):
            raise TypeError(f"module name should be a string. Got {typename(name)}")
        if hasattr(self, name) and name not in self._modules:
            raise KeyError(f"attribute '{name}' already exists")
        if "." in name:
            raise KeyError(f'module name can\'t contain ".", got: {name}')
        if name == "":
            raise KeyError('module name can\'t be empty string ""')
        self._modules[name] = run_hooks(MODULE_HOOKS, self, name, module)

    def register_module(self, name: str, module: Any) -> None:
        """``add_module`` by another name."""
        self.add_module(name, module)


def visible_without_hooks(held: dict) -> dict:
    """``visible`` of attributes, without hooks being made where there are none."""
    members = [held[s] for s in SLOTS if s in held]
    return {name: value for name, value in held.items()
            if name != PRIVATE and not any(name in m and m[name] is value for m in members)}


def start_attributes(module: Any) -> None:
    """Give a module what every module has, and no members."""
    held = attributes_of(module)
    if "_parameters" in held:
        _forget_all(held)
    held["training"] = True
    held[PRIVATE] = False
    owner = weakref.ref(module)
    for slot in SLOTS:
        held[slot] = Members(owner, slot)
    held["_non_persistent_buffers_set"] = set()


def _forget_all(held: dict) -> None:
    """Take away what an earlier ``__init__`` gave."""
    for slot in SLOTS:
        if isinstance(held[slot], Members):
            held[slot].hide()
    for name in (*HOOKS, "_is_full_backward_hook"):
        held.pop(name, None)


def set_before_init(module: Any, name: str, value: Any) -> None:
    if isinstance(value, Parameter):
        raise AttributeError("cannot assign parameters before Module.__init__() call")
    if isinstance(value, Attributes):
        raise AttributeError("cannot assign module before Module.__init__() call")
    if isinstance(value, Buffer):
        raise AttributeError("cannot assign buffer before Module.__init__() call")
    object.__setattr__(module, name, value)


def check_none(name: str, value: Any, what: str, kind: str) -> None:
    if value is not None:
        raise TypeError(f"cannot assign '{typename(value)}' as {what} '{name}' "
                        f"(torch.nn.{kind} or None expected)")


def _is_new(module: Any, held: dict, name: str) -> bool:
    """Whether a plain name stands for nothing yet, so that a member may just be put there."""
    kind = type(module)
    return (name not in held and name.isidentifier()
            and name not in held["_parameters"] and name not in held["_buffers"]
            and name not in held["_modules"] and not hasattr(kind, name)
            and kind.__getattr__ is Attributes.__getattr__
            and kind.register_parameter is Attributes.register_parameter
            and type(held["_parameters"]) is type(held["_modules"]) is Members
            and held["_parameters"].owner() is held["_modules"].owner() is module)


def forget(held: dict, name: str, slots: tuple[str, ...]) -> None:
    """Take a plain attribute of this name away, and members of the other kinds."""
    kept = [held[s] for s in SLOTS if s not in slots]
    for slot in slots:
        held[slot].pop(name, None)
    if name in held and not any(name in m and m[name] is held[name] for m in kept):
        del held[name]
    held["_non_persistent_buffers_set"].discard(name)


def assign_buffer(module: Any, held: dict, name: str, value: Any) -> None:
    if value is not None and not isinstance(value, Tensor):
        raise TypeError(f"cannot assign '{typename(value)}' as buffer '{name}' "
                        "(torch.nn.Buffer, torch.Tensor or None expected)")
    if isinstance(value, Buffer):
        persistent = value.persistent
    else:
        persistent = name not in held["_non_persistent_buffers_set"]
    register = module.register_buffer
    if (getattr(register, "__func__", None) is Attributes.register_buffer
            or "persistent" in inspect.signature(register).parameters):
        register(name, value, persistent)
    elif persistent:
        register(name, value)
    else:
        raise RuntimeError(
            "Registering a non-persistent buffer on a Module subclass that implements "
            "register_buffer() without the persistent argument is not allowed.")


def check_name(module: Any, name: Any, what: str, members: str) -> None:
    if not isinstance(name, str):
        raise TypeError(f"{what} name should be a string. Got {typename(name)}")
    if "." in name:
        raise KeyError(f'{what} name can\'t contain "."')
    if name == "":
        raise KeyError(f'{what} name can\'t be empty string ""')
    if hasattr(module, name) and name not in getattr(module, members):
        raise KeyError(f"attribute '{name}' already exists")
