"""How a module keeps parameters, buffers and submodules, and shows them as attributes."""

from __future__ import annotations

import inspect
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from flambeau.base import naming
from flambeau.base.messages import text
from flambeau.core.tensor import Tensor
from flambeau.nn.modules.module_members import (
    HOOKS,
    PRIVATE,
    SLOTS,
    SPECIAL,
    AttributeView,
    Holder,
    Members,
    adopt_members,
    attributes_of,
    find_member,
    replace_attributes,
    set_special,
    visible,
)
from flambeau.nn.parameter import Buffer, Parameter

__all__ = ["Attributes", "start_attributes", "typename"]

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
            replace_attributes(self, attributes_of(given.owner))
        else:
            replace_attributes(self, given)
            adopt_members(self)

    __getattr__ = find_member

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
            if value is not None:
                raise not_parameter(name, value)
            self.register_parameter(name, value)
        elif isinstance(value, Attributes):
            if not MODULE_HOOKS and _is_new(self, held, name):
                dict.__setitem__(held["_modules"], name, value)
                held[name] = value
                return
            forget(held, name, ("_parameters", "_buffers"))
            held["_modules"][name] = run_hooks(MODULE_HOOKS, self, name, value)
        elif name in held["_modules"]:
            check_module(name, value)
            held["_modules"][name] = run_hooks(MODULE_HOOKS, self, name, value)
        elif name in held["_buffers"] or isinstance(value, Tensor) and isinstance(value, Buffer):
            assign_buffer(self, held, name, value)
        elif name in SPECIAL:
            set_special(self, name, value)
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
        state = visible(self)
        state.pop("_compiled_call_impl", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        held = attributes_of(self)
        kept = {k: v for k, v in state.items() if k not in HOOKS or v}
        held.update(kept)
        held[PRIVATE] = any(name in kept for name in HOOKS)
        held.setdefault("_non_persistent_buffers_set", set())
        adopt_members(self)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Keep ``tensor`` as the buffer ``name``; it is part of the state if ``persistent``.

        Raises AttributeError before ``Module.__init__``, TypeError for other types, KeyError for
        a name that is empty, dotted or taken.
        """
        if "_buffers" not in attributes_of(self):
            raise before_init(self, "buffer")
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
            raise before_init(self, "parameter")
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
    """Set a plain attribute; members need what ``Module.__init__`` makes."""
    for kind, what in ((Parameter, "parameters"), (Attributes, "module"), (Buffer, "buffer")):
        if isinstance(value, kind):
            raise before_init(module, what)
    object.__setattr__(module, name, value)


def before_init(module: Any, what: str) -> AttributeError:
    """The error for a member that is set before ``Module.__init__`` ran."""
    first = f"cannot assign {what} before Module.__init__() call"
    return AttributeError(f"{first}\n\n  " + text("super_init", kind=type(module).__name__))


def not_parameter(name: str, value: Any) -> TypeError:
    """The error for something else that is set where a parameter is."""
    first = (f"cannot assign '{typename(value)}' as parameter '{name}' "
             "(torch.nn.Parameter or None expected)")
    return TypeError(f"{first}\n\n  " + text("not_parameter", name=name, prefix=naming.prefix()))


def check_module(name: str, value: Any) -> None:
    """Raise where something else is set where a submodule is."""
    if value is not None:
        raise TypeError(f"cannot assign '{typename(value)}' as child module '{name}' "
                        "(torch.nn.Module or None expected)")


def _is_new(module: Any, held: dict, name: str) -> bool:
    """Whether a plain name stands for nothing yet, so that a member may just be put there."""
    kind = type(module)
    return (name not in held and name.isidentifier()
            and name not in held["_parameters"] and name not in held["_buffers"]
            and name not in held["_modules"] and not hasattr(kind, name)
            and kind.__getattr__ is find_member
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
