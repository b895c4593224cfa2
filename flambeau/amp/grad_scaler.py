"""Scaling the loss, so that small gradients of half types do not vanish, and undoing it."""

from __future__ import annotations

import inspect
import warnings
from collections import defaultdict
from collections.abc import Iterable
from enum import Enum
from typing import Any

from flambeau.autograd.modes import no_grad
from flambeau.base import dtypes
from flambeau.base.device import CPU
from flambeau.core.face import show
from flambeau.core.tensor import Tensor
from flambeau.ops.create import full

__all__ = ["GradScaler", "OptState"]

_UNUSED = ("This may indicate your script did not use scaler.scale(loss or outputs) earlier in "
           "the iteration.")


class OptState(Enum):
    """What was done for an optimizer since the last ``update``."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


def _fresh_state() -> dict[str, Any]:
    return {"stage": OptState.READY, "found_inf_per_device": {}}


def _number(value: float, dtype: Any = dtypes.float32) -> Tensor:
    return full((), value, dtype=dtype)


class GradScaler:
    """Multiplies losses by a factor and divides gradients by it before the optimizer steps.

    A step is left out where a gradient is infinite or NaN; then ``update`` multiplies the factor
    by ``backoff_factor``. After ``growth_interval`` steps without it grows by ``growth_factor``.
    For "cuda" it is switched off, with a warning; then all methods do as if it were not there.

    >>> import flambeau as torch
    >>> w = torch.nn.Parameter(torch.ones(1))
    >>> optimizer = torch.optim.SGD([w], lr=0.25)
    >>> scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    >>> scaler.scale((w * w).sum()).backward()
    >>> scaler.step(optimizer)
    >>> scaler.update()
    >>> w.item(), scaler.get_scale()
    (0.5, 1024.0)
    """

    def __init__(self, device: str = "cuda", init_scale: float = 2.0**16,
                 growth_factor: float = 2.0, backoff_factor: float = 0.5,
                 growth_interval: int = 2000, enabled: bool = True) -> None:
        self._device = device
        self._enabled = enabled
        if device == "cuda" and enabled:
            warnings.warn("torch.cuda.amp.GradScaler is enabled, but CUDA is not available.  "
                          "Disabling.", stacklevel=2)
            self._enabled = False
        if not self._enabled:
            return
        if growth_factor <= 1.0:
            raise AssertionError("The growth factor must be > 1.0.")
        if backoff_factor >= 1.0:
            raise AssertionError("The backoff factor must be < 1.0.")
        self._init_scale = init_scale
        self._scale: Tensor | None = None
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._init_growth_tracker = 0
        self._growth_tracker: Tensor | None = None
        self._per_optimizer_states: dict[int, dict[str, Any]] = defaultdict(_fresh_state)

    def _started(self, name: str) -> tuple[Tensor, Tensor]:
        """The factor and the count of good steps; AssertionError before the first ``scale``."""
        for held in ("_scale", "_growth_tracker"):
            if getattr(self, held) is None:
                raise AssertionError(f"Attempted {name} but {held} is None.  {_UNUSED}")
        return self._scale, self._growth_tracker  # type: ignore[return-value]

    def _start(self) -> Tensor:
        if self._scale is None:
            self._scale = _number(self._init_scale)
            self._growth_tracker = _number(self._init_growth_tracker, dtypes.int32)
        return self._scale

    def scale(self, outputs: Any) -> Any:
        """A tensor, or all in nested iterables, times the factor."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._start()
        if not isinstance(outputs, Iterable):
            raise ValueError("outputs must be a Tensor or an iterable of Tensors")
        scaled = map(self.scale, outputs)
        return type(outputs)(scaled) if isinstance(outputs, (list, tuple)) else scaled

    @no_grad()
    def _unscale_grads_(self, optimizer: Any, inv_scale: Tensor, found_inf: Tensor,
                        allow_fp16: bool) -> dict[Any, Tensor]:
        """Multiply all gradients; ``found_inf`` becomes 1 where one was infinite or NaN."""
        grads = []
        for group in optimizer.param_groups:
            for param in group["params"]:
                if not isinstance(param, Tensor):
                    raise AssertionError("expected param to be torch.Tensor, got "
                                         f"{type(param).__name__}")
                grad = param.grad
                if grad is None:
                    continue
                if grad.dtype is dtypes.float16 and not allow_fp16:
                    raise ValueError("Attempting to unscale FP16 gradients.")
                if grad.is_sparse:
                    if grad.dtype is dtypes.float16:
                        # equal places are added up, which may overflow
                        param.grad = grad = grad.coalesce()  # type: ignore[attr-defined]
                    grad = grad._values()
                grads.append(grad)
        for grad in grads:
            if not grad.isfinite().all():
                found_inf.fill_(1.0)
            if inv_scale != 1:
                grad.mul_(inv_scale)
        return {CPU: found_inf} if grads else {}

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients by the factor now, for example to clip them before the step.

        Raises RuntimeError where that was done already, or the step was; ValueError for float16.
        """
        if not self._enabled:
            return
        scale, _ = self._started("unscale_")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.UNSCALED:
            raise RuntimeError("unscale_() has already been called on this optimizer since the "
                               "last update().")
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        inverse = scale.double().reciprocal().float()
        state["found_inf_per_device"] = self._unscale_grads_(optimizer, inverse, _number(0.0),
                                                             False)
        state["stage"] = OptState.UNSCALED

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """Divide the gradients by the factor, unless that is done, and step if all are finite.

        Returns what ``optimizer.step(*args, **kwargs)`` gives. Closures are refused.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._started("step")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if getattr(optimizer, "_step_supports_amp_scaling", False):
            result = self._step_scaled(optimizer, state, args, kwargs)
        else:
            if state["stage"] is OptState.READY:
                self.unscale_(optimizer)
            if not state["found_inf_per_device"]:
                raise AssertionError("No inf checks were recorded for this optimizer.")
            result = self._maybe_opt_step(optimizer, state, *args, **kwargs)
        state["stage"] = OptState.STEPPED
        return result

    def _step_scaled(self, optimizer: Any, state: dict[str, Any], args: tuple, kwargs: dict
                     ) -> Any:
        """Let the optimizer undo the scaling itself."""
        if "grad_scaler" in inspect.signature(optimizer.step).parameters:
            warnings.warn("GradScaler is going to stop passing itself as a keyword argument to the "
                          "passed optimizer. In the near future GradScaler registers `grad_scale: "
                          "Tensor` and `found_inf: Tensor` to the passed optimizer and let the "
                          "optimizer use them directly.", FutureWarning, stacklevel=3)
            return optimizer.step(*args, **{**kwargs, "grad_scaler": self})
        if state["stage"] is OptState.READY:
            self._check_inf_per_device(optimizer)
            own = getattr(optimizer, "grad_scale", 1)
            optimizer.grad_scale = self._scale * own  # type: ignore[operator]
        else:
            optimizer.grad_scale = getattr(optimizer, "grad_scale", None)
        optimizer.found_inf = sum(state["found_inf_per_device"].values())
        result = optimizer.step(*args, **kwargs)
        del optimizer.grad_scale
        del optimizer.found_inf
        return result

    def _maybe_opt_step(self, optimizer: Any, optimizer_state: dict[str, Any], *args: Any,
                        **kwargs: Any) -> Any:
        if any(v.item() for v in optimizer_state["found_inf_per_device"].values()):
            return None
        return optimizer.step(*args, **kwargs)

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Set the factor for the next iteration, from this one's gradients or to ``new_scale``."""
        if not self._enabled:
            return
        scale, tracker = self._started("update")
        if new_scale is not None:
            self._set_scale(scale, new_scale)
        else:
            found = [v for state in self._per_optimizer_states.values()
                     for v in state["found_inf_per_device"].values()]
            if not found:
                raise AssertionError("No inf checks were recorded prior to update.")
            self._adapt(scale, tracker, any(v.item() for v in found))
        self._per_optimizer_states = defaultdict(_fresh_state)

    def _set_scale(self, scale: Tensor, new: float | Tensor) -> None:
        if isinstance(new, float):
            scale.fill_(new)
            return
        if new.device.type != self._device or new.numel() != 1 or new.requires_grad:
            raise AssertionError("new_scale should be a float or a 1-element "
                                 "torch.cuda.FloatTensor or torch.FloatTensor with "
                                 "requires_grad=False.")
        scale.copy_(new)

    def _adapt(self, scale: Tensor, tracker: Tensor, overflowed: bool) -> None:
        good = 0 if overflowed else tracker.item() + 1
        if overflowed:
            scale.mul_(self._backoff_factor)
        elif good == self._growth_interval:
            good = 0
            grown = scale * self._growth_factor
            if grown.isfinite():
                scale.copy_(grown)
        tracker.fill_(good)

    def _get_scale_async(self) -> Tensor | None:
        return self._scale

    def get_scale(self) -> float:
        """The factor; 1 where it is switched off."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else self._scale.item()

    def get_growth_factor(self) -> float:
        """What the factor grows by."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set what the factor grows by."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the factor shrinks by."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set what the factor shrinks by."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """After how many good steps the factor grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set after how many good steps the factor grows."""
        self._growth_interval = new_interval

    def _get_growth_tracker(self) -> int:
        if not self._enabled:
            return 0
        tracker = self._growth_tracker
        return self._init_growth_tracker if tracker is None else tracker.item()

    def is_enabled(self) -> bool:
        """Whether it scales at all."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """The factor, how it changes, and the good steps since; empty where switched off."""
        if not self._enabled:
            return {}
        return {"scale": self.get_scale(), "growth_factor": self._growth_factor,
                "backoff_factor": self._backoff_factor, "growth_interval": self._growth_interval,
                "_growth_tracker": self._get_growth_tracker()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what ``state_dict`` returned."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError("The source state dict is empty, possibly because it was saved from "
                               "a disabled instance of GradScaler.")
        self._init_scale = state_dict["scale"]
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._init_growth_tracker = state_dict["_growth_tracker"]
        if self._scale is not None:
            self._scale.fill_(self._init_scale)
        if self._growth_tracker is not None:
            self._growth_tracker.fill_(self._init_growth_tracker)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        if self._enabled:
            if self._per_optimizer_states:
                raise AssertionError("A GradScaler instance may only be pickled at the beginning "
                                     "of an iteration, or at the end after scaler.update().")
            state["_init_scale"] = self.get_scale()
            state["_init_growth_tracker"] = self._get_growth_tracker()
            state["_scale"] = state["_growth_tracker"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def _check_inf_per_device(self, optimizer: Any) -> dict[Any, Tensor]:
        self._started("_check_inf_per_device")
        found = self._unscale_grads_(optimizer, _number(1.0), _number(0.0), True)
        self._per_optimizer_states[id(optimizer)]["found_inf_per_device"] = found
        return found

    def _found_inf_per_device(self, optimizer: Any) -> dict[Any, Tensor]:
        return self._per_optimizer_states[id(optimizer)]["found_inf_per_device"]


show(GradScaler, "GradScaler", "torch")
