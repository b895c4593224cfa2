"""``torch.lstm``, ``gru``, ``rnn_tanh`` and ``rnn_relu``: layers in both directions; the cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau.base import dtypes
from flambeau.base.dtypes import FROM_NUMPY
from flambeau.core.face import FACES, public
from flambeau.core.node import Node, next_sequence
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor
from flambeau.ops.functions import tanh
from flambeau.ops.join import cat, stack
from flambeau.ops.matmul import check_added, linear
from flambeau.ops.recurrent import GRU, LSTM, RNN_RELU, RNN_TANH, Sizes, run_layer
from flambeau.ops.shape import transpose
from flambeau.ops.split import unbind

__all__ = ["gru", "gru_cell", "lstm", "lstm_cell", "rnn_relu", "rnn_relu_cell", "rnn_tanh",
           "rnn_tanh_cell"]

_KINDS: dict[str, Any] = {"Tensor": Tensor, "tuple of Tensors": (list, tuple), "bool": bool,
                          "int": int, "float": (float, int)}
_TAIL = (("params", "tuple of Tensors"), ("has_biases", "bool"), ("num_layers", "int"),
         ("dropout", "float"), ("train", "bool"), ("bidirectional", "bool"))


class _Arguments:
    """The arguments of a call in either form: a padded sequence, or the data of a packed one."""

    def __init__(self, name: str, several: bool, args: tuple, kwargs: dict) -> None:
        hx = ("hx", "tuple of Tensors" if several else "Tensor")
        forms = ((("data", "Tensor"), ("batch_sizes", "Tensor"), hx, *_TAIL),
                 (("input", "Tensor"), hx, *_TAIL, ("batch_first", "bool")))
        for form in forms:
            found = _bound(form, args, kwargs)
            if found is not None:
                break
        else:
            raise _no_form(name, forms, args, kwargs)
        self.x: Tensor = found["input" if "input" in found else "data"]
        self.packed = "data" in found
        self.hx: list[Tensor] = list(found["hx"]) if several else [found["hx"]]
        self.params: list[Tensor] = list(found["params"])
        self.biases: bool = found["has_biases"]
        self.layers: int = found["num_layers"]
        self.dropout: float = found["dropout"]
        self.train: bool = found["train"]
        self.directions = 2 if found["bidirectional"] else 1
        self.batch_first: bool = found.get("batch_first", False)
        for at, t in enumerate(self.params):
            if not isinstance(t, Tensor):
                raise TypeError(f"expected Tensor as element {at} in argument "
                                f"{3 if self.packed else 2}, but got {type(t).__name__}")
        self.sizes: Sizes = None
        if self.packed:
            sizes = found["batch_sizes"]
            if sizes.dtype is not dtypes.int64:
                raise RuntimeError(f"expected scalar type Long but found {sizes.dtype.title}")
            self.sizes = tuple(sizes.tolist())


def _bound(form: Sequence[tuple[str, str]], args: tuple, kwargs: dict) -> dict[str, Any] | None:
    """The arguments by name, where they fit a form; None where they do not."""
    names = [name for name, _ in form]
    found = dict(zip(names, args))
    if len(args) + len(kwargs) != len(form) or not found.keys().isdisjoint(kwargs):
        return None
    found.update(kwargs)
    if found.keys() != set(names):
        return None
    for name, kind in form:
        value = found[name]
        if isinstance(value, bool) and kind != "bool" or not isinstance(value, _KINDS[kind]):
            return None
    return found


def _no_form(name: str, forms: Sequence, args: tuple, kwargs: dict) -> TypeError:
    got = [type(a).__name__ for a in args]
    got += [f"{k}={type(v).__name__}" for k, v in kwargs.items()]
    lines = [f"{name}() received an invalid combination of arguments - got ({', '.join(got)}), "
             "but expected one of:"]
    lines += [f" * ({', '.join([f'{kind} {n}' for n, kind in form])})" for form in forms]
    return TypeError("\n".join(lines))


def _weights(a: _Arguments, projected: bool) -> list[list[Tensor | None]]:
    """Per layer and direction: w_ih, w_hh, b_ih, b_hh and w_hr, with None for what is absent."""
    each = 2 + 2 * a.biases + projected
    if len(a.params) % each:
        raise RuntimeError("got an incorrect number of RNN parameters")
    found: list[list[Tensor | None]] = []
    for at in range(0, len(a.params), each):
        one: list[Tensor | None] = list(a.params[at:at + each])
        hr = [one.pop()] if projected else []
        found.append(one + [None] * (4 - len(one)) + hr)
    return found


def _run(op: Op, gates: int, a: _Arguments, states: Sequence[Sequence[Tensor]],
         weights: list[list[Tensor | None]], node: str) -> tuple[Tensor, ...]:
    """All layers; the results of the last one and the last states of each, stacked."""
    if a.directions == 2 and (len(states) % 2 or len(weights) % 2):
        raise RuntimeError("Odd number of params or hiddens given to a bidirectional RNN")
    if len(states) != a.layers * a.directions:
        raise RuntimeError("Expected more hidden states in stacked_rnn")
    if len(weights) < len(states):
        raise RuntimeError("Expected more weights in stacked_rnn")
    drop = FACES["torch"]["dropout"]
    x = transpose(a.x, 0, 1) if a.batch_first else a.x
    last = []
    for layer in range(a.layers):
        outs = []
        for direction in range(a.directions):
            at = layer * a.directions + direction
            _check_layer(gates, x, states[at], weights[at], a.sizes)
            out, *ended = run_layer(op, x, states[at], weights[at], a.sizes, direction == 1, node)
            outs.append(out)
            last.append(ended)
        x = outs[0] if len(outs) == 1 else cat(outs, -1)
        if a.dropout and a.train and layer < a.layers - 1:
            x = drop(x, a.dropout, True)
    if a.batch_first:
        # The others than LSTM turn their results in place, which the name of the node tells.
        x = transpose(x, 0, 1) if op is LSTM else x.transpose_(0, 1)
    return (x, *[stack(s) for s in zip(*last)])


def _check_layer(gates: int, x: Tensor, states: Sequence[Tensor], weights: Sequence[Tensor | None],
                 sizes: Sizes) -> None:
    """Raise where sizes or dtypes do not fit, before anything is computed."""
    w_ih, w_hh, b_ih, b_hh = weights[:4]
    shape, height = x._a.shape, w_ih._a.shape[0]  # type: ignore[union-attr]
    if len(shape) != 3 - (sizes is not None):
        raise IndexError("Dimension out of range (expected to be in range of [-1, 0], but got 1)")
    if not (shape[0] if sizes is None else len(sizes)):
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
    rows = shape[0] if sizes is not None else shape[0] * shape[1]
    _check_product(x, w_ih, b_ih, rows)
    _check_product(states[0], w_hh, b_hh, states[0]._a.shape[0])
    batch, first = states[0]._a.shape[0], shape[1] if sizes is None else max(sizes)
    width = states[-1]._a.shape[1]
    if any(s._a.shape[0] != first if sizes is None else s._a.shape[0] < first for s in states):
        shown = height if gates == 4 else width
        raise RuntimeError(f"output with shape [{batch}, {shown}] doesn't match the broadcast "
                           f"shape [{first}, {shown}]")
    if sizes is not None and sum(sizes) > rows:
        raise RuntimeError(f"start ({sum(sizes[:-1])}) + length ({sizes[-1]}) exceeds dimension "
                           f"size ({rows}).")
    if height != gates * width or w_hh._a.shape[0] != height:  # type: ignore[union-attr]
        raise RuntimeError(f"The size of tensor a ({height}) must match the size of tensor b "
                           f"({gates * width}) at non-singleton dimension 1")


def _check_product(x: Tensor, weight: Any, bias: Tensor | None, rows: int) -> None:
    a, w = x._a, weight._a
    if w.ndim != 2 or a.shape[-1] != w.shape[1]:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({rows}x{a.shape[-1]} and "
                           f"{w.shape[-1]}x{w.shape[0]})")
    if bias is not None:
        check_added(a, w, bias._a, (rows, w.shape[0]))
    elif a.dtype != w.dtype:
        raise RuntimeError(f"mat1 and mat2 must have the same dtype, but got "
                           f"{FROM_NUMPY[a.dtype].title} and {FROM_NUMPY[w.dtype].title}")


def _refuse_integers(t: Tensor) -> None:
    if t.dtype.category < dtypes.FLOAT:
        raise RuntimeError("result type Float can't be cast to the desired output type "
                           f"{t.dtype.title}")


@public("torch")
def lstm(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Layers of long short-term memory: ``(results, last h, last c)``.

    Called as ``lstm(input, (h, c), params, has_biases, num_layers, dropout, train, bidirectional,
    batch_first)`` with an input (T, N, features), or ``lstm(data, batch_sizes, (h, c), ...)``
    with a packed one and without the last argument. Source: Hochreiter, Schmidhuber (1997).

    >>> import flambeau as torch
    >>> x, h, ones = torch.ones(3, 1, 2), torch.zeros(1, 1, 1), torch.ones(4, 2)
    >>> torch.lstm(x, (h, h), [ones, ones[:, :1]], False, 1, 0.0, False, False, False)[1]
    tensor([[[0.9353]]])
    """
    a = _Arguments("lstm", True, args, kwargs)
    if len(a.hx) != 2:
        raise RuntimeError("lstm expects two hidden states")
    _refuse_integers(a.x)
    h, c = a.hx
    projected = h._a.shape[2] != c._a.shape[2]
    weights = [w if projected else [*w, None] for w in _weights(a, projected)]
    fused = a.x.dtype is dtypes.float32 and not projected
    node = "Cat" if a.packed else "MkldnnRnnLayer" if fused else "Stack"
    states = list(zip(unbind(h), unbind(c)))
    return _run(LSTM, 4, a, states, weights, node)  # type: ignore[return-value]


def _declare(op: Op, gates: int, text: str) -> Callable:
    """Declare ``torch.<op>``, whose layers have one state."""
    name = op.name

    def function(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        a = _Arguments(name, False, args, kwargs)
        if op is not RNN_RELU:
            _refuse_integers(a.x)
        node = "Cat" if a.packed else "Stack"
        states = [(h,) for h in unbind(a.hx[0])]
        return _run(op, gates, a, states, _weights(a, False), node)  # type: ignore[return-value]

    function.__doc__ = (f"{text}: ``(results, last h)``.\n\n    Called as ``lstm`` is, with one "
                        "state in place of the pair.\n    ")
    return public("torch", name=name)(function)


gru = _declare(GRU, 3, "Layers of gated recurrent units (arXiv:1406.1078)")
rnn_tanh = _declare(RNN_TANH, 1, "Layers of h' = tanh(w_ih x + b_ih + w_hh h + b_hh)")
rnn_relu = _declare(RNN_RELU, 1, "Layers of h' = relu(w_ih x + b_ih + w_hh h + b_hh)")


# Cells: one step


def _check_cell(gates: int, input: Tensor, states: Sequence[Tensor], w_ih: Tensor,
                w_hh: Tensor) -> None:
    if input._a.ndim < 2:
        raise IndexError("Dimension out of range (expected to be in range of "
                         f"[-{max(input._a.ndim, 1)}, 0], but got 1)")
    width = w_hh._a.shape[1]
    if input._a.shape[1] != w_ih._a.shape[1]:
        raise RuntimeError(f"input has inconsistent input_size: got {input._a.shape[1]} expected "
                           f"{w_ih._a.shape[1]}")
    for at, s in enumerate(states):
        if s._a.shape[0] != input._a.shape[0]:
            raise RuntimeError(f"Input batch size {input._a.shape[0]} doesn't match "
                               f"hidden{at} batch size {s._a.shape[0]}")
        if s._a.ndim < 2 or s._a.shape[1] != width:
            found = s._a.shape[1] if s._a.ndim > 1 else 1
            raise RuntimeError(f"hidden{at} has inconsistent hidden_size: got {found}, expected "
                               f"{width}")
    for weight, name in ((w_ih, "weight_ih"), (w_hh, "weight_hh")):
        if weight._a.shape[0] != gates * width:
            raise RuntimeError(f"{name} first dim must be {gates} * hidden_size = {gates * width}, "
                               f"but got {weight._a.shape[0]}")


def _cell(op: Op, gates: int, input: Tensor, states: Sequence[Tensor],
          weights: Sequence[Tensor | None], node: str) -> list[Tensor]:
    """One step, on rows (N, features) and states (N, H)."""
    name = f"{op.name}_cell"
    shown = ("input", *["hx"] * len(states), "w_ih", "w_hh", "b_ih", "b_hh")
    places = (1, *[2] * len(states), 3, 4, 5, 6)
    for value, argument, place in zip((input, *states, *weights), shown, places):
        if not isinstance(value, Tensor) and (value is not None or place < 5):
            raise TypeError(f"{name}(): argument '{argument}' (position {place}) must be Tensor, "
                            f"not {type(value).__name__}")
    w_ih, w_hh, b_ih, b_hh = weights[:4]
    _check_cell(gates, input, states, w_ih, w_hh)  # type: ignore[arg-type]
    rows = input._a.shape[0]
    _check_product(input, w_ih, b_ih, rows)
    _check_product(states[0], w_hh, b_hh, rows)
    if op is not RNN_RELU:
        _refuse_integers(input)
    return run_layer(op, input, states, weights, (rows,), False, node)


@public("torch")
def lstm_cell(input: Tensor, hx: Sequence[Tensor], w_ih: Tensor, w_hh: Tensor,
              b_ih: Tensor | None = None, b_hh: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """One step of long short-term memory: (N, features) and (h, c), each (N, H), give (h, c).

    >>> import flambeau as torch
    >>> h = torch.zeros(1, 1)
    >>> torch.lstm_cell(torch.ones(1, 2), (h, h), torch.ones(4, 2), torch.ones(4, 1))[0]
    tensor([[0.6083]])
    """
    if isinstance(hx, Tensor):
        raise TypeError("lstm_cell(): argument 'hx' (position 2) must be tuple of Tensors, not "
                        "Tensor")
    if len(hx) != 2:
        raise RuntimeError("lstm_cell expects two hidden states")
    out, _, c = _cell(LSTM, 4, input, hx, (w_ih, w_hh, b_ih, b_hh, None), "Mul")
    if c._node is not None:
        c._node = AddBackward0(c)
    return out, c


class AddBackward0(Node):
    """What ``grad_fn`` of the cell's c shows; the gradient goes on to the one node of both."""

    def __init__(self, c: Tensor) -> None:
        self.next = (c._node,)
        self.seq = next_sequence()
        self.shape, self.dtype = c._a.shape, c._a.dtype

    def run(self, g: Any) -> Any:
        return (g,)


@public("torch")
def gru_cell(input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,
             b_hh: Tensor | None = None) -> Tensor:
    """One step of a gated recurrent unit: (N, features) and h (N, H) give the next h."""
    return _cell(GRU, 3, input, (hx,), (w_ih, w_hh, b_ih, b_hh), "Add")[0]


@public("torch")
def rnn_tanh_cell(input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor,
                  b_ih: Tensor | None = None, b_hh: Tensor | None = None) -> Tensor:
    """tanh(w_ih x + b_ih + w_hh h + b_hh) for rows x (N, features) and h (N, H)."""
    if input.dtype.category < dtypes.FLOAT:
        return tanh(linear(input, w_ih, b_ih) + linear(hx, w_hh, b_hh))
    return _cell(RNN_TANH, 1, input, (hx,), (w_ih, w_hh, b_ih, b_hh), "Tanh")[0]


@public("torch")
def rnn_relu_cell(input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor,
                  b_ih: Tensor | None = None, b_hh: Tensor | None = None) -> Tensor:
    """relu(w_ih x + b_ih + w_hh h + b_hh) for rows x (N, features) and h (N, H)."""
    return _cell(RNN_RELU, 1, input, (hx,), (w_ih, w_hh, b_ih, b_hh), "Relu")[0]
