"""Clipping gradients by their common norm, or each element by itself."""

from __future__ import annotations

import types
import warnings
from collections.abc import Iterable
from typing import Any

from flambeau.autograd.modes import no_grad
from flambeau.core.face import FACES
from flambeau.core.tensor import Tensor

__all__ = ["clip_grad_norm", "clip_grad_norm_", "clip_grad_value_"]

torch, linalg = FACES["torch"], FACES["linalg"]
EMPTY = "`parameters` is an empty generator, no gradient clipping will occur."


def _listed(tensors: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _grads(parameters: Iterable[Tensor]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]


@no_grad()
def _get_total_norm(tensors: Any, norm_type: float = 2.0, error_if_nonfinite: bool = False,
                    foreach: bool | None = None) -> Tensor:
    """The norm of all elements of ``tensors`` together, as a tensor.

    ``norm_type`` may be inf. RuntimeError for a norm that is not finite, if so asked; ``foreach``
    changes nothing.
    """
    tensors, norm_type = _listed(tensors), float(norm_type)
    if not tensors:
        return torch["tensor"](0.0)
    norms = [linalg["vector_norm"](t, norm_type) for t in tensors]
    total = linalg["vector_norm"](torch["stack"](norms), norm_type)
    if error_if_nonfinite and not bool(total.isfinite()):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, "
            "so it cannot be clipped. To disable this error and scale the gradients by the "
            "non-finite norm anyway, set `error_if_nonfinite=False`")
    return total


@no_grad()
def _clip_grads_with_norm_(parameters: Any, max_norm: float, total_norm: Tensor,
                           foreach: bool | None = None) -> None:
    """Scale the gradients of ``parameters``, whose norm is ``total_norm``, to at most ``max_norm``.

    In place; gradients within the norm stay.
    """
    grads = _grads(_listed(parameters))
    if not grads:
        return
    share = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
    for g in grads:
        g.mul_(share)


@no_grad()
def clip_grad_norm_(parameters: Any, max_norm: float, norm_type: float = 2.0,
                    error_if_nonfinite: bool = False, foreach: bool | None = None) -> Tensor:
    """Scale the gradients of ``parameters`` in place so that their common norm is ``max_norm``.

    Smaller ones stay. Returns the norm that they had.

    >>> import flambeau as torch
    >>> x = torch.zeros(2, requires_grad=True)
    >>> (x * torch.tensor([3.0, 4.0])).sum().backward()
    >>> clip_grad_norm_(x, 1.0), x.grad
    (tensor(5.), tensor([0.6000, 0.8000]))
    """
    generator = isinstance(parameters, types.GeneratorType)
    parameters = _listed(parameters)
    if generator and not parameters:
        warnings.warn(EMPTY, stacklevel=3)
    total = _get_total_norm(_grads(parameters), norm_type, error_if_nonfinite, foreach)
    _clip_grads_with_norm_(parameters, max_norm, total, foreach)
    return total


def clip_grad_norm(parameters: Any, max_norm: float, norm_type: float = 2.0,
                   error_if_nonfinite: bool = False, foreach: bool | None = None) -> Tensor:
    """The old name of ``clip_grad_norm_``."""
    warnings.warn("`torch.nn.utils.clip_grad_norm` is now deprecated in favor of "
                  "`torch.nn.utils.clip_grad_norm_`.", FutureWarning, stacklevel=2)
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


@no_grad()
def clip_grad_value_(parameters: Any, clip_value: float, foreach: bool | None = None) -> None:
    """Clamp every element of the gradients in place to [-clip_value, clip_value]."""
    clip_value = float(clip_value)
    for g in _grads(_listed(parameters)):
        g.clamp_(min=-clip_value, max=clip_value)
