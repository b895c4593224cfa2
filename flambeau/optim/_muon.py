"""Muon: momentum made orthogonal (Jordan and others, 2024; Liu and others, arXiv 2502.16982)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flambeau.autograd.modes import no_grad
from flambeau.core.tensor import Tensor
from flambeau.ops.create import full_like
from flambeau.ops.matmul import matmul
from flambeau.ops.product import addmm
from flambeau.optim.optimizer import Optimizer, ParamsT
from flambeau.optim.stepping import check_learning_rate, evaluate, gather, number_of

__all__ = ["Muon", "muon"]

# of the quintic iteration: chosen for the steepest slope at zero
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon(Optimizer):
    """Muon, for the matrices of hidden layers; other parameters are another optimizer's.

    The momentum keeps ``momentum`` of itself; ``ns_steps`` Newton-Schulz iterations in bfloat16,
    with ``ns_coefficients``, bring all its singular values near 1. ``adjust_lr_fn`` scales the
    rate for matrices (A, B): "original" (also None) by sqrt(max(1, A / B)), "match_rms_adamw" by
    0.2 sqrt(max(A, B)). Weights decay apart from the gradient. Raises ValueError for options out
    of range and parameters that are no matrices.

    >>> import flambeau as torch
    >>> w = torch.nn.Parameter(torch.eye(2))
    >>> optimizer = torch.optim.Muon([w], lr=0.5, weight_decay=0)
    >>> w.grad = torch.eye(2)
    >>> optimizer.step()
    >>> w.diag() < 0.7
    tensor([True, True])
    """

    def __init__(self, params: ParamsT, lr: float = 1e-3, weight_decay: float = 0.1,
                 momentum: float = 0.95, nesterov: bool = True,
                 ns_coefficients: tuple[float, float, float] = COEFFICIENTS, eps: float = 1e-7,
                 ns_steps: int = 5, adjust_lr_fn: str | None = None) -> None:
        check_learning_rate(lr, "Learning rate should be >= 0 but is: {}")
        if not 0.0 <= momentum:
            raise ValueError(f"momentum should be >= 0 but is: {momentum}")
        if not 0.0 <= weight_decay:
            raise ValueError(f"weight decay should be >= 0 but is: {weight_decay}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        super().__init__(params, {
            "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
            "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn})
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError("Muon only supports 2D parameters whereas we found a "
                                     f"parameter with size: {p.shape}")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the parameters once; returns what ``closure``, which computes the loss, gave."""
        loss = evaluate(closure)
        for group in self.param_groups:
            if any(p.dtype.is_complex and p.grad is not None for p in group["params"]):
                raise RuntimeError("Muon does not support complex parameters")
            columns = gather(self, group, ("momentum_buffer",), _begin,
                             "Muon does not support sparse gradients")
            options = {k: v for k, v in group.items() if k in self.defaults}
            muon(*columns, has_complex=False, **options)
        return loss


def _begin(p: Tensor, state: dict, group: Mapping[str, Any]) -> None:
    state["momentum_buffer"] = full_like(p.grad, 0)  # type: ignore[arg-type]


@no_grad()
def muon(params: list[Tensor], grads: list[Tensor], muon_momentum_bufs: list[Tensor], *,
         foreach: bool | None = None, lr: float, weight_decay: float, momentum: float,
         nesterov: bool, ns_coefficients: tuple[float, float, float], ns_steps: int, eps: float,
         adjust_lr_fn: str | None, has_complex: bool) -> None:
    """One step of Muon on lists of matrices, in place; see ``torch.optim.Muon``."""
    if foreach:
        raise RuntimeError("Foreach is not supported for Muon yet")
    if has_complex:
        raise ValueError("Complex parameters are not supported")
    _check_iteration(grads, ns_coefficients, ns_steps)
    rate = number_of(lr)
    for param, grad, held in zip(params, grads, muon_momentum_bufs):
        held.lerp_(grad, 1 - momentum)
        way = grad.lerp(held, momentum) if nesterov else held
        way = _orthogonal(way, ns_coefficients, ns_steps, eps)
        param.mul_(float(1 - rate * weight_decay))
        param.add_(way, alpha=-float(rate * _scale(adjust_lr_fn, param.shape)))


def _check_iteration(grads: Sequence[Tensor], coefficients: Sequence[float], steps: int) -> None:
    if not grads:
        return
    if any(g.ndim != 2 for g in grads):
        raise ValueError("Param gradient must be a 2D matrix")
    if steps >= 100:
        raise ValueError("Number of steps must be less than 100 for computational efficiency")
    if len(coefficients) != 3:
        raise ValueError("Coefficients must be a tuple of exactly 3 values")


def _orthogonal(matrix: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
                ) -> Tensor:
    """Newton-Schulz: a matrix with the singular vectors of ``matrix``, its values all near 1."""
    a, b, c = coefficients
    x = matrix.bfloat16()
    tall = matrix.shape[0] > matrix.shape[1]
    if tall:
        x = x.T
    x = x.div(x.norm().clamp(min=eps))
    for _ in range(steps):
        gram = matmul(x, x.T)
        x = addmm(x, addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


def _scale(name: str | None, shape: Sequence[int]) -> float:
    rows, columns = shape[:2]
    if name == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1, rows / columns)) if name in (None, "original") else 1.0
