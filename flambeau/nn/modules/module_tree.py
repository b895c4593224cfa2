"""Modules as a tree: names and members, and what is done to all of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, Self

from flambeau.autograd.modes import no_grad
from flambeau.base.device import as_device
from flambeau.core.face import FACES
from flambeau.core.tensor import Tensor
from flambeau.nn.modules.module_attributes import Attributes
from flambeau.nn.modules.module_target import parse_to
from flambeau.nn.parameter import Parameter

__all__ = ["ModuleTree"]

empty_like = FACES["torch"]["empty_like"]

COMPLEX_MODULES = (
    "Complex modules are a new feature under active development whose design may change, and some "
    "modules might not work as expected when using complex tensors as parameters or buffers. "
    "Please file an issue at https://github.com/pytorch/pytorch/issues/new?template=bug-report.yml "
    "if a complex module does not work as expected.")
REPLICA = (
    "Calling .zero_grad() from a module created with nn.DataParallel() has no effect. The "
    "parameters are copied (in a differentiable manner) from the original module. This means they "
    "are not leaf nodes in autograd and so don't accumulate gradients. If you need gradients in "
    "your forward method, consider using autograd.grad instead.")


class ModuleTree(Attributes):
    """A module with its submodules: walking through them, and changing all of them."""

    training: bool

    # Names, members and paths.

    def _named_members(self, members_of: Callable, prefix: str = "", recurse: bool = True,
                       remove_duplicate: bool = True) -> Iterator[tuple[str, Any]]:
        seen = set()
        modules = (self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
                   if recurse else [(prefix, self)])
        for path, module in modules:
            for name, value in members_of(module):
                if value is None or value in seen:
                    continue
                if remove_duplicate:
                    seen.add(value)
                yield f"{path}.{name}" if path else name, value

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, those of submodules included if ``recurse``; each once."""
        for _, param in self.named_parameters(recurse=recurse):
            yield param

    def named_parameters(self, prefix: str = "", recurse: bool = True,
                         remove_duplicate: bool = True) -> Iterator[tuple[str, Parameter]]:
        """Pairs of name and parameter, in the order of registration.

        >>> import flambeau as torch
        >>> [name for name, _ in torch.nn.Linear(2, 3).named_parameters(prefix="net")]
        ['net.weight', 'net.bias']
        """
        yield from self._named_members(lambda module: module._parameters.items(), prefix,
                                       recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers, those of submodules included if ``recurse``; each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def named_buffers(self, prefix: str = "", recurse: bool = True,
                      remove_duplicate: bool = True) -> Iterator[tuple[str, Tensor]]:
        """Pairs of name and buffer, in the order of registration."""
        yield from self._named_members(lambda module: module._buffers.items(), prefix,
                                       recurse, remove_duplicate)

    def children(self) -> Iterator[Any]:
        """The modules straight below this one; each once."""
        for _, module in self.named_children():
            yield module

    def named_children(self) -> Iterator[tuple[str, Any]]:
        """Pairs of name and module straight below this one."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def modules(self, remove_duplicate: bool = True) -> Iterator[Any]:
        """This module and all below it."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_modules(self, memo: set | None = None, prefix: str = "",
                      remove_duplicate: bool = True) -> Iterator[tuple[str, Any]]:
        """Pairs of path and module, this one first, with the path ``prefix``.

        >>> import flambeau as torch
        >>> net = torch.nn.Module()
        >>> net.last = torch.nn.Linear(2, 3)
        >>> [path for path, _ in net.named_modules()]
        ['', 'last']
        """
        if memo is None:
            memo = set()
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, path, remove_duplicate)

    def get_submodule(self, target: str) -> Any:
        """The module at a path such as ``"net.2.conv"``; AttributeError where there is none."""
        module: Any = self
        for name in target.split(".") if target else ():
            module = _child(module, name)
        return module

    def set_submodule(self, target: str, module: Any, strict: bool = False) -> None:
        """Put ``module`` at a path; with ``strict`` only where there is one already."""
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, ModuleTree):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict or hasattr(parent, name):
            _child(parent, name)
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path such as ``"net.2.weight"``; AttributeError if it is none."""
        path, _, name = target.rpartition(".")
        found = _attribute(self.get_submodule(path), name)
        if not isinstance(found, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return found

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a path; AttributeError if it is none."""
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        found = _attribute(owner, name)
        if name not in owner._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return found

    # What is done to all.

    def apply(self, fn: Callable[[Any], None]) -> Self:
        """Call ``fn`` with every module below this one, then with this one.

        >>> import flambeau as torch
        >>> net = torch.nn.Linear(2, 3).apply(lambda m: torch.nn.init.zeros_(m.bias))
        >>> net.bias.tolist()
        [0.0, 0.0, 0.0]
        """
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Set ``training`` of this module and all below it, which dropout and such obey."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Self:
        """``train(False)``."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Let all parameters gather gradients, or none."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of all parameters: None, or zeros in place."""
        if getattr(self, "_is_replica", False):
            warnings.warn(REPLICA, stacklevel=2)
        for param in self.parameters():
            grad = param.grad
            if grad is None:
                continue
            if set_to_none:
                param.grad = None
                continue
            if grad.grad_fn is not None:
                grad.detach_()
            else:
                grad.requires_grad_(False)
            grad.zero_()

    def share_memory(self) -> Self:
        """Put all tensors into memory that processes share."""
        return self._apply(lambda t: t.share_memory_())

    # Conversion.

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Put ``fn`` of every parameter, gradient and buffer in its place."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        for param in self._parameters.values():
            if param is None:
                continue
            grad = param.grad
            with no_grad():
                param.data = fn(param)  # type: ignore[attr-defined]
                if grad is not None:
                    grad.data = fn(grad)  # type: ignore[attr-defined]
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Convert floating and complex parameters and buffers, in place.

        Takes a device, a dtype, both, a tensor to be like, or ``memory_format``; TypeError for
        an integer dtype.

        >>> import flambeau as torch
        >>> torch.nn.Linear(2, 3).to(torch.float64).weight.dtype == torch.float64
        True
        """
        place, dtype, non_blocking, memory_format = parse_to(*args, **kwargs)
        if dtype is not None:
            if not (dtype.is_floating_point or dtype.is_complex):
                raise TypeError("nn.Module.to only accepts floating point or complex dtypes, but "
                                f"got desired dtype={dtype}")
            if dtype.is_complex:
                warnings.warn(COMPLEX_MODULES, stacklevel=2)
        as_device(place)

        def convert(t: Tensor) -> Tensor:
            to = dtype if t.is_floating_point() or t.is_complex() else None
            if memory_format is not None and t.dim() in (4, 5):
                return t.to(place, to, non_blocking, memory_format=memory_format)
            return t.to(place, to, non_blocking)

        return self._apply(convert)

    def to_empty(self, *, device: Any, recurse: bool = True) -> Self:
        """Give every parameter and buffer new memory, with whatever values are in it."""
        return self._apply(lambda t: empty_like(t, device=device), recurse=recurse)

    def type(self, dst_type: Any) -> Self:
        """Convert all parameters and buffers to a dtype."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self) -> Self:
        """Convert floating parameters and buffers to float32."""
        return _apply_to_floating(self, lambda t: t.float())

    def double(self) -> Self:
        """Convert floating parameters and buffers to float64."""
        return _apply_to_floating(self, lambda t: t.double())

    def half(self) -> Self:
        """Convert floating parameters and buffers to float16."""
        return _apply_to_floating(self, lambda t: t.half())

    def bfloat16(self) -> Self:
        """Convert floating parameters and buffers to bfloat16."""
        return _apply_to_floating(self, lambda t: t.bfloat16())

    def cpu(self) -> Self:
        """The module as it is: it is on the CPU."""
        return self._apply(lambda t: t.cpu())

    def cuda(self, device: Any = None) -> Self:
        """Move to a GPU; raises AssertionError where none can be used."""
        return self._apply(lambda t: t.cuda(device))


def _apply_to_floating(module: Any, convert: Callable[[Tensor], Tensor]) -> Any:
    return module._apply(lambda t: convert(t) if t.is_floating_point() else t)


def _attribute(module: Any, name: str) -> Any:
    if not hasattr(module, name):
        raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
    return getattr(module, name)


def _child(module: Any, name: str) -> Any:
    found = _attribute(module, name)
    if not isinstance(found, ModuleTree):
        raise AttributeError(f"`{name}` is not an nn.Module")
    return found
