"""Modules that hold modules: in sequence, in a list, in a dict."""

from __future__ import annotations

import operator
import warnings
from collections import OrderedDict
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from itertools import chain
from typing import Any, Self

from flambeau.nn.modules.module import Module
from flambeau.nn.modules.module_text import indented
from flambeau.nn.modules.parameter_containers import ParameterDict, ParameterList, pairs_of

__all__ = ["Container", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]


class Container(Module):
    """Modules given by keyword. Deprecated: Module does the same."""

    def __init__(self, **kwargs: Any) -> None:
        warnings.warn("`nn.Container` is deprecated. All of its functionality is now implemented "
                      "in `nn.Module`. Subclass that instead.", FutureWarning, stacklevel=2)
        super().__init__()
        for name, module in kwargs.items():
            self.add_module(name, module)


class _Numbered(Module):
    """Modules in order, named by their numbers."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.isdigit()]

    def append(self, module: Any) -> Self:
        """Add ``module`` at the end."""
        self.add_module(str(len(self)), module)
        return self

    def pop(self, key: int | slice) -> Any:
        """Take the module at ``key`` out and return it."""
        found = self[key]  # type: ignore[index]
        del self[key]  # type: ignore[attr-defined]
        return found


def _remove(held: Module, names: Iterable[str]) -> None:
    """Delete these, and number the others anew."""
    for name in names:
        delattr(held, name)
    held._modules = {str(i): module for i, module in enumerate(held._modules.values())}


def _shift_in(held: Module, index: int, module: Any) -> None:
    for i in range(len(held._modules), index, -1):
        held._modules[str(i)] = held._modules[str(i - 1)]
    held._modules[str(index)] = module


def _at(values: Iterable[Any], index: Any) -> Any:
    values, index = list(values), operator.index(index)
    if not -len(values) <= index < len(values):
        raise IndexError(f"index {index} is out of range")
    return values[index]


class Sequential(_Numbered):
    """Modules that are called one after the other, each with the output of the one before.

    Takes modules, or one OrderedDict that names them. It can be indexed, sliced, added and
    multiplied as a list can.

    >>> import flambeau as torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())
    >>> net(torch.ones(4, 2)).shape
    torch.Size([4, 3])
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        named = (args[0] if len(args) == 1 and isinstance(args[0], OrderedDict)
                 else {str(i): module for i, module in enumerate(args)})
        for name, module in named.items():
            self.add_module(name, module)

    def __getitem__(self, idx: Any) -> Any:
        if isinstance(idx, slice):
            return type(self)(OrderedDict(list(self._modules.items())[idx]))
        return _at(self._modules.values(), idx)

    def __setitem__(self, idx: Any, module: Any) -> None:
        setattr(self, _at(self._modules, idx), module)

    def __delitem__(self, idx: Any) -> None:
        _remove(self, list(self._modules)[idx] if isinstance(idx, slice)
                     else [_at(self._modules, idx)])

    def __add__(self, other: Any) -> Sequential:
        _check_sequential(other)
        found = Sequential()
        for module in chain(self, other):
            found.append(module)
        return found

    def __iadd__(self, other: Any) -> Self:
        _check_sequential(other)
        start = len(self)
        for i, module in enumerate(other):
            self.add_module(str(i + start), module)
        return self

    def __mul__(self, other: int) -> Sequential:
        _check_times(self, other)
        found = Sequential()
        for _ in range(other):
            found.extend(self)
        return found

    def __rmul__(self, other: int) -> Sequential:
        return self.__mul__(other)

    def __imul__(self, other: int) -> Self:
        _check_times(self, other)
        size = len(self)
        for i in range(size, size * other):
            self.add_module(str(i), self._modules[str(i % size)])
        return self

    def forward(self, input: Any) -> Any:
        """The output of the last module."""
        for module in self:
            input = module(input)
        return input

    def insert(self, index: int, module: Any) -> Self:
        """Put ``module`` before position ``index``."""
        if not isinstance(module, Module):
            raise AssertionError(f"module should be of type: {Module}")
        size = len(self._modules)
        if not -size <= index <= size:
            raise IndexError(f"Index out of range: {index}")
        _shift_in(self, index + size if index < 0 else index, module)
        return self

    def extend(self, sequential: Iterable[Any]) -> Self:
        """Add all modules of another at the end."""
        for module in sequential:
            self.append(module)
        return self


def _check_sequential(other: Any) -> None:
    if not isinstance(other, Sequential):
        raise ValueError("add operator supports only objects of Sequential class, but "
                         f"{type(other)} is given.")


def _check_times(module: Sequential, times: Any) -> None:
    if not isinstance(times, int):
        raise TypeError(f"unsupported operand type(s) for *: {type(module)} and {type(times)}")
    if times <= 0:
        raise ValueError(f"Non-positive multiplication factor {times} for {type(module)}")


class ModuleList(_Numbered):
    """A list of modules, each registered as a submodule.

    >>> import flambeau as torch
    >>> torch.nn.ModuleList([torch.nn.ReLU() for _ in range(2)])
    ModuleList(
      (0-1): 2 x ReLU()
    )
    """

    def __init__(self, modules: Iterable[Any] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self += modules

    def _get_abs_string_index(self, idx: Any) -> str:
        idx, size = operator.index(idx), len(self)
        if not -size <= idx < size:
            raise IndexError(f"index {idx} is out of range")
        return str(idx + size if idx < 0 else idx)

    def __getitem__(self, idx: Any) -> Any:
        if isinstance(idx, slice):
            return type(self)(list(self._modules.values())[idx])
        return self._modules[self._get_abs_string_index(idx)]

    def __setitem__(self, idx: Any, module: Any) -> None:
        setattr(self, self._get_abs_string_index(idx), module)

    def __delitem__(self, idx: Any) -> None:
        _remove(self, [str(i) for i in range(len(self._modules))[idx]] if isinstance(idx, slice)
                     else [self._get_abs_string_index(idx)])

    def __iadd__(self, modules: Iterable[Any]) -> Self:
        return self.extend(modules)

    def __add__(self, other: Iterable[Any]) -> ModuleList:
        return ModuleList(chain(self, other))

    def __repr__(self) -> str:
        blocks: list[tuple[int, int, str]] = []
        for i, text in enumerate(repr(module) for module in self):
            if blocks and blocks[-1][2] == text:
                blocks[-1] = (blocks[-1][0], i, text)
            else:
                blocks.append((i, i, text))
        if not blocks:
            return f"{self._get_name()}()"
        lines = [indented(_block(*block), 2) for block in blocks]
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"

    def insert(self, index: int, module: Any) -> None:
        """Put ``module`` before position ``index``."""
        _shift_in(self, index, module)

    def extend(self, modules: Iterable[Any]) -> Self:
        """Add all of ``modules`` at the end."""
        if not isinstance(modules, Iterable):
            raise TypeError("ModuleList.extend should be called with an iterable, but got "
                            + type(modules).__name__)
        start = len(self)
        for i, module in enumerate(modules):
            self.add_module(str(start + i), module)
        return self


def _block(first: int, last: int, text: str) -> str:
    """Equal neighbours as one."""
    if first == last:
        return f"({first}): {text}"
    return f"({first}-{last}): {last - first + 1} x {text}"


class ModuleDict(Module):
    """Modules by name, each registered as a submodule, in the order they were put in.

    >>> import flambeau as torch
    >>> torch.nn.ModuleDict({"act": torch.nn.ReLU()})["act"]
    ReLU()
    """

    def __init__(self, modules: Mapping[str, Any] | Iterable | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Any) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: str) -> bool:
        return key in self._modules

    def clear(self) -> None:
        """Take all modules out."""
        self._modules.clear()

    def pop(self, key: str) -> Any:
        """Take the module ``key`` out and return it."""
        found = self[key]
        del self[key]
        return found

    def keys(self) -> KeysView[str]:
        """The names."""
        return self._modules.keys()

    def items(self) -> ItemsView[str, Any]:
        """Pairs of name and module."""
        return self._modules.items()

    def values(self) -> ValuesView[Any]:
        """The modules."""
        return self._modules.values()

    def update(self, modules: Any) -> None:
        """Put in the modules of a mapping, or of an iterable of pairs."""
        for key, module in pairs_of(modules, "ModuleDict", "ModuleDict", (Mapping, ModuleDict)):
            self[key] = module
