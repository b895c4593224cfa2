"""Batch normalisation: means and variances over a batch, and running ones for evaluation."""

from __future__ import annotations

import sys
from typing import Any

from flambeau.autograd import no_grad
from flambeau.base.dtypes import int64
from flambeau.core.face import FACES
from flambeau.core.tensor import Tensor
from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm"]

torch = FACES["torch"]


class _NormBase(Module):
    """What normalisations with running statistics share: settings, parameters and buffers."""

    _version = 2
    __constants__ = ["track_running_stats", "momentum", "eps", "num_features", "affine"]
    num_features: int
    eps: float
    momentum: float | None
    affine: bool
    track_running_stats: bool
    weight: Any
    bias: Any
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
                 affine: bool = True, track_running_stats: bool = True, device: Any = None,
                 dtype: Any = None, *, bias: bool = True) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        options = {"device": device, "dtype": dtype}
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            value = Parameter(torch["empty"](num_features, **options)) if wanted else None
            self.register_parameter(name, value)
        mean, var, count = None, None, None
        if track_running_stats:
            mean = torch["zeros"](num_features, **options)
            var = torch["ones"](num_features, **options)
            count = torch["tensor"](0, dtype=int64, device=device)
        self.register_buffer("running_mean", mean)
        self.register_buffer("running_var", var)
        self.register_buffer("num_batches_tracked", count)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Means 0, variances 1, no batches counted."""
        if self.track_running_stats:
            self.running_mean.zero_()  # type: ignore[union-attr]
            self.running_var.fill_(1)  # type: ignore[union-attr]
            self.num_batches_tracked.zero_()  # type: ignore[union-attr]

    def reset_parameters(self) -> None:
        """Reset the running statistics; weight 1, bias 0."""
        self.reset_running_stats()
        if self.affine:
            init.ones_(self.weight)
            if self.bias is not None:
                init.zeros_(self.bias)

    def _check_input_dim(self, input: Tensor) -> None:
        raise NotImplementedError

    def extra_repr(self) -> str:
        """The settings."""
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
                f"affine={self.affine}, bias={self.bias is not None}, "
                f"track_running_stats={self.track_running_stats}")

    def _load_from_state_dict(self, state_dict: dict, prefix: str, local_metadata: dict,
                              strict: bool, missing_keys: list, unexpected_keys: list,
                              error_msgs: list) -> None:
        version = local_metadata.get("version", None)
        if (version is None or version < 2) and self.track_running_stats:
            # Before version 2 batches were not counted.
            count = self.num_batches_tracked
            state_dict.setdefault(f"{prefix}num_batches_tracked",
                                  torch["tensor"](0, dtype=int64) if count is None else count)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys,
                                      unexpected_keys, error_msgs)


class _BatchNorm(_NormBase):
    """Normalisation over all dimensions but the channels'."""

    def _count_batch(self) -> float:
        """Count a batch where batches are counted; the weight of its statistics."""
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats:
            count = self.num_batches_tracked
            if count is not None:
                count.add_(1)
                if self.momentum is None:
                    momentum = 1.0 / float(count)  # type: ignore[arg-type]
        return momentum

    def forward(self, input: Tensor) -> Tensor:
        """``input`` normalised by its own statistics in training, else by the running ones."""
        self._check_input_dim(input)
        momentum = self._count_batch()
        mean, var = self.running_mean, self.running_var
        by_batch = self.training or mean is None and var is None
        if self.training and not self.track_running_stats:
            mean = var = None
        return F.batch_norm(input, mean, var, self.weight, self.bias, by_batch, momentum, self.eps)


def _require_rank(input: Tensor, *ranks: int) -> None:
    if input.dim() not in ranks:
        expected = " or ".join([f"{n}D" for n in ranks])
        raise ValueError(f"expected {expected} input (got {input.dim()}D input)")


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L) (arXiv:1502.03167).

    In training by the batch's mean and variance, which the running ones follow with
    ``momentum`` (None: their plain mean); in evaluation by the running ones.

    >>> import flambeau as torch
    >>> torch.nn.BatchNorm1d(2, affine=False)(torch.tensor([[1.0, 0.0], [3.0, 4.0]]))
    tensor([[-1.0000, -1.0000],
            [ 1.0000,  1.0000]])
    """

    def _check_input_dim(self, input: Tensor) -> None:
        _require_rank(input, 2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of (N, C, H, W); else as ``BatchNorm1d``.

    >>> import flambeau as torch
    >>> torch.nn.BatchNorm2d(100)(torch.randn(20, 100, 5, 5)).shape
    torch.Size([20, 100, 5, 5])
    """

    def _check_input_dim(self, input: Tensor) -> None:
        _require_rank(input, 4)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of (N, C, D, H, W); else as ``BatchNorm1d``.

    >>> import flambeau as torch
    >>> torch.nn.BatchNorm3d(4)(torch.randn(2, 4, 3, 3, 3)).shape
    torch.Size([2, 4, 3, 3, 3])
    """

    def _check_input_dim(self, input: Tensor) -> None:
        _require_rank(input, 5)


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation over the batches of all processes, which needs GPUs for that.

    In one process it is batch normalisation of (N, C, ...).

    >>> import flambeau as torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(20, 100), torch.nn.BatchNorm1d(100))
    >>> torch.nn.SyncBatchNorm.convert_sync_batchnorm(net)[1]
    SyncBatchNorm(100, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
                 affine: bool = True, track_running_stats: bool = True,
                 process_group: Any | None = None, device: Any = None, dtype: Any = None, *,
                 bias: bool = True) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype,
                         bias=bias)
        self.process_group = process_group

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2D input (got {input.dim()}D input)")
        if input.size(1) == 0:
            raise ValueError("SyncBatchNorm number of input channels should be non-zero")
        # Whoever started processes has imported the module that knows of them.
        processes = sys.modules.get("flambeau.distributed")
        if self.training and processes is not None and processes.is_initialized():
            raise ValueError("SyncBatchNorm expected input tensor to be on GPU or XPU or "
                             "privateuseone")

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """``module`` with every batch normalisation in it replaced, parameters and all."""
        made: Module = module
        if isinstance(module, _BatchNorm):
            made = SyncBatchNorm(
                module.num_features, module.eps, module.momentum, module.affine,
                module.track_running_stats, process_group, bias=module.bias is not None)
            if module.affine:
                with no_grad():
                    made.weight, made.bias = module.weight, module.bias
            made.running_mean = module.running_mean
            made.running_var = module.running_var
            made.num_batches_tracked = module.num_batches_tracked
            made.training = module.training
        for name, child in module.named_children():
            made.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return made
