"""Calling something in a function's place, wherever the function is known, and undoing it.

Whoever holds the function object (a module, a class, a program's own ``from ... import``) runs its
code, so the code is exchanged. While nothing is exchanged a call costs what it always costs.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Sequence
from types import CodeType, FunctionType
from typing import Any

__all__ = ["Exchange", "code_of", "twin_of"]

_CALL = "flambeau_call_"
_VARIADIC = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS


class Exchange:
    """``function`` runs what ``replace(original)`` returns, until ``undo``.

    It is given all arguments, also those left out; ``as_given`` it gets what the caller wrote.
    """

    def __init__(self, function: FunctionType, replace: Callable[[Callable], Callable],
                 as_given: bool = False) -> None:
        self.function = function
        self.replace = replace
        self.make = _passing if as_given else _calling
        self._exchange()

    def _exchange(self) -> None:
        self.code = self.function.__code__
        self.new = self.make(self.code, self.replace(twin_of(self.function)))
        self.function.__code__ = self.new

    def undo(self) -> None:
        """Give the function its own code back."""
        self.function.__code__ = self.code

    def is_outermost(self) -> bool:
        """Whether the function's code is the one that was put here."""
        return self.function.__code__ is self.new

    def redo(self) -> None:
        """Exchange the code once more, which may be another now."""
        if self.function.__code__ is self.code:
            self.function.__code__ = self.new
        elif not self.is_outermost():
            self._exchange()


def twin_of(function: FunctionType) -> FunctionType:
    """Another function of the same code, which goes on as it is when that is exchanged."""
    twin = FunctionType(function.__code__, function.__globals__, function.__name__,
                        function.__defaults__, function.__closure__)
    twin.__kwdefaults__ = function.__kwdefaults__
    return twin


def code_of(parameters: str, lines: Sequence[str], free: tuple[str, ...]) -> CodeType:
    """The code of a function of these parameters and lines that has these free variables."""
    mention = f"if 0: ({', '.join(free)},)" if free else "pass"
    body = "".join([f"    {line}\n" for line in (mention, *lines)])
    source = f"def outer({', '.join(free)}):\n  def call({parameters}):\n{body}  return call\n"
    scope: dict[str, Any] = {}
    # Named as a file beside this one, so that errors do not take it for the program's.
    exec(compile(source, os.path.join(os.path.dirname(__file__), "recorded call"), "exec"), scope)
    found = scope["outer"](*range(len(free))).__code__
    assert isinstance(found, CodeType)
    return found


def _calling(code: CodeType, call: Callable) -> CodeType:
    """Code of the same parameters as ``code`` that hands all its arguments on to ``call``.

    Whoever looks at the code finds its parameters and the names that it uses, as before.
    """
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    template = _template(code.co_varnames[:count], code.co_posonlyargcount, code.co_argcount,
                         code.co_kwonlyargcount, code.co_flags & _VARIADIC, code.co_freevars)
    constants = tuple([call if value == _CALL else value for value in template.co_consts])
    return template.replace(co_consts=constants, co_names=(*template.co_names, *code.co_names),
                            co_name=code.co_name, co_qualname=code.co_qualname)


def _passing(code: CodeType, call: Callable) -> CodeType:
    """Code that hands on to ``call`` whatever it is called with."""
    template = _template(("args", "kwargs"), 0, 0, 0, _VARIADIC, code.co_freevars)
    constants = tuple([call if value == _CALL else value for value in template.co_consts])
    return template.replace(co_consts=constants, co_name=code.co_name,
                            co_qualname=code.co_qualname)


@functools.cache
def _template(names: tuple[str, ...], positional: int, count: int, by_name: int, variadic: int,
              free: tuple[str, ...]) -> CodeType:
    given = list(names[:count])
    parameters = [*given[:positional], *["/"] * bool(positional), *given[positional:]]
    rest = list(names[count + by_name:])
    if variadic & inspect.CO_VARARGS:
        parameters.append(f"*{rest[0]}")
        given.append(f"*{rest.pop(0)}")
    elif by_name:
        parameters.append("*")
    for name in names[count:count + by_name]:
        parameters.append(name)
        given.append(f"{name}={name}")
    if rest:
        parameters.append(f"**{rest[0]}")
        given.append(f"**{rest[0]}")
    lines = [f"{_CALL} = {_CALL!r}", f"return {_CALL}({', '.join(given)})"]
    return code_of(", ".join(parameters), lines, free)
