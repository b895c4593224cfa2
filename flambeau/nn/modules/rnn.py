"""Recurrent layers and cells: plain, long short-term memory, gated recurrent units."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Sequence
from typing import Any

from flambeau.core.face import FACES
from flambeau.core.tensor import Tensor
from flambeau.nn import init
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.rnn_cells import GRUCell, LSTMCell, RNNCell, RNNCellBase
from flambeau.nn.parameter import Parameter

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNBase", "RNNCell", "RNNCellBase"]

torch = FACES["torch"]
_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


def _apply_permutation(tensor: Tensor, permutation: Tensor, dim: int = 1) -> Tensor:
    return tensor.index_select(dim, permutation)


def apply_permutation(tensor: Tensor, permutation: Tensor, dim: int = 1) -> Tensor:
    """``tensor.index_select(dim, permutation)``, by an older name; FutureWarning."""
    warnings.warn("`apply_permutation` is deprecated, please use `tensor.index_select(dim, "
                  "permutation)` instead", FutureWarning, stacklevel=2)
    return _apply_permutation(tensor, permutation, dim)


def _autocast_is_on() -> bool:
    # only asked where dtypes differ: not every program needs autocast
    from flambeau.amp.state import STATE
    return any(STATE.enabled.values())


class RNNBase(Module):
    """What recurrent layers share; ``mode`` is "LSTM", "GRU", "RNN_TANH" or "RNN_RELU".

    Layer k has ``weight_ih_l<k>`` (gates * hidden_size, inputs), ``weight_hh_l<k>`` (gates *
    hidden_size, hidden_size), two biases and, with ``proj_size``, ``weight_hr_l<k>``; the second
    direction has the same with ``_reverse``. All start uniform within 1 / sqrt(hidden_size).

    >>> import flambeau as torch
    >>> [name for name, _ in torch.nn.RNNBase("GRU", 10, 20, bias=False).named_parameters()]
    ['weight_ih_l0', 'weight_hh_l0']
    """

    __constants__ = ["mode", "input_size", "hidden_size", "num_layers", "bias", "batch_first",
                     "dropout", "bidirectional", "proj_size"]
    mode: str
    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    batch_first: bool
    dropout: float
    bidirectional: bool
    proj_size: int
    weight_ih_l0: Tensor

    def __init__(self, mode: str, input_size: int, hidden_size: int, num_layers: int = 1,
                 bias: bool = True, batch_first: bool = False, dropout: float = 0.0,
                 bidirectional: bool = False, proj_size: int = 0, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__()
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        _check_dropout(dropout, num_layers)
        _check_settings(self)
        self._make_parameters({"device": device, "dtype": dtype})
        self.reset_parameters()

    def _make_parameters(self, options: dict[str, Any]) -> None:
        size = self.proj_size or self.hidden_size
        gates = _GATES[self.mode] * self.hidden_size
        for layer, names in zip(range(self.num_layers * self._directions), self._names()):
            width = self.input_size
            if layer >= self._directions:
                width = size * self._directions
            shapes: list[tuple[int, ...]] = [(gates, width), (gates, size)]
            if self.bias:
                shapes += [(gates,), (gates,)]
            if self.proj_size:
                shapes.append((self.proj_size, self.hidden_size))
            for name, shape in zip(names, shapes):
                setattr(self, name, Parameter(torch["empty"](shape, **options)))

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _names(self) -> list[list[str]]:
        """The names of the parameters, per layer and direction."""
        kinds = ["weight_ih", "weight_hh"]
        if self.bias:
            kinds += ["bias_ih", "bias_hh"]
        if self.proj_size:
            kinds.append("weight_hr")
        ends = ("", "_reverse")[:self._directions]
        return [[f"{kind}_l{layer}{end}" for kind in kinds]
                for layer in range(self.num_layers) for end in ends]

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters, per layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._names()]

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._names() for name in names]

    @property
    def _flat_weights(self) -> list[Parameter]:
        held: dict[str, Any] = self._parameters
        return [held[n] if n in held else getattr(self, n) for n in self._flat_weights_names]

    def flatten_parameters(self) -> None:
        """Nothing: parameters lie as they are, on a CPU."""

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:
        """Raise where dtype, rank or size do not fit."""
        held = self.weight_ih_l0.dtype
        if input.dtype is not held and not _autocast_is_on():
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({held}). Convert "
                f"input: input.to({held}), or convert model: model.to({input.dtype})")
        rank = 3 if batch_sizes is None else 2
        if input.dim() != rank:
            raise RuntimeError(f"input must have {rank} dimensions, got {input.dim()}")
        if self.input_size != input.size(-1):
            raise RuntimeError("input.size(-1) must be equal to input_size. Expected "
                               f"{self.input_size}, got {input.size(-1)}")

    def _batch(self, input: Tensor, batch_sizes: Tensor | None) -> int:
        if batch_sizes is not None:
            return int(batch_sizes[0])  # type: ignore[index]
        return input.size(0 if self.batch_first else 1)  # type: ignore[return-value]

    def get_expected_hidden_size(self, input: Tensor,
                                 batch_sizes: Tensor | None) -> tuple[int, int, int]:
        """The shape of h: (layers * directions, N, proj_size or hidden_size)."""
        return (self.num_layers * self._directions, self._batch(input, batch_sizes),
                self.proj_size or self.hidden_size)

    def check_hidden_size(self, hx: Tensor, expected_hidden_size: tuple[int, int, int],
                          msg: str = "Expected hidden size {}, got {}") -> None:
        """RuntimeError where a state has another shape."""
        if hx.size() != expected_hidden_size:
            raise RuntimeError(msg.format(expected_hidden_size, list(hx.size())))

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        """Raise where the input or the states do not fit."""
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden, self.get_expected_hidden_size(input, batch_sizes))

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """The states of the sequences in another order."""
        return hx if permutation is None else _apply_permutation(hx, permutation)

    def _first_states(self, input: Tensor, batch_sizes: Tensor | None) -> Any:
        shape = self.get_expected_hidden_size(input, batch_sizes)
        return torch["zeros"](shape, dtype=input.dtype)

    def _lonely(self, hx: Any) -> Any:
        """States without a batch dimension, given one."""
        if hx.dim() != 2:
            raise RuntimeError("For unbatched 2-D input, hx should also be 2-D but got "
                               f"{hx.dim()}-D tensor")
        return hx.unsqueeze(1)

    def _check_rank(self, hx: Any) -> None:
        if hx.dim() != 3:
            raise RuntimeError("For batched 3-D input, hx should also be 3-D but got "
                               f"{hx.dim()}-D tensor")

    def _without_batch(self, hx: Any) -> Any:
        return hx.squeeze(1)

    def _function(self, *args: Any) -> Any:
        """Results and last states."""
        return torch[self.mode.lower()](*args)

    def forward(self, input: Any, hx: Any = None) -> Any:
        """The results of all steps and the last states.

        ``input`` is (T, N, input_size), with ``batch_first`` (N, T, input_size), without a batch
        (T, input_size), or a PackedSequence. ``hx`` are the first states, zeros where None.
        """
        if hasattr(input, "batch_sizes"):
            return self._forward_packed(input, hx)
        rank = input.dim()
        if rank not in (2, 3):
            raise ValueError(f"{type(self).__name__}: Expected input to be 2D or 3D, got "
                             f"{rank}D{' tensor' * self.mode.startswith('RNN')} instead")
        if rank == 2:
            input = input.unsqueeze(0 if self.batch_first else 1)
            hx = None if hx is None else self._lonely(hx)
        elif hx is not None:
            self._check_rank(hx)
        if hx is None:
            hx = self._first_states(input, None)
        self.check_forward_args(input, hx, None)
        out, hx = self._function(input, hx, self._flat_weights, self.bias, self.num_layers,
                                 self.dropout, self.training, self.bidirectional,
                                 self.batch_first)
        if rank == 2:
            return out.squeeze(0 if self.batch_first else 1), self._without_batch(hx)
        return out, hx

    def _forward_packed(self, packed: Any, hx: Any) -> tuple[Any, Any]:
        data, sizes, order, back = packed
        if hx is None:
            hx = self._first_states(data, sizes)
        else:
            hx = self.permute_hidden(hx, order)
        self.check_forward_args(data, hx, sizes)
        out, hx = self._function(data, sizes, hx, self._flat_weights, self.bias, self.num_layers,
                                 self.dropout, self.training, self.bidirectional)
        return type(packed)(out, sizes, order, back), self.permute_hidden(hx, back)

    def extra_repr(self) -> str:
        """The sizes, and what differs from the defaults."""
        parts = [str(self.input_size), str(self.hidden_size)]
        for name, default in (("proj_size", 0), ("num_layers", 1), ("bias", True),
                              ("batch_first", False), ("dropout", 0), ("bidirectional", False)):
            if getattr(self, name) != default:
                parts.append(f"{name}={getattr(self, name)}")
        return ", ".join(parts)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.__dict__.setdefault("proj_size", 0)  # older pickles lack it


def _check_dropout(dropout: Any, layers: int) -> None:
    if isinstance(dropout, bool) or not isinstance(dropout, numbers.Number) or not (
            0 <= dropout <= 1):  # type: ignore[operator]
        raise ValueError("dropout should be a number in range [0, 1] representing the probability "
                         "of an element being zeroed")
    if dropout > 0 and layers == 1:  # type: ignore[operator]
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout "
            "expects num_layers greater than 1, but got "
            f"dropout={dropout} and num_layers={layers}", stacklevel=4)


def _check_settings(m: RNNBase) -> None:
    for name, kind in (("bias", bool), ("batch_first", bool), ("input_size", int),
                       ("hidden_size", int)):
        value = getattr(m, name)
        if not isinstance(value, kind):
            raise TypeError(f"{name} should be of type {kind.__name__}, got: "
                            f"{type(value).__name__}")
        if kind is int and value <= 0:
            raise ValueError(f"{name} must be greater than zero")
    if m.num_layers <= 0:
        raise ValueError("num_layers must be greater than zero")
    if m.proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if m.proj_size >= m.hidden_size:
        raise ValueError("proj_size has to be smaller than hidden_size")
    if m.mode not in _GATES:
        raise ValueError(f"Unrecognized RNN mode: {m.mode}")


def _refuse_projection(kwargs: dict[str, Any]) -> None:
    if "proj_size" in kwargs:
        raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")


class RNN(RNNBase):
    """Layers of ``h' = tanh(w_ih x + b_ih + w_hh h + b_hh)``, or relu (``nonlinearity``).

    ``RNN(input_size, hidden_size, num_layers=1, nonlinearity="tanh", bias=True,
    batch_first=False, dropout=0.0, bidirectional=False, device=None, dtype=None)``

    >>> import flambeau as torch
    >>> rnn = torch.nn.RNN(10, 20, 2)
    >>> out, h = rnn(torch.randn(5, 3, 10), torch.randn(2, 3, 20))
    >>> out.shape, h.shape
    (torch.Size([5, 3, 20]), torch.Size([2, 3, 20]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse_projection(kwargs)
        if len(args) > 3:
            nonlinearity, args = args[3], args[:3] + args[4:]
        else:
            nonlinearity = kwargs.pop("nonlinearity", "tanh")
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or "
                             "'relu'.")
        super().__init__(f"RNN_{nonlinearity.upper()}", *args, **kwargs)
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Layers of long short-term memory (Hochreiter and Schmidhuber, 1997).

    ``LSTM(input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
    bidirectional=False, proj_size=0, device=None, dtype=None)``. States are pairs (h, c); with
    ``proj_size`` h is projected to that size (arXiv:1402.1128).

    >>> import flambeau as torch
    >>> out, (h, c) = torch.nn.LSTM(10, 20, 2)(torch.randn(5, 3, 10))
    >>> out.shape, h.shape, c.shape
    (torch.Size([5, 3, 20]), torch.Size([2, 3, 20]), torch.Size([2, 3, 20]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)

    def get_expected_cell_size(self, input: Tensor,
                               batch_sizes: Tensor | None) -> tuple[int, int, int]:
        """The shape of c: (layers * directions, N, hidden_size)."""
        return (self.num_layers * self._directions, self._batch(input, batch_sizes),
                self.hidden_size)

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        """Raise where the input or the states do not fit."""
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden[0], self.get_expected_hidden_size(input, batch_sizes),
                               "Expected hidden[0] size {}, got {}")
        self.check_hidden_size(hidden[1], self.get_expected_cell_size(input, batch_sizes),
                               "Expected hidden[1] size {}, got {}")

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """The states of the sequences in another order."""
        if permutation is None:
            return hx
        return _apply_permutation(hx[0], permutation), _apply_permutation(hx[1], permutation)

    def _first_states(self, input: Tensor, batch_sizes: Tensor | None) -> Any:
        return (super()._first_states(input, batch_sizes),
                torch["zeros"](self.get_expected_cell_size(input, batch_sizes),
                               dtype=input.dtype))

    def _ranks(self, hx: Sequence[Tensor], rank: int, kind: str) -> None:
        if hx[0].dim() != rank or hx[1].dim() != rank:
            raise RuntimeError(f"For {kind} {rank}-D input, hx and cx should also be {rank}-D but "
                               f"got ({hx[0].dim()}-D, {hx[1].dim()}-D) tensors")

    def _lonely(self, hx: Any) -> Any:
        self._ranks(hx, 2, "unbatched")
        return hx[0].unsqueeze(1), hx[1].unsqueeze(1)

    def _check_rank(self, hx: Any) -> None:
        self._ranks(hx, 3, "batched")

    def _without_batch(self, hx: Any) -> Any:
        return hx[0].squeeze(1), hx[1].squeeze(1)

    def _function(self, *args: Any) -> Any:
        out, h, c = torch["lstm"](*args)
        return out, (h, c)


class GRU(RNNBase):
    """Layers of gated recurrent units (arXiv:1406.1078).

    ``GRU(input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
    bidirectional=False, device=None, dtype=None)``

    >>> import flambeau as torch
    >>> out, h = torch.nn.GRU(10, 20, bidirectional=True)(torch.randn(5, 3, 10))
    >>> out.shape, h.shape
    (torch.Size([5, 3, 40]), torch.Size([2, 3, 20]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse_projection(kwargs)
        super().__init__("GRU", *args, **kwargs)
