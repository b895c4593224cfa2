"""Parametrizations: parameters that are functions of other ones, computed when they are read."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flambeau.autograd.modes import no_grad
from flambeau.core.tensor import Tensor
from flambeau.nn.modules.container import ModuleDict, ModuleList
from flambeau.nn.parameter import Parameter

__all__ = ["ParametrizationList", "cached", "is_parametrized", "register_parametrization",
           "remove_parametrizations", "transfer_parametrizations_and_params",
           "type_before_parametrizations"]

NO_PICKLE = (
    "Serialization of parametrized modules is only supported through state_dict(). See:\n"
    "https://pytorch.org/tutorials/beginner/saving_loading_models.html"
    "#saving-loading-a-general-checkpoint-for-inference-and-or-resuming-training")


class _Cache:
    """What parametrizations gave inside ``cached``, by module and name."""

    depth = 0
    values: dict[tuple[int, str], Tensor] = {}


@contextmanager
def cached() -> Iterator[None]:
    """In this block each parametrized tensor is computed once, when first read."""
    _Cache.depth += 1
    try:
        yield
    finally:
        _Cache.depth -= 1
        if not _Cache.depth:
            _Cache.values = {}


def _keep(module: Any, name: str, tensor: Any) -> None:
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _inverse(module: Any, value: Any) -> Any:
    """``module.right_inverse(value)``, or ``value`` where the module has none."""
    if not hasattr(module, "right_inverse"):
        return value
    try:
        return module.right_inverse(value)
    except NotImplementedError:
        return value


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, in the order in which they are applied.

    ``original`` holds what the first is applied to; ``original0``, ``original1``, ... where its
    ``right_inverse`` gives several tensors.
    """

    original: Any
    unsafe: bool

    def __init__(self, modules: Sequence[Any], original: Any, unsafe: bool = False) -> None:
        if len(modules) == 0:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        shape, dtype = original.shape, original.dtype
        with no_grad():
            new = original
            for module in reversed(list(self)):
                new = _inverse(module, new)
        if not isinstance(new, (Tensor, Sequence)):
            raise ValueError("'right_inverse' must return a Tensor or a Sequence of tensors (list, "
                             f"tuple...). Got {type(new).__name__}")
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if isinstance(new, Tensor) else len(new)
        if isinstance(new, Tensor):
            _take_one(self, original, new)
        else:
            _take_several(self, original, new)
        if not unsafe:
            _check_result(self(), shape, dtype)

    def right_inverse(self, value: Any) -> None:
        """Set the originals so that the parametrized tensor becomes ``value``."""
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(f"parametrization {type(module).__name__} does not implement"
                                       " right_inverse.")
                value = module.right_inverse(value)
            if self.is_tensor:
                _assign_one(self, value)
            else:
                _assign_several(self, value)

    def forward(self) -> Any:  # type: ignore[override]
        """The parametrized tensor."""
        first, *others = self
        if self.is_tensor:
            x = first(self.original)
        else:
            x = first(*[getattr(self, f"original{i}") for i in range(self.ntensors)])
        for module in others:
            x = module(x)
        return x


def _take_one(owner: ParametrizationList, original: Any, new: Tensor) -> None:
    for what in ("dtype", "device"):
        before, after = getattr(original, what), getattr(new, what)
        if before != after:
            raise ValueError(f"When `right_inverse` outputs one tensor, it may not change the "
                             f"{what}.\noriginal.{what}: {before}\n"
                             f"right_inverse(original).{what}: {after}")
    with no_grad():
        original.set_(new)
    _keep(owner, "original", original)


def _take_several(owner: ParametrizationList, original: Any, new: Sequence) -> None:
    for i, part in enumerate(new):
        if not isinstance(part, Tensor):
            raise ValueError("'right_inverse' must return a Tensor or a Sequence of tensors (list, "
                             f"tuple...). Got element {i} of the sequence with type "
                             f"{type(part).__name__}.")
    for i, part in enumerate(new):
        if isinstance(original, Parameter):
            part = Parameter(part, original.requires_grad)
        part.requires_grad_(original.requires_grad)
        _keep(owner, f"original{i}", part)


def _check_result(found: Any, shape: Any, dtype: Any) -> None:
    if not isinstance(found, Tensor):
        raise ValueError(f"A parametrization must return a tensor. Got {type(found).__name__}.")
    for what, before, after in (("dtype", dtype, found.dtype), ("shape", shape, found.shape)):
        if before != after:
            raise ValueError(f"Registering a parametrization may not change the {what} of the "
                             "tensor, unless `unsafe` flag is enabled.\n"
                             f"unparametrized {what}: {before}\nparametrized {what}: {after}")


def _assign_one(owner: ParametrizationList, value: Any) -> None:
    if not isinstance(value, Tensor):
        raise ValueError(f"`right_inverse` should return a tensor. Got {type(value).__name__}")
    if value.dtype != owner.original.dtype:
        raise ValueError(f"The tensor returned by `right_inverse` has dtype {value.dtype} while "
                         f"`original` has dtype {owner.original.dtype}")
    owner.original.set_(value)


def _assign_several(owner: ParametrizationList, values: Any) -> None:
    if not isinstance(values, Sequence):
        raise ValueError("'right_inverse' must return a sequence of tensors. Got "
                         f"{type(values).__name__}.")
    if len(values) != owner.ntensors:
        raise ValueError("'right_inverse' must return a sequence of tensors of length "
                         f"{owner.ntensors}. Got a sequence of length {len(values)}.")
    for i, value in enumerate(values):
        if not isinstance(value, Tensor):
            raise ValueError("'right_inverse' must return a sequence of tensors or reference-type "
                             f"opaques. Got element {i} of type {type(value).__name__}.")
        held = getattr(owner, f"original{i}")
        if held.dtype != value.dtype:
            raise ValueError(f"Tensor {i} returned by `right_inverse` has dtype {value.dtype} "
                             f"while `original{i}` has dtype {held.dtype}")
    for i, value in enumerate(values):
        getattr(owner, f"original{i}").set_(value)


def _give_own_class(module: Any) -> None:
    """Make the module's class one of its own, where properties can be put on it."""
    kind = type(module)

    def deepcopy(self: Any, memo: dict) -> Any:
        if id(self) not in memo:
            copied = memo[id(self)] = self.__new__(type(self))
            copied.__setstate__(copy.deepcopy(super(own, self).__getstate__(), memo))
        return memo[id(self)]

    def getstate(self: Any) -> Any:
        raise RuntimeError(NO_PICKLE)

    methods: dict[str, Any] = {"__getstate__": getstate}
    if not hasattr(kind, "__deepcopy__"):
        methods["__deepcopy__"] = deepcopy
    own: Any = type(f"Parametrized{kind.__name__}", (kind,), methods)
    module.__class__ = own


def _put_property(module: Any, name: str) -> None:
    """Let reading ``module.name`` compute it, and setting it set the originals."""
    if hasattr(module, name):
        raise AssertionError(f"Module already has an attribute named '{name}'")

    def read(self: Any) -> Any:
        parametrization = self.parametrizations[name]
        if not _Cache.depth:
            return parametrization()
        key = (id(self), name)
        if key not in _Cache.values:
            _Cache.values[key] = parametrization()
        return _Cache.values[key]

    def assign(self: Any, value: Any) -> None:
        self.parametrizations[name].right_inverse(value)

    setattr(type(module), name, property(read, assign))


def register_parametrization(module: Any, tensor_name: str, parametrization: Any, *,
                             unsafe: bool = False) -> Any:
    """Let ``parametrization`` give the parameter or buffer ``tensor_name``; returns ``module``.

    What was there becomes ``module.parametrizations[tensor_name].original``, put through
    ``parametrization.right_inverse`` where it has one. Several may be registered one after the
    other. ValueError where the result has another dtype or shape, unless ``unsafe``.

    >>> import flambeau as torch
    >>> class Symmetric(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).T
    >>> net = register_parametrization(torch.nn.Linear(2, 2), "weight", Symmetric())
    >>> torch.equal(net.weight, net.weight.T)
    True
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        if not unsafe:
            _check_next(module, tensor_name, parametrization)
        held = module.parametrizations[tensor_name]
        held.append(parametrization)
        held.unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        original = getattr(module, tensor_name)
        held = ParametrizationList([parametrization], original, unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _give_own_class(module)
            module.parametrizations = ModuleDict()
        _put_property(module, tensor_name)
        module.parametrizations[tensor_name] = held
    else:
        raise ValueError(f"Module '{module}' does not have a parameter, a buffer, or a "
                         f"parametrized element with name '{tensor_name}'")
    return module


def _check_next(module: Any, name: str, parametrization: Any) -> None:
    """Raise where a further parametrization changes the tensor's dtype or shape."""
    before = getattr(module, name)
    found = parametrization(before)
    if not isinstance(found, Tensor):
        raise ValueError(f"A parametrization must return a tensor. Got {type(found).__name__}.")
    for what in ("dtype", "shape"):
        if getattr(found, what) != getattr(before, what):
            raise ValueError(
                f"Registering a parametrization may not change the {what} of the tensor, unless "
                f"the `unsafe` flag is enabled.\nmodule.{name}.{what}: {getattr(before, what)}\n"
                f"parametrization(module.{name}).{what}: {getattr(found, what)}")
    if not hasattr(parametrization, "right_inverse"):
        return
    try:
        back = parametrization.right_inverse(found)
    except NotImplementedError:
        return
    if not isinstance(back, Tensor):
        raise ValueError("parametrization.right_inverse must return a tensor. Got: "
                         f"{type(back).__name__}")
    for what in ("dtype", "shape"):
        if getattr(back, what) != getattr(before, what):
            raise ValueError(
                f"The tensor returned by parametrization.right_inverse must have the same {what} "
                f"as module.{name}, unless the `unsafe` flag is enabled.\n"
                f"module.{name}.{what}: {getattr(before, what)}\n"
                f"returned {what}: {getattr(back, what)}")


def is_parametrized(module: Any, tensor_name: str | None = None) -> bool:
    """Whether a tensor of ``module`` has parametrizations, or any has without a name."""
    held = getattr(module, "parametrizations", None)
    if not isinstance(held, ModuleDict):
        return False
    return len(held) > 0 if tensor_name is None else tensor_name in held


def remove_parametrizations(module: Any, tensor_name: str, leave_parametrized: bool = True) -> Any:
    """Make ``tensor_name`` a plain parameter or buffer again; returns ``module``.

    It keeps the value that the parametrizations gave, or gets the original one back. ValueError
    where it has no parametrizations, or several originals that it cannot get back.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    held = module.parametrizations[tensor_name]
    if held.is_tensor:
        original = held.original
        if leave_parametrized:
            with no_grad():
                original.set_(getattr(module, tensor_name))
    elif leave_parametrized:
        found = getattr(module, tensor_name)
        original = Parameter(found) if found.requires_grad else found
    else:
        raise ValueError("Cannot leave unparametrized (`leave_parametrized=False`) a tensor that "
                         "is parametrized in terms of a sequence of tensors.")
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _keep(module, tensor_name, original)
    if not is_parametrized(module):
        del module.parametrizations
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Any) -> type:
    """The class of a module before it got parametrizations."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(from_module: Any, to_module: Any,
                                         tensor_name: str | None = None) -> Any:
    """Give ``to_module`` the parametrizations of another, and the originals; returns it."""
    if not is_parametrized(from_module):
        return to_module
    for name in list(from_module.parametrizations) if tensor_name is None else [tensor_name]:
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name)))
        source = from_module.parametrizations[name]
        for parametrization in source:
            register_parametrization(to_module, name, parametrization)
        target = to_module.parametrizations[name]
        parts = ["original"] if hasattr(source, "original") else [
            f"original{i}" for i in range(source.ntensors)]
        for part in parts:
            setattr(target, part, getattr(source, part))
    return to_module
