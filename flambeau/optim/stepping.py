"""What steps share: collecting tensors, counting steps, and running a rule on all of them.

A rule (`flambeau.backends.updates`) says how one parameter changes. It runs on the arrays of all
parameters at once; on tensors, operator by operator, where the step shall be differentiated, or
where a function is transformed or traced and values stand in for arrays.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from flambeau.autograd.modes import set_grad_enabled
from flambeau.backends.updates import Memory, Update, Value, run, update_of
from flambeau.base.dtypes import get_default_dtype
from flambeau.core.inplace import check_inplace
from flambeau.core.modes import MODES
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.blends import fused_multiply_add
from flambeau.ops.complex import view_as_real
from flambeau.ops.extrema import maximum, minimum
from flambeau.ops.where import where

__all__ = ["Plan", "Rule", "add_at", "apply_to_lists", "are_sparse", "check_at_least_zero",
           "check_betas", "check_capturable", "check_foreach", "check_fused", "check_learning_rate",
           "check_step_tensors", "drive", "evaluate", "gather", "is_near", "number_of",
           "scalar_state", "scaled_group"]

ndarray = np.ndarray
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
Rule: TypeAlias = Callable[..., Mapping[Value, Value]]
# From options, the step's number and other states that are numbers: the settings that shape the
# rule, its scalars by name, and those other states as they are afterwards.
Plan: TypeAlias = Callable[..., tuple]

FUSED_DEVICES = ["mps", "cuda", "xpu", "hpu", "cpu", "mtia", "privateuseone"]
CAPTURABLE_DEVICES = ["cuda", "xpu", "hpu", "privateuseone", "xla"]


def evaluate(closure: Callable[[], Any] | None) -> Any:
    """What ``closure`` returns, run with gradients recorded; None without one."""
    if closure is None:
        return None
    before = MODES.grad
    MODES.grad = True
    try:
        return closure()
    finally:
        MODES.grad = before


def gather(optimizer: Any, group: Mapping[str, Any], names: Sequence[str],
           begin: Callable[[Tensor, dict, Mapping[str, Any]], None], sparse: str | None = None
           ) -> list[list[Tensor]]:
    """The parameters that have a gradient, the gradients, and their states, a list for each name.

    ``begin(param, state, group)`` fills a state that is empty. ``sparse`` is the error's text for
    sparse gradients.
    """
    params, grads, states = [], [], []
    held = optimizer.state
    for p in group["params"]:
        meta = p._x
        grad = None if meta is None else meta.grad
        if grad is None:
            continue
        if sparse is not None and type(grad._a) is not ndarray and grad.is_sparse:
            raise RuntimeError(sparse)
        state = held[p]
        if not state:
            begin(p, state, group)
        params.append(p)
        grads.append(grad)
        states.append(state)
    return [params, grads, *[[s[name] for s in states] for name in names]]


def are_sparse(grads: Iterable[Tensor]) -> bool:
    """Whether a gradient is sparse."""
    return any(type(g._a) is not ndarray and g.is_sparse for g in grads)


def add_at(t: Tensor, places: tuple[Tensor, ...], change: Callable[..., Tensor]) -> Tensor:
    """Add a change, a function of what is there, at places of ``t``; returns what is there then.

    Without places, of a tensor without sparse dimensions, all of it is one element.
    """
    held = t[places] if places else t.unsqueeze(0)
    new = held + change(held)
    if places:
        t[places] = new
    else:
        t.copy_(new[0])
    return new


def scalar_state(value: float = 0.0, fused: Any = False) -> Tensor:
    """A number as a state: float64 where that is the default dtype and it is not ``fused``."""
    wide = get_default_dtype().np == F64 and not fused
    return wrap(np.array(value, F64 if wide else F32))


def number_of(x: Any) -> Any:
    """A number for arithmetic: of a tensor its one element, a NumPy scalar of its dtype."""
    return x._a.reshape(-1)[0] if isinstance(x, Tensor) else x


def check_learning_rate(lr: Any, text: str = "Invalid learning rate: {}") -> None:
    """Raise ValueError for a tensor of several elements, and for a negative rate."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if not 0.0 <= lr:
        raise ValueError(text.format(lr))


def is_near(weight: Any) -> bool:
    """Whether lerp by this weight counts from its start, as PyTorch's does."""
    if isinstance(weight, Tensor) and type(weight._a) is not ndarray:
        return True
    return bool(abs(weight) < 0.5)


def check_betas(betas: Any) -> None:
    """Raise ValueError for coefficients out of range."""
    for number, beta in enumerate(betas[:2]):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {number}: {beta}")


def check_at_least_zero(**options: Any) -> None:
    """Raise ValueError for a negative option; ``_`` in its name is PyTorch's in the message."""
    for name, value in options.items():
        if not 0.0 <= value:
            raise ValueError(f"Invalid {name} value: {value}")


def check_fused(params: Iterable[Tensor]) -> None:
    """Raise where a parameter is none that a fused step takes."""
    for p in params:
        if not p.dtype.is_floating_point:
            raise RuntimeError("`fused=True` requires all the params to be floating point Tensors "
                               f"of supported devices: {FUSED_DEVICES} but {p.dtype} and cpu")


def check_capturable(group: Mapping[str, Any], params: Sequence[Tensor],
                     what: str = "params and state_steps", xla: bool = True) -> None:
    """Raise where ``capturable`` is asked for: it is for devices whose work can be captured."""
    if group.get("capturable") and params and type(params[0]._a) is ndarray:
        devices = CAPTURABLE_DEVICES if xla else CAPTURABLE_DEVICES[:-1]
        raise AssertionError(f"If capturable=True, {what} must be on supported devices: "
                             f"{devices}.")


def scaled_group(params: Sequence[Tensor], group: Mapping[str, Any], grad_scale: Tensor | None,
                 found_inf: Tensor | None) -> Mapping[str, Any] | None:
    """The options with a gradient scaler's factor; None where it found infinities: then no step.

    Raises AssertionError for a step that is not ``fused``: it does not undo the scaling.
    """
    if grad_scale is None and found_inf is None:
        return group
    if params and not group["fused"]:
        raise AssertionError("Expected grad_scale and found_inf to be None")
    if found_inf is not None and found_inf.item() == 1:
        return None
    return group if grad_scale is None else {**group, "grad_scale": grad_scale.item()}


def check_foreach(group: Mapping[str, Any], params: Sequence[Tensor]) -> None:
    """Raise where a step over lists is asked for and for recording it, too."""
    if group.get("foreach") and group.get("differentiable") and params:
        raise AssertionError("_foreach ops don't support autograd")


def check_step_tensors(steps: Sequence[Any], name: str = "state_steps") -> None:
    """Raise where a functional form is given numbers for steps."""
    if not all(isinstance(t, Tensor) for t in steps):
        raise RuntimeError(f"API has changed, `{name}` argument must contain a list of singleton "
                           "tensors")


def drive(rule: Rule, plan: Plan, columns: Sequence[Sequence[Tensor]],
          numbers: Sequence[Sequence[Tensor]], group: Mapping[str, Any],
          memory: Memory | None = None, rounds: bool = True) -> None:
    """Count a step for every parameter and apply the rule to all of them, in place.

    ``columns`` are the parameters, the gradients and the states, in the order of the rule's
    arguments; ``numbers`` the states that are single numbers, the steps last. Half types round as
    a fused step does where ``rounds`` is False.
    """
    if not columns[0]:
        return
    if group.get("differentiable") or not _all_plain(columns[0][0], group.get("lr")):
        _drive_tensors(rule, plan, columns, numbers, group, rounds)
        return
    if len(numbers) > 1 and len(set(columns[0])) < len(columns[0]):
        # a parameter that comes again starts from the numbers that it left
        for at in range(len(columns[0])):
            alone = [[c[at]] for c in columns], [[c[at]] for c in numbers]
            drive(rule, plan, *alone, group, None, rounds)
        return
    known = {k: _numbers_of(v) for k, v in group.items()} if _has_tensors(group) else group
    for values, first, end in _runs(_advance(numbers, len(columns[0]))):
        whole = end - first == len(columns[0])
        part = columns if whole else [c[first:end] for c in columns]
        settings, scalars, *new = plan(known, *values)
        apply_to_lists(update_of(rule, settings, len(columns), rounds), part, scalars, memory)
        for column, value in zip(numbers, new):
            count_changes(column[first:end])
            for t in column[first:end]:
                t._a[()] = value


def _all_plain(param: Tensor, lr: Any) -> bool:
    return type(param._a) is ndarray and (not isinstance(lr, Tensor) or type(lr._a) is ndarray)


def _has_tensors(group: Mapping[str, Any]) -> bool:
    betas = group.get("betas")
    return (isinstance(group.get("lr"), Tensor) or isinstance(group.get("weight_decay"), Tensor)
            or betas is not None and any(isinstance(b, Tensor) for b in betas))


def _numbers_of(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple([number_of(x) for x in value])
    return number_of(value)


def _advance(numbers: Sequence[Sequence[Tensor]], count: int) -> list[tuple]:
    """Add one to each step; returns for each parameter its step and its other numbers."""
    if not numbers:
        return [()] * count
    *others, steps = numbers
    count_changes(steps)
    found = []
    for t in steps:
        a = t._a
        a[()] = a.item() + 1
        found.append(a.item())
    return list(zip(found, *[[t._a[()] for t in column] for column in others]))


def _runs(values: list[tuple]) -> Iterator[tuple[tuple, int, int]]:
    """Runs of equal values: the value, where it starts and ends."""
    first = values[0]
    if values.count(first) == len(values):
        yield first, 0, len(values)
        return
    start = 0
    for at in range(1, len(values) + 1):
        if at == len(values) or values[at] != values[start]:
            yield values[start], start, at
            start = at


def count_changes(tensors: Iterable[Tensor]) -> None:
    """Count a change of each tensor's memory; raises for inference tensors in normal mode."""
    for t in tensors:
        version = t._v
        if version is None:
            t._v = [1]
        elif type(version) is list:
            version[0] += 1
        else:
            check_inplace(t)


def apply_to_lists(update: Update, columns: Sequence[Sequence[Tensor]],
                   scalars: Mapping[str, Any], memory: Memory | None = None) -> None:
    """Apply the update to rows made of one tensor of each list, in place, unrecorded."""
    for number in update.written:
        count_changes(columns[number])
    arrays = [t._a for row in zip(*columns) for t in row]
    if run(update, arrays, scalars, memory):
        return
    for row in zip(*columns):
        if not run(update, [t._a for t in row], scalars):
            with set_grad_enabled(False):
                _run_on_tensors(update, row, scalars)


def _drive_tensors(rule: Rule, plan: Plan, columns: Sequence[Sequence[Tensor]],
                   numbers: Sequence[Sequence[Tensor]], group: Mapping[str, Any],
                   rounds: bool) -> None:
    def step(at: int) -> None:
        row, held = [column[at] for column in columns], [column[at] for column in numbers]
        if held:
            held[-1].add_(1)
        plain = type(row[0]._a) is ndarray and all(type(t._a) is ndarray for t in held)
        values: list[Any] = [t._a[()] if plain else t.double() for t in held]
        number = [values.pop().item() if plain else values.pop()] if held else []
        settings, scalars, *new = plan(group, *number, *values)
        _run_on_tensors(update_of(rule, settings, len(columns), rounds), row, scalars)
        for t, value in zip(held, new):
            t.copy_(value) if isinstance(value, Tensor) else t.fill_(value)

    with set_grad_enabled(bool(group.get("differentiable"))):
        done = 0
        if MODES.tracer is not None and not MODES.grad and not _has_tensors(group):
            done = _trace_repeated(rule, plan, columns, numbers, group, rounds, step)
        for at in range(done, len(columns[0])):
            step(at)


def _trace_repeated(rule: Rule, plan: Plan, columns: Sequence[Sequence[Tensor]],
                    numbers: Sequence[Sequence[Tensor]], group: Mapping[str, Any], rounds: bool,
                    step: Callable[[int], None]) -> int:
    """Trace the step of the first parameter for all; returns how many parameters are done."""
    tracer, count = MODES.tracer, len(columns)
    options = {k: tracer.plain(v) for k, v in group.items() if k != "params"}

    def compute(rows: Sequence[Sequence[Tensor]]) -> None:
        lists = [list(column) for column in zip(*rows)]
        drive(rule, plan, lists[:count], lists[count:], options, None, rounds)

    return tracer.repeat(list(zip(*columns, *numbers)), lambda: step(0), compute)


def _extreme(both: Callable, bound: str) -> Callable[[Any, Any], Any]:
    return lambda a, b: both(a, b) if isinstance(b, Tensor) else a.clamp(**{bound: b})


def _fused(x: Any, y: Any, z: Any) -> Any:
    """``x * y + z``, rounded once as the kernels do, where what it is of has a wide dtype."""
    if all([t._a.dtype in (F32, F64) and not t.is_sparse for t in (x, y, z)
            if isinstance(t, Tensor)]):
        return fused_multiply_add(x, y, z)
    return z + x * y  # a sparse gradient is added to a dense parameter


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "fma": _fused,
    "neg": operator.neg,
    "abs": abs,
    "sqrt": lambda x: x.sqrt(),
    "maximum": _extreme(maximum, "min"),
    "minimum": _extreme(minimum, "max"),
    "gt": operator.gt,
    "lt": operator.lt,
    "round": lambda x: x,
    "detach": lambda x: x.detach(),
}


def _run_on_tensors(update: Update, row: Sequence[Tensor], scalars: Mapping[str, Any]) -> None:
    """The update of one parameter as operators on tensors, which may be recorded."""
    for target in update.written:
        check_inplace(row[target])
    if row[0].dtype.is_complex:
        row = [view_as_real(t) for t in row]
    # copies, as what is recorded must not see the changes
    values: list[Any] = [*[t.clone() for t in row], *[scalars[name] for name in update.scalars]]
    for name, args, number in update.steps:
        given = [values[a] for a in args]
        if name == "select":
            # two numbers would give a tensor of the default dtype
            given[1:] = [x if isinstance(x, Tensor) else row[0].new_tensor(x) for x in given[1:]]
            values.append(where(*given))
        else:
            values.append(number if name == "const" else FUNCTIONS[name](*given))
    for target, result in zip(update.written, update.results):
        row[target].copy_(values[result])
