"""Adafactor (Shazeer and Stern, ICML 2018), without momentum."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flambeau.autograd.modes import no_grad
from flambeau.base.limits import finfo
from flambeau.core.tensor import Tensor
from flambeau.ops.create import full_like
from flambeau.ops.matmul import matmul
from flambeau.optim.elementwise import later_numbers
from flambeau.optim.optimizer import Optimizer, ParamsT
from flambeau.optim.stepping import (
    check_learning_rate,
    evaluate,
    gather,
    number_of,
    scalar_state,
)

__all__ = ["Adafactor", "adafactor"]


class Adafactor(Optimizer):
    """Adafactor: divides by the root of the mean square of gradients, kept as a row and a column.

    For a matrix (..., R, C) the state is "row_var" (..., R, 1) and "col_var" (..., 1, C), for a
    vector "variance". The mean keeps ``1 - t ** beta2_decay`` of itself at step t; steps are at
    most ``d`` in root mean square, relative to that of the parameter but at least ``eps[1]``, and
    ``lr`` bounds their rate. ``eps[0]`` is the dtype's by default. Weights decay apart from the
    gradient. Raises ValueError for options out of range.

    >>> import flambeau as torch
    >>> w = torch.nn.Parameter(torch.ones(2, 2))
    >>> optimizer = torch.optim.Adafactor([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w[0, 0].item()
    0.75
    """

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-2, beta2_decay: float = -0.8,
                 eps: tuple[float | None, float] = (None, 1e-3), d: float = 1.0,
                 weight_decay: float = 0.0, *, foreach: bool | None = None,
                 maximize: bool = False) -> None:
        check_learning_rate(lr, "Learning rate should be >= 0 but is: {}")
        if not 0.0 >= beta2_decay:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None and not 0.0 <= eps[0]:
            raise ValueError(f"epsilon1 should be >= 0 but is: {eps[0]}")
        if not 0.0 <= eps[1]:
            raise ValueError(f"epsilon2 should be >= 0 but is: {eps[1]}")
        if not 1.0 <= d:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        if not 0.0 <= weight_decay:
            raise ValueError(f"weight_decay should be >= 0 but is: {weight_decay}")
        super().__init__(params, {
            "lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d,
            "weight_decay": weight_decay, "foreach": foreach, "maximize": maximize})

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        later_numbers(self, {"foreach": None}, ("step",))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the parameters once; returns what ``closure``, which computes the loss, gave."""
        loss = evaluate(closure)
        for group in self.param_groups:
            if any(p.dtype.is_complex and p.grad is not None for p in group["params"]):
                raise RuntimeError("Adafactor does not support complex parameters")
            params, grads, steps = gather(self, group, ("step",), _begin,
                                          "Adafactor does not support sparse gradients")
            states = [[self.state[p].get(name) for p in params]
                      for name in ("row_var", "col_var", "variance")]
            eps1, eps2 = group["eps"]
            adafactor(params, grads, *states, steps, d=group["d"], lr=group["lr"],
                      beta2_decay=group["beta2_decay"], weight_decay=group["weight_decay"],
                      eps1=eps1, eps2=eps2, foreach=group["foreach"], maximize=group["maximize"],
                      grad_scale=getattr(self, "grad_scale", None),
                      found_inf=getattr(self, "found_inf", None))
        return loss


def _begin(p: Tensor, state: dict, group: Mapping[str, Any]) -> None:
    grad: Any = p.grad
    state["step"] = scalar_state()
    if grad.ndim > 1:
        state["row_var"] = grad.new_zeros((*grad.shape[:-1], 1))
        state["col_var"] = grad.new_zeros((*grad.shape[:-2], 1, grad.shape[-1]))
    else:
        state["variance"] = full_like(grad, 0)


@no_grad()
def adafactor(params: list[Tensor], grads: list[Tensor], row_vars: Sequence[Tensor | None],
              col_vars: Sequence[Tensor | None], variances: Sequence[Tensor | None],
              state_steps: list[Tensor], foreach: bool | None = None,
              grad_scale: Tensor | None = None, found_inf: Tensor | None = None,
              has_complex: bool = False, *, d: float, lr: float | Tensor, beta2_decay: float,
              weight_decay: float, eps1: float | None, eps2: float, maximize: bool) -> None:
    """One step of Adafactor on lists of tensors, in place; see ``torch.optim.Adafactor``."""
    if not all(isinstance(t, Tensor) for t in state_steps):
        raise RuntimeError("`state_steps` argument must contain a list of singleton tensors")
    if params and (grad_scale is not None or found_inf is not None):
        raise AssertionError("Grad scaling should occur outside of optimizer.step()")
    rate = number_of(lr)
    for param, grad, row, col, variance, count in zip(params, grads, row_vars, col_vars,
                                                      variances, state_steps):
        if maximize:
            grad = -grad
        least = finfo(param.dtype).eps if eps1 is None else eps1
        count.add_(1)
        step = count.item()
        size = param.norm(2).item() / param.numel()**0.5
        pace = max(eps2, size) * min(rate, 1 / step**0.5)
        if weight_decay != 0:
            param.mul_(float(1 - rate * weight_decay))
        if grad.ndim > 1:
            found = _factored(grad, row, col, step**beta2_decay, least)
        else:
            found = _whole(grad, variance, step**beta2_decay)
        way = found.clamp_(min=least * least).rsqrt_().mul_(grad)
        excess = max(1.0, way.norm(2).item() / (way.numel()**0.5 * d))
        param.add_(way, alpha=float(-pace / excess))


def _factored(grad: Tensor, row: Tensor | None, col: Tensor | None, gain: float, least: float
              ) -> Tensor:
    """The mean square of a matrix's gradients, from those of its rows and columns."""
    if row is None or col is None:
        raise AssertionError("row_var and col_var should be defined when grad is multidimensional")
    for held, dim in ((row, -1), (col, -2)):
        mean = grad.norm(dim=dim, keepdim=True).square_().div_(grad.shape[dim])
        held.lerp_(mean, gain)
    return matmul(row, col).div_(row.mean(dim=-2, keepdim=True).clamp_(min=least))


def _whole(grad: Tensor, variance: Tensor | None, gain: float) -> Tensor:
    if variance is None:
        raise AssertionError("variance should be defined when grad is a vector")
    variance.lerp_(grad * grad, gain)
    return variance.clone()
