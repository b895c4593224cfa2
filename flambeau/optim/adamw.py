"""AdamW: Adam with the decay of weights apart from the gradient (Loshchilov and Hutter, 2019)."""

from __future__ import annotations

from typing import Any

from flambeau.core.tensor import Tensor
from flambeau.optim.adam import Adam, adam
from flambeau.optim.optimizer import ParamsT

__all__ = ["AdamW", "adamw"]


class AdamW(Adam):
    """``Adam`` with ``decoupled_weight_decay``: weights decay by ``lr * weight_decay`` a step.

    >>> import flambeau as torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = torch.optim.AdamW([w], lr=0.1, weight_decay=0.5)
    >>> w.grad = torch.zeros(1)
    >>> optimizer.step()
    >>> w.item()
    0.949999988079071
    """

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-3,
                 betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False,
                 foreach: bool | None = None, capturable: bool = False,
                 differentiable: bool = False, fused: bool | None = None) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach,
                         maximize=maximize, capturable=capturable, differentiable=differentiable,
                         fused=fused, decoupled_weight_decay=True)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True


def adamw(*args: Any, **kwargs: Any) -> None:
    """One step of AdamW on lists of tensors, in place; the arguments are those of ``adam``."""
    adam(*args, **{**kwargs, "decoupled_weight_decay": True})
