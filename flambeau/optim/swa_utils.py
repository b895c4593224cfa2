"""Averages of a model's weights over training (Izmailov and others, UAI 2018; Polyak, 1992)."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import Any, Literal

import numpy as np

from flambeau.autograd.modes import no_grad
from flambeau.backends.updates import Value, Writer, update_of
from flambeau.base import dtypes
from flambeau.base.missing import missing_attribute
from flambeau.core.tensor import Tensor, wrap
from flambeau.nn.modules.batchnorm import _BatchNorm
from flambeau.nn.modules.module import Module
from flambeau.optim.lr_scheduler import LRScheduler
from flambeau.optim.lr_scheduler.base import Rate, format_param
from flambeau.optim.optimizer import Optimizer
from flambeau.optim.stepping import apply_to_lists, is_near, number_of

__all__ = ["SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn",
           "get_swa_multi_avg_fn", "update_bn"]

Tensors = Sequence[Tensor]


def _towards(o: Writer, near: bool, average: Value, current: Value) -> dict[Value, Value]:
    return {average: o.lerp(average, current, "weight", near)}


def _lerp_all(averages: Tensors, currents: Tensors, weight: Any) -> None:
    update = update_of(_towards, is_near(weight), 2)
    apply_to_lists(update, [averages, currents], {"weight": weight})


def _can_lerp(tensors: Tensors) -> bool:
    return tensors[0].dtype.category >= dtypes.FLOAT


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] "
                         "range.")


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[[Tensors, Tensors, Any], None]:
    """The exponential moving average: a function that updates a list of averages in place.

    It takes the averages, the current tensors, and the number of models averaged (unused).
    """
    _check_decay(decay)

    @no_grad()
    def ema_update(ema_param_list: Tensors, current_param_list: Tensors, _: Any) -> None:
        if _can_lerp(ema_param_list):
            _lerp_all(ema_param_list, current_param_list, 1 - decay)
            return
        for average, current in zip(ema_param_list, current_param_list):
            average.copy_(average * decay + current * (1 - decay))

    return ema_update


def get_swa_multi_avg_fn() -> Callable[[Tensors, Tensors, Any], None]:
    """The equally weighted average: a function that updates a list of averages in place.

    It takes the averages, the current tensors, and the number of models averaged so far.
    """

    @no_grad()
    def swa_update(averaged_param_list: Tensors, current_param_list: Tensors,
                   num_averaged: Any) -> None:
        if _can_lerp(averaged_param_list):
            count = number_of(num_averaged) + 1
            weight = np.float32(1) / np.float32(count)
            _lerp_all(averaged_param_list, current_param_list,
                      weight if isinstance(num_averaged, Tensor) else 1 / count)
            return
        for average, current in zip(averaged_param_list, current_param_list):
            difference = current - average
            if isinstance(num_averaged, Tensor):
                average.add_(difference.div(num_averaged + 1, rounding_mode="trunc"))
            else:
                average.add_(difference, alpha=1.0 / (num_averaged + 1))

    return swa_update


def get_ema_avg_fn(decay: float = 0.999) -> Callable[[Tensor, Tensor, Any], Tensor]:
    """The exponential moving average of one tensor: a function that returns the new average."""
    _check_decay(decay)

    @no_grad()
    def ema_update(ema_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_swa_avg_fn() -> Callable[[Tensor, Tensor, Any], Tensor]:
    """The equally weighted average of one tensor: a function that returns the new average."""

    @no_grad()
    def swa_update(averaged_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return swa_update


class AveragedModel(Module):
    """A copy of a model whose parameters average those of the model at each update.

    The first ``update_parameters`` copies; later ones average equally, or as ``avg_fn(average,
    current, count)``, which returns the new average, or ``multi_avg_fn(averages, currents,
    count)``, which changes lists in place, says. With ``use_buffers`` buffers are averaged as well,
    otherwise copied. ``module`` is the copy, the buffer ``n_averaged`` the number of updates.

    >>> import flambeau as torch
    >>> model = torch.nn.Linear(1, 1)
    >>> average = torch.optim.swa_utils.AveragedModel(model)
    >>> for value in (1.0, 3.0):
    ...     _ = torch.nn.init.constant_(model.weight, value)
    ...     average.update_parameters(model)
    >>> average.module.weight.item()
    2.0
    """

    n_averaged: Tensor

    def __init__(self, model: Module, device: Any = None,
                 avg_fn: Callable[[Tensor, Tensor, Any], Tensor] | None = None,
                 multi_avg_fn: Callable[[Tensors, Tensors, Any], None] | None = None,
                 use_buffers: bool = False) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", wrap(np.zeros((), np.int64)))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the copy gives."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Average in the parameters of ``model`` as they are now."""
        mine = [t.detach() for t in self._averaged(self.module)]
        new = [t.detach() for t in self._averaged(model)]
        if self.n_averaged == 0:
            for average, current in zip(mine, new):
                average.copy_(current)
        elif self.avg_fn is not None:
            for average, current in zip(mine, new):
                average.copy_(self.avg_fn(average, current, self.n_averaged))
        else:
            update = self.multi_avg_fn or get_swa_multi_avg_fn()
            for averages, currents in _by_dtype(mine, new):
                update(averages, currents, self.n_averaged)
        if not self.use_buffers:
            for held, current in zip(self.module.buffers(), model.buffers(), strict=True):
                held.detach().copy_(current.detach())
        self.n_averaged += 1

    def _averaged(self, model: Module) -> list[Tensor]:
        if self.use_buffers:
            return list(itertools.chain(model.parameters(), model.buffers()))
        return list(model.parameters())


def _by_dtype(mine: Tensors, new: Tensors) -> list[tuple[list[Tensor], list[Tensor]]]:
    groups: dict[Any, tuple[list, list]] = {}
    for average, current in zip(mine, new):
        averages, currents = groups.setdefault(average.dtype, ([], []))
        averages.append(average)
        currents.append(current)
    return list(groups.values())


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Set the running statistics of batch norms to the averages over the batches of ``loader``.

    A batch is a tensor, or a list or tuple that starts with one.
    """
    norms = {m: m.momentum for m in model.modules() if isinstance(m, _BatchNorm)}
    for norm in norms:
        norm.reset_running_stats()
    if not norms:
        return
    was_training = model.training
    model.train()
    for norm in norms:
        norm.momentum = None
    for batch in loader:
        data = batch[0] if isinstance(batch, (list, tuple)) else batch
        model(data if device is None else data.to(device))
    for norm, momentum in norms.items():
        norm.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """From the rate as it is to ``swa_lr`` in ``anneal_epochs``, along a cosine or a line.

    >>> import flambeau as torch
    >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    >>> scheduler = torch.optim.swa_utils.SWALR(optimizer, 0.5, 2, "linear")
    >>> optimizer.step(); scheduler.step()
    >>> scheduler.get_last_lr()
    [0.75]
    """

    def __init__(self, optimizer: Optimizer, swa_lr: float, anneal_epochs: int = 10,
                 anneal_strategy: Literal["cos", "linear"] = "cos", last_epoch: int = -1) -> None:
        rates = format_param("swa_lr", optimizer, swa_lr)
        for rate, group in zip(rates, optimizer.param_groups, strict=True):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError("anneal_strategy must be one of 'cos' or 'linear', instead got "
                             f"{anneal_strategy}")
        self._anneal_strategy = anneal_strategy
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError("anneal_epochs must be equal or greater than 0, got "
                             f"{anneal_epochs}")
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def anneal_func(self, part: float) -> float:
        """How far the rate has come when this part of the epochs is over."""
        if self._anneal_strategy == "linear":
            return part
        return (1 - math.cos(math.pi * part)) / 2

    def get_lr(self) -> list[Rate]:
        """The rates at this epoch, from those before."""
        if not self._get_lr_called_within_step:
            warnings.warn("To get the last learning rate computed by the scheduler, please use "
                          "`get_last_lr()`.", UserWarning, stacklevel=2)
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = (self.anneal_func(max(0, min(1, at / max(1, self.anneal_epochs))))
                       for at in (step - 1, step))
        rates = []
        for group in self.optimizer.param_groups:
            goal = group["swa_lr"]
            start = goal if before == 1 else (group["lr"] - before * goal) / (1 - before)
            rates.append(goal * now + start * (1 - now))
        return rates


def __getattr__(name: str) -> Any:
    raise missing_attribute(__name__, name, globals())
