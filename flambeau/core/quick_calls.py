"""Functions of tensors as one native call each, in programs that call them often.

Such a function's code is exchanged for code that asks `quick_call` first, which knows plans of
calls (`core/call_plan.py`); what has none runs the function as it was. A function that has no plans
for most of its calls gets its code back.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from flambeau.backends.llvm.call_text import EXPORTS, FUNCTIONS, call_text
from flambeau.base import dtypes
from flambeau.base.errors import NOTING
from flambeau.core import dispatch
from flambeau.core.exchange import code_of, twin_of
from flambeau.core.face import FACES, ON_SHOW
from flambeau.core.modes import FUNCTION_MODES, INFERENCE, MODES, PAUSED
from flambeau.core.native_views import linked
from flambeau.core.quick_names import QUICK_NAMES
from flambeau.core.tensor import Tensor

__all__ = ["quicken", "quicken_all"]

ndarray = np.ndarray
# Every so many calls without a plan one is counted, and after so many counts there is one.
EVERY, OFTEN = 8, 4
MAX_PLANS = 16
# After so many calls without a plan it is asked whether plans are of use.
REVIEW = 1 << 12
_VARIADIC = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
_quick: list[_Quick] = []


class _Plans(list):
    """One tuple of plans, which native code reads here; a constant of code, so with a hash."""

    __hash__ = object.__hash__  # type: ignore[assignment]


class _Quick:
    """A function that is called quickly where that is known how.

    ``pure`` is what a method writes into its tensor.
    """

    def __init__(self, function: FunctionType, entries: dict[str, Callable],
                 pure: FunctionType | None = None) -> None:
        self.function, self.code = function, function.__code__
        self.original = twin_of(function)
        self.pure = pure
        self.state = _Plans([()])
        self.kept: list[Any] = []
        self.counts: dict[Any, int] = {}
        self.misses = 0
        self.entries = entries
        self.variadic = bool(self.code.co_flags & _VARIADIC)
        self.new = _asking(self.code, entries, self.state, self)
        function.__code__ = self.new

    def missed(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        """What the function gives where no plan is for the call."""
        self.misses += 1
        # what was put in the function's place meanwhile shall not see a call more
        hindered = PAUSED or INFERENCE or NOTING.on
        if self.misses % EVERY or hindered or self.function.__code__ is not self.new:
            return self.original(*args, **kwargs)
        if self.misses >= REVIEW:
            self.review()
        key = _key(args, kwargs)
        if key is not None:
            count = self.counts[key] = self.counts.get(key, 0) + 1
            if count == OFTEN:
                self.learn(args, kwargs)
        return self.original(*args, **kwargs)

    def learn(self, args: tuple, kwargs: dict[str, Any]) -> None:
        # a later layer's, and few programs need it
        from flambeau.core.call_plan import plan_of

        function = self.pure or self.original
        plan = plan_of(function, args, kwargs, self.variadic)
        if plan is None:
            return
        trial = [(plan.words,)]
        if self.variadic:
            found = self.entries[EXPORTS[1]](trial, args, kwargs)
        else:
            found = self.entries[EXPORTS[0]](trial, *args, *kwargs.values())
        if found is None or not _alike(found, function(*args, **kwargs)):
            return
        if self.pure is not None and not _goes_into(found, args):
            return
        plan.words[4] = 0
        self.kept = [*self.kept, plan.kept][-MAX_PLANS:]
        self.state[0] = (*self.state[0], plan.words)[-MAX_PLANS:]

    def review(self) -> None:
        """Give the function its code back where plans are of no use."""
        if self.uses() < self.misses:
            self.undo()
        self.misses = 0
        self.counts.clear()

    def uses(self) -> int:
        """How many calls were quick."""
        return sum([int(words[4]) for words in self.state[0]])

    def undo(self) -> None:
        """Give the function its code back, where nothing else was put in its place."""
        if self.function.__code__ is self.new:
            self.function.__code__ = self.code


def _goes_into(found: Any, args: tuple) -> bool:
    """Whether a result is written into the first argument as it is, and not recorded."""
    if not args or type(found) is not Tensor or found._node is not None:
        return False
    a, r = args[0]._a, found._a
    return a.dtype is r.dtype and a.shape == r.shape and a.size > 0


def _key(args: tuple, kwargs: dict[str, Any]) -> Any:
    """What calls with like arguments have in common; None for those that have no plan."""
    try:
        key = (tuple([_like(x) for x in args]),
               tuple([(name, _like(x)) for name, x in kwargs.items()]), MODES.grad)
        hash(key)
    except (TypeError, AttributeError):
        return None
    return key


def _like(x: Any) -> Any:
    if isinstance(x, Tensor):
        a = x._a
        return a.shape, a.strides, a.dtype, x._node is None
    if isinstance(x, (list, tuple)):
        return type(x), tuple([_like(each) for each in x])
    return type(x), x


def _alike(found: Any, expected: Any) -> bool:
    """Whether two results have the same bits and like histories."""
    if type(found) is not type(expected):
        return False
    if not isinstance(expected, Tensor):
        return len(found) == len(expected) and all(map(_alike, found, expected))
    a, b = found._a, expected._a
    same = a.dtype == b.dtype and a.shape == b.shape and a.strides == b.strides
    return same and a.tobytes() == b.tobytes() and _alike_nodes(found._node, expected._node)


def _alike_nodes(found: Any, expected: Any) -> bool:
    if type(found) is not type(expected):
        return False
    if type(expected) is dispatch.Output:
        return found.nr == expected.nr and _alike_nodes(found.node, expected.node)
    if expected is None:
        return True
    if not isinstance(expected, dispatch.Node):
        return found is expected
    return (len(found.saved) == len(expected.saved) and found.shape == expected.shape
            and _changes(found) == _changes(expected) and found.dtype == expected.dtype
            and len(found.next) == len(expected.next)
            and all(map(_alike_edges, found.next, expected.next)))


def _changes(node: Any) -> list[int]:
    """How often each saved input had been changed."""
    versions = node.versions or (0,) * len(node.saved)
    return [versions[at] for at, kind in node.op.saved_tensors if kind != "out"]


def _alike_edges(found: Any, expected: Any) -> bool:
    return found is expected or isinstance(found, dispatch.Node) and _alike_nodes(found, expected)


def _asking(code: CodeType, entries: dict[str, Callable], state: list, quick: _Quick) -> CodeType:
    """Code of the same parameters as ``code`` that asks for a quick call first."""
    count = code.co_argcount + code.co_kwonlyargcount
    variadic = code.co_flags & _VARIADIC
    names = code.co_varnames[:count + bool(code.co_flags & inspect.CO_VARARGS)
                             + bool(code.co_flags & inspect.CO_VARKEYWORDS)]
    template = _template(names, code.co_argcount, code.co_kwonlyargcount, bool(variadic),
                         code.co_freevars)
    entry = EXPORTS[2] if quick.pure else EXPORTS[1 if variadic else 0]
    known = {"<state>": state, "<missed>": quick.missed, "<call>": entries[entry]}
    constants = tuple([known.get(c, c) if isinstance(c, str) else c for c in template.co_consts])
    return template.replace(co_consts=constants, co_name=code.co_name, co_qualname=code.co_qualname)


@functools.cache
def _template(names: tuple[str, ...], count: int, by_name: int, variadic: bool,
              free: tuple[str, ...]) -> CodeType:
    """The code, with names of its constants in their place."""
    if variadic:
        parameters, given, again = "*args, **kwargs", "args, kwargs", "args, kwargs"
    else:
        own = names[:count + by_name]
        parameters = ", ".join([*own[:count], *(["*", *own[count:]] if by_name else [])])
        given = ", ".join(own)
        rest = ", ".join([f"{n!r}: {n}" for n in own[count:]])
        again = f"({''.join([f'{n}, ' for n in own[:count]])}), {{{rest}}}"
    return code_of(parameters, [
        "flambeau_call_ = '<call>'",
        f"found = flambeau_call_('<state>', {given})",
        "if found is not None: return found",
        "flambeau_call_ = '<missed>'",
        f"return flambeau_call_({again})"], free)


@functools.cache
def _entries() -> dict[str, Callable]:
    more = {"float": float, "zero": 0, "inference_list": INFERENCE, "paused": PAUSED,
            "saved_hooks": dispatch.saved_hooks}

    def text(places: dict[str, int], names: tuple[str, ...]) -> str:
        return call_text({"TUPLE_ITEMS": tuple.__basicsize__, **places}, names)

    return linked(text, EXPORTS, FUNCTIONS, more, dispatch._forget_dead)


def quicken(function: Any, pure: FunctionType | None = None) -> _Quick | None:
    """Let a function be called quickly from now on; None where it cannot be.

    ``pure`` is what a method writes into its tensor.
    """
    if type(function) is not FunctionType or FUNCTION_MODES or not _entries():
        return None
    quick = _Quick(function, _entries(), pure)
    _quick.append(quick)
    return quick


def quicken_all() -> None:
    """Let all functions that may be be called quickly, also those that are imported later."""
    for place in QUICK_NAMES:
        shown = dict(vars(Tensor)) if place == "Tensor" else FACES.get(place, {})
        for name, function in list(shown.items()):
            _quicken_named(function, name, place)
    ON_SHOW.append(_quicken_named)
    dtypes.ON_DEFAULT.append(_forget)


def _forget() -> None:
    """Forget all plans: what functions make of numbers alone is another now."""
    for quick in _quick:
        quick.state[0] = ()
        quick.counts.clear()


def _quicken_named(function: Any, name: str, place: str) -> None:
    pure = _pure(function)
    quick = QUICK_NAMES.get(place, ())
    if name not in quick and (pure is None or name.removesuffix("_") not in quick):
        return
    if not any([q.function is function for q in _quick]):
        quicken(function, None if pure is None else _uncalled(pure))


def _pure(function: Any) -> FunctionType | None:
    """What a method writes into its tensor, where it does nothing else and takes any arguments."""
    if type(function) is not FunctionType or hasattr(function, "__wrapped__"):
        return None
    return getattr(function, "pure", None)


def _uncalled(function: FunctionType) -> FunctionType:
    """A function of the same code that is not called quickly."""
    for quick in _quick:
        if quick.function is function:
            return quick.original
    return twin_of(function)
