"""Recurrent cells: one step at a time."""

from __future__ import annotations

import math
from typing import Any

from flambeau.core.face import FACES
from flambeau.core.tensor import Tensor
from flambeau.nn import init
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter

__all__ = ["GRUCell", "LSTMCell", "RNNCell", "RNNCellBase"]

torch = FACES["torch"]


class RNNCellBase(Module):
    """What cells share: weights of ``num_chunks`` gates, uniform within 1 / sqrt(hidden_size).

    >>> import flambeau as torch
    >>> torch.nn.RNNCellBase(10, 20, bias=False, num_chunks=4).weight_ih.shape
    torch.Size([80, 10])
    """

    __constants__ = ["input_size", "hidden_size", "bias"]
    input_size: int
    hidden_size: int
    bias: bool
    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None
    bias_hh: Tensor | None

    def __init__(self, input_size: int, hidden_size: int, bias: bool, num_chunks: int,
                 device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        height = num_chunks * hidden_size

        def made(*shape: int) -> Parameter:
            return Parameter(torch["empty"](shape, device=device, dtype=dtype))

        self.weight_ih = made(height, input_size)
        self.weight_hh = made(height, hidden_size)
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, made(height) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self) -> str:
        """The sizes, and what differs from the defaults."""
        parts = [str(self.input_size), str(self.hidden_size)]
        for name, default in (("bias", True), ("nonlinearity", "tanh")):
            if self.__dict__.get(name, default) != default:
                parts.append(f"{name}={self.__dict__[name]}")
        return ", ".join(parts)

    def _check_rank(self, value: Tensor, what: str) -> None:
        if value.dim() not in (1, 2):
            raise ValueError(f"{type(self).__name__}: Expected {what} to be 1D or 2D, got "
                             f"{value.dim()}D instead")

    def _step(self, input: Tensor, hx: Tensor) -> Tensor:
        raise NotImplementedError

    def _forward(self, input: Tensor, hx: Tensor | None) -> Tensor:
        """One step of a cell with one state."""
        self._check_rank(input, "input")
        if hx is not None:
            self._check_rank(hx, "hidden")
        alone = input.dim() == 1
        if alone:
            input = input.unsqueeze(0)
            hx = None if hx is None else hx.unsqueeze(0)
        if hx is None:
            hx = torch["zeros"](input.size(0), self.hidden_size, dtype=input.dtype)
        found = self._step(input, hx)
        return found.squeeze(0) if alone else found


class RNNCell(RNNCellBase):
    """One step of ``h' = tanh(w_ih x + b_ih + w_hh h + b_hh)``, or relu (``nonlinearity``).

    >>> import flambeau as torch
    >>> torch.nn.RNNCell(10, 20)(torch.randn(3, 10), torch.randn(3, 20)).shape
    torch.Size([3, 20])
    """

    __constants__ = ["input_size", "hidden_size", "bias", "nonlinearity"]
    nonlinearity: str

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True,
                 nonlinearity: str = "tanh", device: Any = None, dtype: Any = None) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state (N, hidden_size), for (N, input_size) and a state, zeros where None."""
        return self._forward(input, hx)

    def _step(self, input: Tensor, hx: Tensor) -> Tensor:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return torch[f"rnn_{self.nonlinearity}_cell"](
            input, hx, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)


class LSTMCell(RNNCellBase):
    """One step of long short-term memory, from (h, c) to the next pair.

    >>> import flambeau as torch
    >>> h, c = torch.nn.LSTMCell(10, 20)(torch.randn(3, 10))
    >>> h.shape, c.shape
    (torch.Size([3, 20]), torch.Size([3, 20]))
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor,
                hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The next (h, c), each (N, hidden_size); zeros are where it starts from None."""
        self._check_rank(input, "input")
        for at, state in enumerate(hx or ()):
            self._check_rank(state, f"hx[{at}]")
        alone = input.dim() == 1
        if alone:
            input = input.unsqueeze(0)
        if hx is None:
            zeros = torch["zeros"](input.size(0), self.hidden_size, dtype=input.dtype)
            hx = (zeros, zeros)
        elif alone:
            hx = (hx[0].unsqueeze(0), hx[1].unsqueeze(0))
        h, c = torch["lstm_cell"](input, hx, self.weight_ih, self.weight_hh, self.bias_ih,
                                  self.bias_hh)
        return (h.squeeze(0), c.squeeze(0)) if alone else (h, c)


class GRUCell(RNNCellBase):
    """One step of a gated recurrent unit.

    >>> import flambeau as torch
    >>> torch.nn.GRUCell(10, 20)(torch.randn(3, 10), torch.randn(3, 20)).shape
    torch.Size([3, 20])
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state (N, hidden_size), for (N, input_size) and a state, zeros where None."""
        return self._forward(input, hx)

    def _step(self, input: Tensor, hx: Tensor) -> Tensor:
        return torch["gru_cell"](input, hx, self.weight_ih, self.weight_hh, self.bias_ih,
                                 self.bias_hh)
