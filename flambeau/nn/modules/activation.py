"""Activation functions as modules."""

from __future__ import annotations

import warnings
from typing import Any

from flambeau.core.face import FACES
from flambeau.core.tensor import Tensor
from flambeau.nn import functional as F
from flambeau.nn import init as initialise
from flambeau.nn.modules.attention import MultiheadAttention
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.softmax import LogSoftmax, Softmax, Softmax2d, Softmin
from flambeau.nn.parameter import Parameter

__all__ = ["CELU", "ELU", "GELU", "GLU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh",
           "LeakyReLU", "LogSigmoid", "LogSoftmax", "Mish", "MultiheadAttention", "PReLU",
           "RReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softmax", "Softmax2d", "Softmin",
           "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink", "Threshold"]


class _InPlace(Module):
    """An activation whose one setting is whether it overwrites its input."""

    __constants__ = ["inplace"]
    inplace: bool

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        """``inplace=True``, where it is so."""
        return "inplace=True" if self.inplace else ""


def _and_inplace(module: Any, text: str) -> str:
    return text + ", inplace=True" if module.inplace else text


class Threshold(Module):
    """Elements that are not above ``threshold`` become ``value``.

    >>> import flambeau as torch
    >>> torch.nn.Threshold(0.1, 20)(torch.tensor([0.0, 0.2]))
    tensor([20.0000,  0.2000])
    """

    __constants__ = ["threshold", "value", "inplace"]
    threshold: float
    value: float
    inplace: bool

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``, any shape."""
        return F.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self) -> str:
        """The settings."""
        return _and_inplace(self, f"threshold={self.threshold}, value={self.value}")


class ReLU(_InPlace):
    """``max(0, x)`` elementwise, for any shape.

    >>> import flambeau as torch
    >>> torch.nn.ReLU()(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``, any shape."""
        return F.relu(input, inplace=self.inplace)


class RReLU(Module):
    """Negative elements times a slope, in training drawn from [lower, upper), else their mean.

    >>> import flambeau as torch
    >>> torch.nn.RReLU(0.1, 0.3).eval()(torch.tensor([-1.0, 2.0]))
    tensor([-0.2000,  2.0000])
    """

    __constants__ = ["lower", "upper", "inplace"]
    lower: float
    upper: float
    inplace: bool

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3,
                 inplace: bool = False) -> None:
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``, any shape."""
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        """The settings."""
        return _and_inplace(self, f"lower={self.lower}, upper={self.upper}")


class Hardtanh(Module):
    """Elements clipped to [min_val, max_val].

    >>> import flambeau as torch
    >>> torch.nn.Hardtanh(-2, 2)(torch.tensor([-3.0, 1.0]))
    tensor([-2.,  1.])
    """

    __constants__ = ["min_val", "max_val", "inplace"]
    min_val: float
    max_val: float
    inplace: bool

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False,
                 min_value: float | None = None, max_value: float | None = None) -> None:
        super().__init__()
        if min_value is not None:
            _warn_renamed("min_value", "min_val")
            min_val = min_value
        if max_value is not None:
            _warn_renamed("max_value", "max_val")
            max_val = max_value
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace
        if max_val <= min_val:
            raise AssertionError(f"max_val ({max_val}) must be greater than min_val ({min_val})")

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``, any shape."""
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        """The settings."""
        return _and_inplace(self, f"min_val={self.min_val}, max_val={self.max_val}")


def _warn_renamed(old: str, new: str) -> None:
    warnings.warn(f"keyword argument `{old}` is deprecated and renamed to `{new}`", FutureWarning,
                  stacklevel=3)


class ReLU6(Hardtanh):
    """Elements clipped to [0, 6].

    >>> import flambeau as torch
    >>> torch.nn.ReLU6()(torch.tensor([-1.0, 8.0]))
    tensor([0., 6.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self) -> str:
        """``inplace=True``, where it is so."""
        return "inplace=True" if self.inplace else ""


class Sigmoid(Module):
    """``1 / (1 + exp(-x))`` elementwise.

    >>> import flambeau as torch
    >>> torch.nn.Sigmoid()(torch.zeros(1))
    tensor([0.5000])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``, any shape."""
        return FACES["torch"]["sigmoid"](input)


class Hardsigmoid(_InPlace):
    """``relu6(x + 3) / 6`` elementwise.

    >>> import flambeau as torch
    >>> torch.nn.Hardsigmoid()(torch.tensor([-4.0, 0.0]))
    tensor([0.0000, 0.5000])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``, any shape."""
        return F.hardsigmoid(input, self.inplace)

    def extra_repr(self) -> str:
        """Nothing, as in PyTorch."""
        return ""


class Tanh(Module):
    """The hyperbolic tangent elementwise.

    >>> import flambeau as torch
    >>> torch.nn.Tanh()(torch.ones(1))
    tensor([0.7616])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``, any shape."""
        return FACES["torch"]["tanh"](input)


class SiLU(_InPlace):
    """``x * sigmoid(x)`` elementwise.

    >>> import flambeau as torch
    >>> torch.nn.SiLU()(torch.ones(1))
    tensor([0.7311])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``, any shape."""
        return F.silu(input, inplace=self.inplace)


class Mish(_InPlace):
    """``x * tanh(softplus(x))`` elementwise (arXiv:1908.08681).

    >>> import flambeau as torch
    >>> torch.nn.Mish()(torch.ones(1))
    tensor([0.8651])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``, any shape."""
        return F.mish(input, inplace=self.inplace)


class Hardswish(_InPlace):
    """``x * relu6(x + 3) / 6`` elementwise (arXiv:1905.02244).

    >>> import flambeau as torch
    >>> torch.nn.Hardswish()(torch.tensor([-4.0, 3.0]))
    tensor([-0.,  3.])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``, any shape."""
        return F.hardswish(input, self.inplace)

    def extra_repr(self) -> str:
        """Nothing, as in PyTorch."""
        return ""


class _Alpha(Module):
    """An activation with a scale ``alpha``."""

    __constants__ = ["alpha", "inplace"]
    alpha: float
    inplace: bool

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def extra_repr(self) -> str:
        """The settings."""
        return _and_inplace(self, f"alpha={self.alpha}")


class ELU(_Alpha):
    """x, or ``alpha * (exp(x) - 1)`` where x is negative (arXiv:1511.07289).

    >>> import flambeau as torch
    >>> torch.nn.ELU()(torch.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``, any shape."""
        return F.elu(input, self.alpha, self.inplace)


class CELU(_Alpha):
    """x, or ``alpha * (exp(x / alpha) - 1)`` where x is negative (arXiv:1704.07483).

    >>> import flambeau as torch
    >>> torch.nn.CELU(2.0)(torch.tensor([-1.0, 2.0]))
    tensor([-0.7869,  2.0000])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``, any shape."""
        return F.celu(input, self.alpha, self.inplace)


class SELU(_InPlace):
    """``scale * elu(x, alpha)`` with the two constants of arXiv:1706.02515.

    >>> import flambeau as torch
    >>> torch.nn.SELU()(torch.ones(1))
    tensor([1.0507])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``, any shape."""
        return F.selu(input, self.inplace)


class GLU(Module):
    """The first half of dimension ``dim`` times the sigmoid of the second (arXiv:1612.08083).

    >>> import flambeau as torch
    >>> torch.nn.GLU()(torch.zeros(4, 2)).shape
    torch.Size([4, 1])
    """

    __constants__ = ["dim"]
    dim: int

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``, whose dimension ``dim`` has an even size."""
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        """The dimension."""
        return f"dim={self.dim}"


class GELU(Module):
    """``x`` times the normal distribution function at x; ``approximate`` is "none" or "tanh".

    >>> import flambeau as torch
    >>> torch.nn.GELU()(torch.ones(1))
    tensor([0.8413])
    """

    __constants__ = ["approximate"]
    approximate: str

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``, any shape."""
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self) -> str:
        """Which formula is used."""
        return f"approximate={self.approximate!r}"


class _Lambda(Module):
    """An activation with a bound ``lambd``."""

    __constants__ = ["lambd"]
    lambd: float

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def extra_repr(self) -> str:
        """The bound."""
        return f"{self.lambd}"


class Hardshrink(_Lambda):
    """Elements within ``lambd`` of zero become zero.

    >>> import flambeau as torch
    >>> torch.nn.Hardshrink()(torch.tensor([0.3, 1.0]))
    tensor([0., 1.])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``, any shape."""
        return F.hardshrink(input, self.lambd)


class Softshrink(_Lambda):
    """Elements move towards zero by ``lambd``, and no further than zero.

    >>> import flambeau as torch
    >>> torch.nn.Softshrink()(torch.tensor([0.3, 1.0]))
    tensor([0.0000, 0.5000])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``, any shape."""
        return F.softshrink(input, self.lambd)


class LeakyReLU(Module):
    """x, or ``negative_slope * x`` where x is negative.

    >>> import flambeau as torch
    >>> torch.nn.LeakyReLU(0.1)(torch.tensor([-1.0, 2.0]))
    tensor([-0.1000,  2.0000])
    """

    __constants__ = ["inplace", "negative_slope"]
    inplace: bool
    negative_slope: float

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``, any shape."""
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        """The settings."""
        return _and_inplace(self, f"negative_slope={self.negative_slope}")


class LogSigmoid(Module):
    """``log(sigmoid(x))`` elementwise.

    >>> import flambeau as torch
    >>> torch.nn.LogSigmoid()(torch.zeros(1))
    tensor([-0.6931])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``, any shape."""
        return F.logsigmoid(input)


class Softplus(Module):
    """``log(1 + exp(beta * x)) / beta``; x itself where ``beta * x`` is above ``threshold``.

    >>> import flambeau as torch
    >>> torch.nn.Softplus()(torch.zeros(1))
    tensor([0.6931])
    """

    __constants__ = ["beta", "threshold"]
    beta: float
    threshold: float

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``, any shape."""
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        """The settings."""
        return f"beta={self.beta}, threshold={self.threshold}"


class PReLU(Module):
    """x, or ``weight * x`` where x is negative; the slopes are learned (arXiv:1502.01852).

    ``num_parameters`` is 1, or the number of channels, which are dimension 1 of the input.

    >>> import flambeau as torch
    >>> torch.nn.PReLU()(torch.tensor([-1.0, 2.0])).detach()
    tensor([-0.2500,  2.0000])
    """

    __constants__ = ["num_parameters"]
    num_parameters: int

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(FACES["torch"]["empty"](num_parameters, device=device,
                                                        dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set every slope to ``init``."""
        initialise.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``, any shape or (N, num_parameters, ...)."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        """How many slopes there are."""
        return f"num_parameters={self.num_parameters}"


class Softsign(Module):
    """``x / (1 + |x|)`` elementwise.

    >>> import flambeau as torch
    >>> torch.nn.Softsign()(torch.ones(1))
    tensor([0.5000])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``, any shape."""
        return F.softsign(input)


class Tanhshrink(Module):
    """``x - tanh(x)`` elementwise.

    >>> import flambeau as torch
    >>> torch.nn.Tanhshrink()(torch.ones(1))
    tensor([0.2384])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``, any shape."""
        return F.tanhshrink(input)
