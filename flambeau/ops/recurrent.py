"""Recurrent layers in one direction, each one operator over a whole sequence, and the cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from flambeau.backends.numpy import recurrent as kernels
from flambeau.backends.numpy.recurrent import Weights
from flambeau.base.dtypes import FROM_NUMPY
from flambeau.core.derive import vjp_of
from flambeau.core.dispatch import apply
from flambeau.core.kinds import composite
from flambeau.core.modes import MODES
from flambeau.core.node import OpNode
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.activation import relu
from flambeau.ops.functions import sigmoid, tanh
from flambeau.ops.join import cat, stack
from flambeau.ops.matmul import linear
from flambeau.ops.split import chunk

__all__ = ["GRU", "LSTM", "RNN_RELU", "RNN_TANH", "run_layer"]

ndarray = np.ndarray
Sizes = tuple[int, ...] | None


# Step by step, of tensors: what the operators are made of


def _unroll(step: Callable, gates: Tensor, states: list[Tensor], sizes: Sizes,
            reverse: bool) -> tuple[Tensor, ...]:
    """Results of all steps and the last states; ``step(gates, states)`` gives the next states."""
    batch, shape = states[0]._a.shape[0], gates._a.shape
    rows = shape[0] if sizes is not None else shape[0] * batch
    steps = kernels.steps_of(rows, batch, sizes, reverse)
    outs = []
    for at, n in steps:
        z = gates.narrow(0, at, n) if sizes is not None else gates.select(0, at // batch)
        if n == batch:
            states = step(z, states)
            outs.append(states[0])
            continue
        moved = step(z, [s.narrow(0, 0, n) for s in states])
        outs.append(moved[0])
        states = [cat([m, s.narrow(0, n, batch - n)]) for m, s in zip(moved, states)]
    if reverse:
        outs.reverse()
    return (cat(outs) if sizes is not None else stack(outs), *states)


def lstm_parts(x: Tensor, h: Tensor, c: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None,
               b_hh: Tensor | None, w_hr: Tensor | None, *, sizes: Sizes, reverse: bool,
               keep: bool) -> tuple[Tensor, ...]:
    """A layer of long short-term memory, by other operators."""

    def step(z: Tensor, states: list[Tensor]) -> list[Tensor]:
        h, c = states
        i, f, g, o = chunk(z + linear(h, w_hh, b_hh), 4, 1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        return [h if w_hr is None else linear(h, w_hr), c]

    return _unroll(step, linear(x, w_ih, b_ih), [h, c], sizes, reverse)


def gru_parts(x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None,
              b_hh: Tensor | None, *, sizes: Sizes, reverse: bool,
              keep: bool) -> tuple[Tensor, ...]:
    """A layer of gated recurrent units, by other operators."""

    def step(z: Tensor, states: list[Tensor]) -> list[Tensor]:
        h, = states
        of_x, of_h = chunk(z, 3, 1), chunk(linear(h, w_hh, b_hh), 3, 1)
        reset, update = sigmoid(of_x[0] + of_h[0]), sigmoid(of_x[1] + of_h[1])
        new = tanh(of_x[2] + reset * of_h[2])
        return [new + update * (h - new)]

    return _unroll(step, linear(x, w_ih, b_ih), [h], sizes, reverse)


def _rnn_parts(activation: Callable) -> Callable:
    def parts(x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None,
              b_hh: Tensor | None, *, sizes: Sizes, reverse: bool,
              keep: bool) -> tuple[Tensor, ...]:
        return _unroll(lambda z, s: [activation(z + linear(s[0], w_hh, b_hh))],
                       linear(x, w_ih, b_ih), [h], sizes, reverse)

    return parts


# Whole sequences, of arrays


def _wide(a: ndarray | None) -> ndarray | None:
    """Half types as float32: states are rounded only where they leave the layer."""
    if a is None or a.dtype.itemsize > 2 or not FROM_NUMPY[a.dtype].is_floating_point:
        return a
    return a.astype(np.float32)


def _rows(a: ndarray, batch: int, sizes: Sizes) -> ndarray:
    """A sequence (T, B, n) as (T * B, n); of a packed one, the rows that steps take."""
    return a[:sum(sizes)] if sizes is not None else a.reshape(len(a) * batch, a.shape[2])


def _arranged(count: int, arrays: Sequence[ndarray | None]) -> tuple[Any, list, Weights]:
    """The input, ``count`` states and the weights, of float32 at least."""
    x, *rest = [_wide(a) for a in arrays]
    return x, rest[:count], Weights(*rest[count:])  # type: ignore[arg-type]


def _forward(run: Callable, count: int) -> Callable:
    """The operator's forward: ``run`` on rows; with ``keep`` also what its backward needs."""

    def forward(x: ndarray, *others: ndarray | None, sizes: Sizes, reverse: bool,
                keep: bool) -> list[ndarray]:
        held, batch = x.dtype, others[0].shape[0]  # type: ignore[union-attr]
        x, states, w = _arranged(count, (x, *others))
        rows = _rows(x, batch, sizes)
        steps = kernels.steps_of(len(rows), batch, sizes, reverse)
        found = run(rows, *states, w, steps)
        out = found[0]
        if sizes is None:
            out = out.reshape(*x.shape[:2], out.shape[1])
        shown = [a if a.dtype == held else a.astype(held) for a in (out, *found[1:count + 1])]
        return [*shown, *found[count + 1:]] if keep else shown

    return forward


def _gradients(parts: Callable, inputs: int, states: int) -> Callable:
    """The gradients that ``wanted`` asks for, by differentiating ``parts``.

    Operands are the gradients of the results, the layer's inputs and what its forward kept.
    """
    outs = states + 1

    def compose(*tensors: Any, sizes: Sizes, reverse: bool, wanted: tuple) -> tuple[Tensor, ...]:
        found = vjp_of(lambda *ts: parts(*ts, sizes=sizes, reverse=reverse, keep=False),
                       tensors[outs:outs + inputs], wanted, tensors[:outs], True)
        return tuple([t for t, need in zip(found, wanted) if need])

    return compose


def _gradients_of_arrays(run: Callable, inputs: int, states: int) -> Callable:
    """As `_gradients`, by ``run`` on what was kept."""
    outs = states + 1

    def forward(*arrays: Any, sizes: Sizes, reverse: bool, wanted: tuple) -> list[ndarray]:
        x, first_states, w = _arranged(states, arrays[outs:outs + inputs])
        batch = len(first_states[0])
        rows = _rows(x, batch, sizes)
        grads = [_wide(a) for a in arrays[:outs]]
        if grads[0] is not None:
            grads[0] = _rows(grads[0], batch, sizes)
        steps = kernels.steps_of(len(rows), batch, sizes, reverse)
        kept = [a for a in arrays[outs + inputs:] if a is not None]
        found = run(grads, rows, w, kept, steps, batch, wanted)
        if found[0] is not None:
            found[0] = found[0].reshape(x.shape)
        held = arrays[outs].dtype
        return [a.astype(held, copy=False) for a, need in zip(found, wanted) if need]

    return forward


def _joint(back: Op, parts: Callable, inputs: tuple[str, ...], states: int) -> Callable:
    """The operator's backward: ``back`` on what was kept, or ``parts`` differentiated."""
    outs = states + 1

    def joint(g: Any, needs: tuple, *values: Any) -> list:
        tensors, (out, sizes, reverse) = values[:len(inputs)], values[len(inputs):]
        kept = [wrap(t._a) for t in out[outs:]]
        if not kept:
            return vjp_of(lambda *ts: parts(*ts, sizes=sizes, reverse=reverse, keep=False),
                          tensors, needs, g, True)
        absent = [None] * (len(back.inputs) - outs - len(inputs) - len(kept))
        found = iter(apply(back, (*g[:outs], *tensors, *kept, *absent),
                           {"sizes": sizes, "reverse": reverse, "wanted": needs}))
        return [next(found) if need else None for need in needs]

    joint.names = ("needs", *inputs, "out", "sizes", "reverse")  # type: ignore[attr-defined]
    return joint


def _declare(name: str, parts: Callable, forward: Callable, backward: Callable,
             inputs: tuple[str, ...], states: int, kept: tuple[str, ...]) -> Op:
    results = ("out", "last_h", "last_c")[:states + 1]
    back = composite(
        f"{name}_backward", _gradients(parts, len(inputs), states),
        _gradients_of_arrays(backward, len(inputs), states),
        inputs=(*[f"grad_{r}" for r in results], *inputs, *kept),
        params=("sizes", "reverse", "wanted"), multiple=True, widen=False)
    return composite(
        name, parts, _forward(forward, states), inputs=inputs,
        joint=_joint(back, parts, inputs, states), params=("sizes", "reverse", "keep"),
        multiple=True, widen=False, node="Stack")


_ONE_STATE = ("x", "h", "w_ih", "w_hh", "b_ih", "b_hh")
LSTM = _declare("lstm", lstm_parts, kernels.lstm_forward, kernels.lstm_backward,
                ("x", "h", "c", "w_ih", "w_hh", "b_ih", "b_hh", "w_hr"), 2,
                ("gates", "before_h", "before_c", "raw"))
GRU = _declare("gru", gru_parts, kernels.gru_forward, kernels.gru_backward, _ONE_STATE, 1,
               ("gates", "news", "before_h"))
RNN_TANH, RNN_RELU = [
    _declare(name, _rnn_parts(activation), partial(kernels.rnn_forward, activation is relu),
             partial(kernels.rnn_backward, activation is relu), _ONE_STATE, 1,
             ("activated", "before_h"))
    for name, activation in (("rnn_tanh", tanh), ("rnn_relu", relu))]
_nodes: dict[tuple[str, str], type] = {}


def run_layer(op: Op, x: Tensor, states: Sequence[Tensor], weights: Sequence[Tensor | None],
              sizes: Sizes = None, reverse: bool = False, node: str = "") -> list[Tensor]:
    """Run a layer over a sequence (T, B, n), or over the rows of a packed one.

    ``states`` are (B, H); ``weights`` are w_ih, w_hh, b_ih, b_hh and, for LSTM, w_hr, with None
    for what is absent. ``sizes`` has the rows of each step of a packed sequence. Returns the
    results of all steps and the last states; ``node`` is what ``grad_fn`` goes by.
    """
    inputs = (x, *states, *weights)
    keep = MODES.grad and any(t is not None and t._node is not None for t in inputs)
    found = apply(op, inputs, {"sizes": sizes, "reverse": reverse, "keep": keep})
    recorded = getattr(found[0]._node, "node", None)
    if node and type(recorded) is op.node_type:
        recorded.__class__ = _node_type(op, node)
    return list(found[:len(states) + 1])


def _node_type(op: Op, node: str) -> type:
    found = _nodes.get((op.name, node))
    if found is None:
        # Gradients of zeros for what only backward reads would be made in vain.
        found = type(f"{node}Backward0", (OpNode,), {"op": op, "materialize": False})
        _nodes[op.name, node] = found
    return found
