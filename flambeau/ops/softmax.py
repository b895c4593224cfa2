"""softmax, log_softmax and softmin."""

from __future__ import annotations

import warnings

import numpy as np

from flambeau.backends import row_kernels
from flambeau.backends.replay import replayed
from flambeau.base.dtypes import dtype
from flambeau.base.errors import warn_user
from flambeau.base.shapes import wrap_dim
from flambeau.core.dispatch import apply
from flambeau.core.face import public, show, with_out
from flambeau.core.kinds import composite
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor
from flambeau.ops.activation import FUNCTIONAL, quick, require_float, require_tensor
from flambeau.ops.copy import cast

__all__ = ["log_softmax", "softmax", "softmin"]

ndarray = np.ndarray
LARGE = row_kernels.MIN_ITEMS
F32 = np.dtype(np.float32)


def _shifted(x: ndarray, dim: int) -> ndarray:
    return x - np.maximum.reduce(x, axis=dim, keepdims=True) if x.size else x.copy()


def _softmax_forward(x: ndarray, dim: int) -> ndarray:
    if not x.ndim:
        return _softmax_forward(x.reshape(1), 0).reshape(())
    if x.size >= LARGE and (found := row_kernels.softmax(x, dim)) is not None:
        return found
    return _small_softmax(x, dim)


@replayed
def _small_softmax(x: ndarray, dim: int) -> ndarray:
    e = _shifted(x, dim)
    np.exp(e, out=e)
    e /= np.add.reduce(e, axis=dim, keepdims=True)
    return e


def _log_softmax_forward(x: ndarray, dim: int) -> ndarray:
    if not x.ndim:
        return _log_softmax_forward(x.reshape(1), 0).reshape(())
    if x.size >= LARGE and (found := row_kernels.log_softmax(x, dim)) is not None:
        return found
    return _small_log_softmax(x, dim)


@replayed
def _small_log_softmax(x: ndarray, dim: int) -> ndarray:
    z = _shifted(x, dim)
    total = np.add.reduce(np.exp(z), axis=dim, keepdims=True)
    z -= np.log(total, out=total)
    return z


def _peak(input: Tensor, dim: int) -> Tensor:
    return input.detach().amax(dim, keepdim=True)


def _softmax_compose(input: Tensor, dim: int) -> Tensor:
    e = (input - _peak(input, dim)).exp()
    return e / e.sum(dim, keepdim=True)


def _log_softmax_compose(input: Tensor, dim: int) -> Tensor:
    z = input - _peak(input, dim)
    return z - z.exp().sum(dim, keepdim=True).log()


def _softmax_slope(g: ndarray, out: ndarray, dim: int) -> ndarray:
    if not g.ndim:
        return np.zeros_like(g)
    if g.size >= LARGE and (found := row_kernels.softmax_backward(g, out, dim)) is not None:
        return found
    return _small_softmax_slope(g, out, dim=dim)


@replayed
def _small_softmax_slope(g: ndarray, out: ndarray, dim: int) -> ndarray:
    r = g * out
    r -= out * np.add.reduce(r, axis=dim, keepdims=True)
    return r


def _log_softmax_slope(g: ndarray, out: ndarray, dim: int) -> ndarray:
    if not g.ndim:
        return np.zeros_like(g)
    if g.size >= LARGE and (found := row_kernels.log_softmax_backward(g, out, dim)) is not None:
        return found
    return _small_log_softmax_slope(g, out, dim=dim)


@replayed
def _small_log_softmax_slope(g: ndarray, out: ndarray, dim: int) -> ndarray:
    r = np.exp(out)
    r *= np.add.reduce(g, axis=dim, keepdims=True)
    return np.subtract(g, r, out=r)


def _softmax_slope_of_tensors(grad: Tensor, result: Tensor, dim: int) -> Tensor:
    weighted = grad * result
    return weighted - result * weighted.sum(dim, keepdim=True)


def _log_softmax_slope_of_tensors(grad: Tensor, result: Tensor, dim: int) -> Tensor:
    return grad - result.exp() * grad.sum(dim, keepdim=True)


SOFTMAX_BACKWARD = composite("softmax_backward", _softmax_slope_of_tensors, _softmax_slope,
                             inputs=("grad", "result"), params=("dim",), node="SoftmaxBackward")
LOG_SOFTMAX_BACKWARD = composite(
    "log_softmax_backward", _log_softmax_slope_of_tensors, _log_softmax_slope,
    inputs=("grad", "result"), params=("dim",), node="LogSoftmaxBackward")
SOFTMAX = composite(
    "softmax", _softmax_compose, _softmax_forward, inputs=("input",), params=("dim",),
    grads=(lambda g, out, dim: quick(SOFTMAX_BACKWARD, g, out, dim=dim),))
LOG_SOFTMAX = composite(
    "log_softmax", _log_softmax_compose, _log_softmax_forward, inputs=("input",), params=("dim",),
    grads=(lambda g, out, dim: quick(LOG_SOFTMAX_BACKWARD, g, out, dim=dim),))
SOFTMAX.in_rows = LOG_SOFTMAX.in_rows = True


def _along(op: Op, name: str, input: Tensor, dim: int, dtype: dtype | None) -> Tensor:
    a = require_tensor(name, input)
    if dtype is not None:
        input = cast(input, dtype)
    if a.dtype is not F32 or dtype is not None:
        require_float(name, f"{name}_kernel_impl", input)
    return apply(op, (input,), {"dim": wrap_dim(dim, a.ndim)})


def softmax(input: Tensor, dim: int, dtype: dtype | None = None) -> Tensor:
    """``exp(x) / sum(exp(x))`` along ``dim``, computed in ``dtype`` where given.

    >>> import flambeau as torch
    >>> torch.softmax(torch.zeros(4), 0)
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    return _along(SOFTMAX, "softmax", input, dim, dtype)


def log_softmax(input: Tensor, dim: int, dtype: dtype | None = None) -> Tensor:
    """The logarithm of softmax, without overflow or loss of digits."""
    return _along(LOG_SOFTMAX, "log_softmax", input, dim, dtype)


for _function in (softmax, log_softmax):
    _name = _function.__name__
    show(_function, _name, "Tensor")
    show(with_out(_function), _name, "torch", "special")


def _implicit_dim(name: str, rank: int) -> int:
    warn_user(f"Implicit dimension choice for {name} has been deprecated. Change the call to "
              "include dim=X as an argument.")
    return 0 if rank in (0, 1, 3) else 1


@public(FUNCTIONAL, name="softmax")
def _softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3,
             dtype: dtype | None = None) -> Tensor:
    """``exp(x) / sum(exp(x))`` along ``dim``, computed in ``dtype`` where given."""
    if dim is None:
        dim = _implicit_dim("softmax", input.dim())
    return softmax(input, dim, dtype)


@public(FUNCTIONAL, name="log_softmax")
def _log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3,
                 dtype: dtype | None = None) -> Tensor:
    """The logarithm of softmax, without overflow or loss of digits."""
    if dim is None:
        dim = _implicit_dim("log_softmax", input.dim())
    return log_softmax(input, dim, dtype)


@public(FUNCTIONAL)
def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3,
            dtype: dtype | None = None) -> Tensor:
    """softmax of ``-input``."""
    if dim is None:
        dim = _implicit_dim("softmin", input.dim())
    return softmax(-input, dim, dtype)


@public(FUNCTIONAL)
def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10,
                   dim: int = -1) -> Tensor:
    """A sample of the Gumbel-Softmax distribution (arXiv:1611.01144); one-hot where ``hard``.

    A hard sample has the gradient of the soft one.
    """
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    gumbels = -logits.detach().clone().exponential_().log()
    soft = softmax((logits + gumbels) / tau, dim)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    chosen = soft.new_zeros(soft.shape).scatter(dim, index, 1.0)
    return chosen - soft.detach() + soft
