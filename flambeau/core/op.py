"""What an operator is: one record, from which every way of running it is derived."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import Any

from flambeau.core.node import OpNode

__all__ = ["INPUT", "INPUTS", "OPS", "OUT", "Op", "PARAM", "SHAPE", "SKIP"]

OPS: dict[str, Op] = {}
NEEDS = "needs"
# How a slot is filled when a node saves what its formulas name.
SKIP, INPUT, SHAPE, PARAM, OUT, INPUTS = range(6)


class Op:
    """One operator.

    ``forward(*arrays, **params)`` computes on NumPy arrays. ``formulas`` holds per input None
    (no gradient) or a function of ``g`` and of names: an input's name, ``out``, a parameter's
    name; those names, and nothing else, are saved for backward. ``input_shape`` names only the
    shape of ``input`` (a tuple) and does not keep its memory. ``joint`` is one such function
    for all inputs at once (it may also name ``needs``, a bool per input) and returns a sequence.
    ``variadic`` operators take any number of tensors, named ``inputs``. ``refuses`` has, per
    kind of dtype, what a pointwise operator raises for operands of that kind; ``numbers`` says
    which of its operands may be Python numbers: "any", "one", "second", "none".
    """

    def __init__(self, name: str, forward: Callable, inputs: Sequence[str], *, kind: str,
                 formulas: Sequence[Callable | None] = (), joint: Callable | None = None,
                 node: str | None = None, params: Sequence[str] = (), variadic: bool = False,
                 view: bool = False, multiple: bool = False, widen: bool = False,
                 jvp: Callable | None = None, batch: Callable | None = None,
                 compose: Callable | None = None, scalar: str | None = None,
                 result: str = "same") -> None:
        if name in OPS and kind != "sparse":
            raise ValueError(f"operator {name!r} is declared twice")
        self.name = name
        self.forward = forward
        self.inputs = tuple(inputs)
        self.kind = kind
        self.params = tuple(params)
        self.variadic = variadic
        self.view = view
        self.multiple = multiple
        self.widen = widen
        self.jvp = jvp
        self.batch = batch
        self.compose = compose
        self.scalar = scalar
        self.result = result
        self.refuses: dict[str, Any] = {}
        self.numbers = "any"
        self._plan(formulas, joint)
        self.node_name = f"{node or name.title().replace('_', '')}Backward0"
        if kind != "sparse":  # those have no arrays to run on
            OPS[name] = self

    # Whether results lie row by row, however the inputs do.
    in_rows = False

    # Whether results lie as those of elementwise operators do, in the order of the operands.
    as_operands = False

    # Whether Python numbers beside tensors of a half type are rounded to it first.
    rounds_numbers = False

    # Which results stay in float32 where some operands are of a half type, by the operands:
    # ``keeps_wide(arrays, params)`` returns their numbers.
    keeps_wide: Callable[[Sequence[Any], dict[str, Any]], Collection[int]] | None = None

    # What computes large arrays of a half type as they are, ``halves(*arrays, **params)``, or
    # gives None.
    halves: Callable[..., Any] | None = None

    # Formulas for plain arrays, beside those for tensors, where these take tensors only.
    array_formulas: tuple | None = None

    # Making a class takes longer than declaring an operator, and few are ever recorded.
    @cached_property
    def node_type(self) -> type[OpNode]:
        """The class of the operator's nodes."""
        saved = {f"_saved_{_SAVED_NAMES.get(slot, slot)}": _saved(at)
                 for at, slot in enumerate(self.slots)}
        return type(self.node_name, (OpNode,), {"op": self, **saved})

    @cached_property
    def view_plan(self) -> tuple | None:
        """How a view by this operator is recorded, where that is plain.

        Its node's class, then what the node saves: names of parameters, None for the shape of
        the input.
        """
        if self.view_values is None or not self.differentiable:
            return None
        return (self.node_type, *[None if type(s) is tuple else s for s in self.sources])

    @cached_property
    def bare(self) -> bool:
        """Whether all formulas may be given plain arrays in the place of tensors."""
        formulas = [f[0] for f in self.formulas if f] if self.joint is None else [self.joint]
        return all(_is_bare(f) for f in formulas)

    def on_arrays(self, *formulas: Callable | None) -> None:
        """Give formulas for plain arrays, beside those for tensors; of the same names."""
        slots = list(self.slots)
        self.array_formulas = tuple([f and (f, _picks(f, slots)) for f in formulas])
        if len(slots) != len(self.slots):
            raise ValueError(f"{self.name}: formulas on arrays need what is not saved")

    def _plan(self, formulas: Sequence[Callable | None], joint: Callable | None) -> None:
        slots: list[str] = []
        self.formulas = tuple([None if f is None else (f, _picks(f, slots)) for f in formulas])
        self.joint = joint
        self.joint_picks = _picks(joint, slots) if joint is not None else ()
        self.slots = tuple(slots)
        tensors = []
        for at, slot in enumerate(slots):
            if slot == "out" or slot in self.inputs or slot == "inputs":
                tensors.append((at, slot))
        self.saved_tensors = tuple(tensors)
        self.differentiable = joint is not None or any(f is not None for f in self.formulas)
        self.saves_out = "out" in slots
        self.sources = tuple([self._source(s) for s in slots])
        self.plans: dict[tuple, tuple] = {}
        self.view_values = None if tensors else _values_of(self.sources)

    def _source(self, slot: str) -> int | str | tuple[str, int]:
        """Where a slot's value comes from: an input's number, its shape, a parameter's name."""
        if slot in self.inputs:
            return self.inputs.index(slot)
        named = slot.removesuffix("_shape")
        if named != slot and (named in self.inputs or named == "inputs"):
            return "shape", -1 if named == "inputs" else self.inputs.index(named)
        return slot

    def needed_slots(self, edges: Sequence[Any]) -> set[int]:
        """The slots that the formulas of inputs with an edge will read."""
        if self.joint is not None:
            return {k for k in self.joint_picks if k >= 0}
        return {k for e, f in zip(edges, self.formulas) if e is not None and f for k in f[1]}

    def plan(self, edges: Sequence[Any]) -> tuple:
        """What to save for these edges: per slot a pair (how, which), kept for the next time."""
        if self.joint is not None:
            key: tuple = ()
        elif len(edges) == 1:
            key = _ALONE  # of one input: it has an edge
        else:
            key = tuple([e is None for e in edges])
        found = self.plans.get(key)
        if found is None:
            needed = self.needed_slots(edges)
            found = tuple([self._step(k) if k in needed else (SKIP, 0)
                           for k in range(len(self.slots))])
            self.plans[key] = found
        return found

    def _step(self, k: int) -> tuple:
        slot, source = self.slots[k], self.sources[k]
        if slot == "out":
            return OUT, 0
        if slot == "inputs":
            return INPUTS, 0
        if type(source) is int:
            return INPUT, source
        return (SHAPE, source[1]) if type(source) is tuple else (PARAM, source)

    def __repr__(self) -> str:
        return f"<op {self.name} ({self.kind})>"


def _values_of(sources: Sequence[Any]) -> Callable[[tuple, dict], tuple]:
    """What a node saves that needs its input's shape and parameters at most."""
    shape = ("shape", 0)
    if not sources:
        return lambda have, params: ()
    if len(sources) == 1:
        name = sources[0]
        return ((lambda have, params: (have,)) if name == shape else
                (lambda have, params: (params.get(name),)))
    if len(sources) == 2 and sources[0] == shape:
        name = sources[1]
        return lambda have, params: (have, params.get(name))
    return lambda have, params: tuple([have if s == shape else params.get(s) for s in sources])


_ALONE = (False,)
# What PyTorch calls the saved input and the saved result.
_SAVED_NAMES = {"input": "self", "out": "result"}


def _saved(at: int) -> property:
    return property(lambda node: node.unpack()[at], doc="What the node saved.")


# What a formula may call and still mean the same on arrays as on tensors.
_BARE_NAMES = frozenset(("apply", "conj_of", "mm_nn", "mm_nt", "mm_tn", "ndim", "reordered",
                         "reshape", "rows_of", "shape", "squeeze", "swapaxes"))


def _is_bare(formula: Callable) -> bool:
    """Whether a formula is made of operators alone, so that it may be given plain arrays."""
    code = getattr(formula, "__code__", None)
    if code is None or code.co_freevars or any(type(c) is type(code) for c in code.co_consts):
        return False
    known = formula.__globals__
    return all(n in _BARE_NAMES or type(known.get(n)) is Op for n in code.co_names)


def _picks(formula: Callable, slots: list[str]) -> tuple[int, ...]:
    """The slot numbers of a formula's arguments after ``g``; new names get new slots."""
    names = getattr(formula, "names", None)
    if names is None:
        code = formula.__code__
        names = code.co_varnames[1:code.co_argcount]
    picks = []
    for name in names:
        if name == NEEDS:
            picks.append(-1)
            continue
        if name not in slots:
            slots.append(name)
        picks.append(slots.index(name))
    return tuple(picks)
