"""What distributions share: parameters as tensors, chances and logits, values computed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.base.dtypes import get_default_dtype
from flambeau.base.limits import finfo
from flambeau.core.face import FACES
from flambeau.core.modes import MODES
from flambeau.core.tensor import Tensor

__all__ = ["broadcast_all", "clamp_probs", "lazy_property", "logits_to_probs", "probs_to_logits",
           "tril_matrix_to_vec", "vec_to_tril_matrix"]

euler_constant = 0.57721566490153286060


Numbers = (bool, int, float)


class _Functions:
    """The functions of a module of PyTorch's, by name."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        try:
            return FACES[self._module][name]
        except KeyError:
            raise AttributeError(name) from None


torch = _Functions("torch")
linalg = _Functions("linalg")
functional = _Functions("nn.functional")


def broadcast_all(*values: Any) -> list[Tensor]:
    """Tensors and numbers as tensors of one shape; numbers get the dtype of a tensor beside them.

    >>> import flambeau as torch
    >>> [t.shape for t in broadcast_all(1.0, torch.ones(2))]
    [torch.Size([2]), torch.Size([2])]
    """
    first = values[0]
    if isinstance(first, Tensor) and all([isinstance(v, Tensor) and v._a.shape == first._a.shape
                                          for v in values]):
        return list(values)
    if not all(isinstance(v, (Tensor, *Numbers)) for v in values):
        raise ValueError("Input arguments must all be instances of Number, torch.Tensor or objects "
                         "implementing __torch_function__.")
    like = next((v for v in values if isinstance(v, Tensor)), None)
    held = get_default_dtype() if like is None else like.dtype
    tensors = [v if isinstance(v, Tensor) else torch.tensor(v, dtype=held) for v in values]
    return list(torch.broadcast_tensors(*tensors))


def _standard_normal(shape: Any, dtype: Any, device: Any = None) -> Tensor:
    """Draws of mean 0 and deviation 1."""
    return torch.empty(shape, dtype=dtype, device=device).normal_()


def _sum_rightmost(value: Tensor, dim: int) -> Tensor:
    """The sum over the last ``dim`` dimensions."""
    return value.reshape((*value.shape[:-dim], -1)).sum(-1) if dim else value


def clamp_probs(probs: Tensor) -> Tensor:
    """Chances kept away from 0 and 1 by the dtype's smallest step."""
    eps = finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """Log odds, or where not ``is_binary`` log chances up to a constant, as chances."""
    return logits.sigmoid() if is_binary else logits.softmax(-1)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """The inverse of ``logits_to_probs``."""
    kept = clamp_probs(probs)
    return kept.log() - (-kept).log1p() if is_binary else kept.log()


class lazy_property:
    """A property that is computed when it is first read, and then an attribute."""

    def __init__(self, wrapped: Callable[[Any], Any]) -> None:
        self.wrapped = wrapped
        self.__doc__ = wrapped.__doc__
        self.__name__ = wrapped.__name__

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        before, MODES.grad = MODES.grad, True
        try:
            value = self.wrapped(instance)
        finally:
            MODES.grad = before
        setattr(instance, self.__name__, value)
        return value


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """The entries of matrices on and below the diagonal ``diag``, row by row: (..., m)."""
    n = mat.shape[-1]
    if diag < -n or diag >= n:
        raise ValueError(f"diag ({diag}) provided is outside [{-n}, {n - 1}].")
    return mat[..., _below(n, diag)]


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """The inverse of ``tril_matrix_to_vec``; zeros above the diagonal."""
    count = vec.shape[-1]
    root = (8 * count + (1 + 2 * diag) ** 2 + 4 * abs(diag) * (diag + 1)) ** 0.5
    n = (-(1 + 2 * diag) + root) / 2
    if round(n) - n > finfo(vec.dtype).eps:
        raise ValueError(f"The size of last dimension is {count} which cannot be expressed as the "
                         "lower triangular part of a square D x D matrix.")
    size = round(n)
    mat = vec.new_zeros((*vec.shape[:-1], size, size))
    mat[..., _below(size, diag)] = vec
    return mat


def _below(n: int, diag: int) -> Tensor:
    step = torch.arange(n)
    return step < step.view(-1, 1) + (diag + 1)
