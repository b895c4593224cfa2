"""Plans of functions of tensors: one is called on stand-ins, which note the operators it runs.

A plan says what arguments it is for, which of NumPy's loops give the results, and which nodes
record them (`backends/llvm/call_text.py`). A function has one where its results depend on the
elements of tensors through operators alone, and those are made of loops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from flambeau.backends.llvm import call_text as text
from flambeau.backends.llvm.call_nodes_text import SAVED_WORDS
from flambeau.backends.replay_plan import Refused, Value, Writer, written
from flambeau.base.device import device, layout, memory_format
from flambeau.base.dtypes import dtype
from flambeau.base.errors import NOTING
from flambeau.base.shapes import Size
from flambeau.core.call_steps import STEPS
from flambeau.core.levels import RULES, Handle, lower, rerun, standing
from flambeau.core.modes import MODES
from flambeau.core.node import Output
from flambeau.core.op import INPUT, OUT, PARAM, SHAPE, Op
from flambeau.core.pointwise import LARGE, computing_dtypes
from flambeau.core.promote import number_array, result_type
from flambeau.core.tensor import Tensor, wrap

__all__ = ["CallPlan", "plan_of"]

ndarray = np.ndarray
# The level of stand-ins: below what is traced, for they are never met by any transform.
NOTED = 0.1875
_SIMPLE: tuple[type, ...] = (type(None), bool, int, float, str, dtype, np.dtype, device, layout,
                             memory_format)
# What a function makes of numbers is kept, up to so many.
MOST_COPIED = 1 << 10
_ANY, _RECORDING, _SILENT = range(3)


class CallPlan(NamedTuple):
    """A plan as words, and what they refer to by address."""

    words: ndarray
    kept: list[Any]


class _Noted(Handle):
    """A tensor whose operators are noted, in ``log``."""

    __slots__ = ("log",)
    readable = False

    def __init__(self, value: Tensor, log: list[_Applied]) -> None:
        super().__init__(NOTED, value)
        self.log = log


class _Applied(NamedTuple):
    """An operator that was run; ``recorded`` where a node was due."""

    op: Op
    inputs: Sequence[Any]
    params: dict[str, Any]
    results: tuple[Tensor, ...]
    recorded: bool


def _is_noted(x: Any) -> bool:
    return isinstance(x, Tensor) and type(x._a) is _Noted


def _note(op: Op, inputs: Sequence[Any], params: dict[str, Any], level: float) -> Any:
    log = next(t._a.log for t in inputs if _is_noted(t))
    found = rerun(op, [lower(t, NOTED) for t in inputs], params)
    results = tuple([standing(_Noted(r, log)) for r in (found if op.multiple else (found,))])
    recorded = op.differentiable and MODES.grad and any(
        [isinstance(t, Tensor) and t._node is not None for t in inputs])
    if recorded:
        node = op.node_type()
        for nr, r in enumerate(results):
            if r._a.dtype.kind not in "biu":
                r._node = Output(node, nr) if op.multiple else node
    log.append(_Applied(op, inputs, dict(params), results, recorded))
    return results if op.multiple else results[0]


RULES[_Noted] = _note


def plan_of(function: Callable, args: Sequence[Any], kwargs: dict[str, Any],
            by_name: bool) -> CallPlan | None:
    """The plan of ``function(*args, **kwargs)``, for arguments such as these; None for none.

    Quick calls get ``kwargs`` as such where ``by_name``, else their values after ``args``.
    """
    call = _Call()
    try:
        given = [call.argument(x) for x in args]
        named = {name: call.named(name, x) if by_name else call.argument(x)
                 for name, x in kwargs.items()}
        NOTING.on = True
        found = function(*given, **named)
        names = len(kwargs) if by_name else 0
        return call.plan(found, len(args) + len(kwargs) - names, names)
    except Exception:
        # what the function does with a stand-in is open: it then has no plan
        return None
    finally:
        NOTING.on = False


class _Call:
    """One call on stand-ins, and what is written down of it."""

    def __init__(self) -> None:
        self.log: list[_Applied] = []
        self.kept: list[Any] = []
        self.described: list[int] = []
        self.writer = Writer()
        self.given: list[Tensor] = []
        self.values: dict[int, Value] = {}

    def keep(self, value: Any) -> int:
        """The address of an object that lives as long as the plan."""
        self.kept.append(value)
        return id(value)

    def array(self, words: Sequence[int]) -> int:
        """The address of words."""
        a = np.array([*words, 0], np.int64)
        self.keep(a)
        return int(a.ctypes.data)

    # What the arguments are

    def named(self, name: str, x: Any) -> Any:
        self.described.append(self.keep(name))
        return self.argument(x)

    def argument(self, x: Any) -> Any:
        """Describe an argument; what stands for it."""
        if isinstance(x, Tensor):
            return self.tensor(x)
        kind = type(x)
        if kind in (list, tuple, Size):
            self.described += [text.SEQUENCE, self.keep(kind), kind is list, len(x)]
            return kind([self.argument(each) for each in x])
        if kind is float:
            self.described += [text.FLOAT, int(np.array(x).view(np.int64))]
        elif kind is int and abs(x) < 1 << 62:
            self.described += [text.INT, x]
        elif kind in _SIMPLE or isinstance(x, type):
            self.described += [text.SAME, self.keep(x)]
        else:
            raise Refused
        return x

    def tensor(self, t: Tensor) -> Tensor:
        a = t._a
        value = self.writer.given(a)
        if not a.flags.c_contiguous or not a.flags.aligned or a.size >= LARGE:
            raise Refused
        sizes = self.array([*a.shape, *a.strides])
        kind = type(t)
        if kind.__module__.partition(".")[0] != Tensor.__module__.partition(".")[0]:
            raise Refused
        self.described += [text.TENSOR, self.keep(a.dtype), a.ndim, sizes, t._node is not None,
                           self.keep(kind)]
        # the function may not change what it was given
        copy = a.copy()
        copy.flags.writeable = False
        stand_in = standing(_Noted(wrap(copy), self.log))
        stand_in._node = t._node
        self.values[id(stand_in)] = value
        self.given.append(stand_in)
        return stand_in

    # What is computed, and recorded

    def plan(self, found: Any, by_place: int, by_name: int) -> CallPlan:
        places = [at for at, t in enumerate(self.given) if t is found]
        if not self.log and not places:
            self.made(found)
        for applied in self.log:
            self.compute(applied)
        returned = [found] if isinstance(found, Tensor) else list(found)
        recorded = [applied for applied in self.log if applied.recorded]
        results = [] if places else list(returned)
        if recorded:
            results = [r for applied in self.log for r in applied.results]
        at = {id(r): k for k, r in enumerate(results)}
        # what is given comes before the results
        at.update({id(found): place - len(self.given) for place in places})
        if not all([lower(r, NOTED)._a.flags.c_contiguous for r in results]):
            raise Refused
        steps = written(self.writer.steps, [self.values[id(t)] for t in self.given],
                        [self.values[id(r)] for r in results], False)
        self.keep(steps)
        nodes = [word for applied in recorded for word in self.node(applied, at)]
        history = any(t._node is not None for t in self.given)
        mode = _ANY if not history else _RECORDING if MODES.grad else _SILENT
        kind = 0 if isinstance(found, Tensor) else self.keep(type(found))
        if kind and not issubclass(type(found), tuple):
            raise Refused
        words = [by_place, by_name, self.array(self.described), mode, 0, int(steps.ctypes.data),
                 len(recorded), self.array(nodes), kind, len(returned),
                 self.array([at[id(r)] for r in returned]),
                 lower(returned[0], NOTED)._a.nbytes if returned else 0]
        return CallPlan(np.array(words, np.int64), [*self.kept, *self.writer.constants])

    def made(self, found: Any) -> None:
        """Take what a function makes of numbers alone, to copy it."""
        if type(found) is not Tensor or _is_noted(found) or found._node is not None:
            raise Refused
        a = found._a
        if a.size > MOST_COPIED or not a.flags.c_contiguous:
            raise Refused
        self.values[id(found)] = self.writer.constant(a).copy()

    def compute(self, applied: _Applied) -> None:
        op = applied.op
        if op.view and applied.recorded:
            raise Refused
        forward = STEPS.get(op.name)
        if op.kind == "pointwise" and forward is None:
            arrays = self.operands(applied.inputs, op)
        else:
            arrays = [self.values[id(x)] if isinstance(x, Tensor) else x for x in applied.inputs]
        found = (forward or op.forward)(*arrays, **applied.params)
        values = list(found) if op.multiple else [found]
        if len(values) != len(applied.results):
            raise Refused
        for value, r in zip(values, applied.results):
            like = r._a.value._a
            if not isinstance(value, Value) or value.shape != like.shape or (
                    value.dtype != like.dtype or like.size >= LARGE):
                raise Refused
            self.values[id(r)] = value

    def operands(self, inputs: Sequence[Any], op: Op) -> list[Any]:
        """The operands of a pointwise operator, numbers as arrays."""
        real = [lower(x, NOTED) for x in inputs]
        compute, _ = computing_dtypes(op, result_type(real))
        arrays: list[Any] = []
        for x, plain in zip(inputs, real):
            if _is_noted(x):
                value = self.values[id(x)]
                arrays.append(value if value.dtype == compute else value.astype(compute))
            elif isinstance(x, Tensor):
                raise Refused
            else:
                arrays.append(number_array(plain, compute))
        return arrays

    def node(self, applied: _Applied, at: dict[int, int]) -> list[int]:
        """The words that describe a node."""
        op, inputs, results = applied.op, applied.inputs, applied.results
        places = {id(t): k for k, t in enumerate(self.given)}
        places.update({key: len(self.given) + k for key, k in at.items()})
        leads = len(inputs) == 1 or op.variadic or op.joint is not None
        formulas = [True] * len(inputs) if leads else op.formulas
        edges = [t if f is not None and isinstance(t, Tensor) and t._node is not None else None
                 for t, f in zip(inputs, formulas)]
        numbers = [-1 if e is None else places[id(e)] for e in edges]
        saved = [word for how in op.plan(edges) for word in self.saved(how, applied, places, at)]
        if not op.slots:
            saved = []
        outputs = []
        for r in results:
            like = r._a.value._a
            pair = self.keep((like.shape, like.dtype))
            outputs += [at[id(r)], pair, int(like.dtype.kind not in "biu")]
        like = results[0]._a.value._a
        kind = self.node_type(applied)
        out = not op.multiple and 2 in saved[::SAVED_WORDS]
        return [self.keep(kind), len(numbers), self.array(numbers),
                len(saved) // SAVED_WORDS, self.array(saved), len(results),
                self.array(outputs), int(op.multiple), int(out), self.keep(like.shape),
                self.keep(like.dtype)]

    def node_type(self, applied: _Applied) -> type:
        """The class of a node: the operator's, or what the function made of it."""
        found = next(r._node for r in applied.results if r._node is not None)
        node = getattr(found, "node", found)
        if vars(node):
            raise Refused
        return type(node)

    def saved(self, plan: tuple, applied: _Applied, places: dict[int, int],
              at: dict[int, int]) -> tuple[int, int, int]:
        how, which = plan
        if how == INPUT and _is_noted(applied.inputs[which]):
            return 1, places[id(applied.inputs[which])], 0
        if how == OUT and applied.op.multiple:
            return 3, at[id(applied.results[0])], len(applied.results)
        if how == OUT:
            return 2, at[id(applied.results[0])], 0
        if how == INPUT:
            value = applied.inputs[which]
        elif how == PARAM:
            value = applied.params.get(which)
        elif how == SHAPE:
            shapes = [t._a.shape if isinstance(t, Tensor) else () for t in applied.inputs]
            value = tuple(shapes) if which < 0 else shapes[which]
        else:
            value = None
        if not _is_simple(value):
            raise Refused
        return 0, self.keep(value), 0


def _is_simple(value: Any) -> bool:
    """Whether nobody can change a value, so that all nodes may have the same."""
    if isinstance(value, tuple):
        return all([_is_simple(x) for x in value])
    return type(value) in _SIMPLE
