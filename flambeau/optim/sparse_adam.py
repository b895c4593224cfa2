"""Adam for sparse gradients: elements without a gradient, and what is remembered of them, rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flambeau.autograd.modes import no_grad
from flambeau.core.tensor import Tensor
from flambeau.ops.create import full_like
from flambeau.optim.optimizer import Optimizer, ParamsT
from flambeau.optim.stepping import add_at, check_betas, evaluate, gather, number_of

__all__ = ["SparseAdam", "sparse_adam"]


class SparseAdam(Optimizer):
    """Adam for gradients that are sparse (COO), as those of sparse embeddings are.

    Means, squares and parameters change only where the gradient has elements. The state "step" is
    an int. Raises ValueError for options out of range and for sparse or complex parameters,
    RuntimeError for dense gradients.

    >>> import flambeau as torch
    >>> w = torch.nn.Parameter(torch.ones(3))
    >>> optimizer = torch.optim.SparseAdam([w], lr=0.5)
    >>> w.grad = torch.sparse_coo_tensor([[1]], [2.0], (3,))
    >>> optimizer.step()
    >>> w
    Parameter containing:
    tensor([1.0000, 0.5000, 1.0000], requires_grad=True)
    """

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 maximize: bool = False) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not 0.0 < lr:  # type: ignore[operator]
            raise ValueError(f"Invalid learning rate: {lr}")
        if not 0.0 < eps:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_betas(betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})
        sparse = list(self._places(lambda p: p.is_sparse))
        if sparse:
            raise ValueError(f"Sparse params at indices {sparse}: SparseAdam requires dense "
                             "parameter tensors")
        complex_ = list(self._places(lambda p: p.dtype.is_complex))
        if complex_:
            raise ValueError(f"Complex params at indices {complex_}: SparseAdam does not support "
                             "complex parameters")

    def _places(self, has: Callable[[Tensor], bool]) -> Iterator[list[int]]:
        for number, group in enumerate(self.param_groups):
            yield from ([number, at] for at, p in enumerate(group["params"]) if has(p))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the parameters once; returns what ``closure``, which computes the loss, gave."""
        loss = evaluate(closure)
        for group in self.param_groups:
            params, grads, means, squares = gather(self, group, ("exp_avg", "exp_avg_sq"), _begin)
            steps = []
            for p in params:
                self.state[p]["step"] += 1
                steps.append(self.state[p]["step"])
            beta1, beta2 = group["betas"]
            sparse_adam(params, grads, means, squares, steps, beta1=beta1, beta2=beta2,
                        lr=number_of(group["lr"]), eps=group["eps"],
                        maximize=group.get("maximize", False))
        return loss


def _begin(p: Tensor, state: dict, group: Mapping[str, Any]) -> None:
    if not p.grad.is_sparse:  # type: ignore[union-attr]
        raise RuntimeError("SparseAdam does not support dense gradients, please consider Adam "
                           "instead")
    state["step"] = 0
    state["exp_avg"] = full_like(p, 0)
    state["exp_avg_sq"] = full_like(p, 0)


@no_grad()
def sparse_adam(params: list[Tensor], grads: list[Tensor], exp_avgs: list[Tensor],
                exp_avg_sqs: list[Tensor], state_steps: list[int], *, eps: float, beta1: float,
                beta2: float, lr: float, maximize: bool) -> None:
    """One step on lists of tensors, in place, with sparse gradients; see ``SparseAdam``."""
    for param, grad, mean, square, step in zip(params, grads, exp_avgs, exp_avg_sqs, state_steps):
        # the update is not linear: every place may come up but once
        merged = (-grad if maximize else grad).coalesce()
        values = merged._values()
        if values.numel() == 0:
            continue
        places = tuple(merged._indices())
        m = add_at(mean, places, lambda old, g=values: g.sub(old).mul_(1 - beta1))
        v = add_at(square, places, lambda old, g=values: g.pow(2).sub_(old).mul_(1 - beta2))
        size = lr * math.sqrt(1 - beta2**step) / (1 - beta1**step)
        way = m.div_(v.sqrt_().add_(eps)).mul_(-float(size))
        add_at(param, places, lambda old, way=way: way)
