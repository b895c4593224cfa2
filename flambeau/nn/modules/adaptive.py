"""The adaptive softmax: rare classes in clusters of their own."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any

from flambeau.core.face import FACES
from flambeau.core.tensor import Tensor
from flambeau.nn import functional as F
from flambeau.nn.modules.container import ModuleList, Sequential
from flambeau.nn.modules.linear import Linear
from flambeau.nn.modules.module import Module

__all__ = ["AdaptiveLogSoftmaxWithLoss"]

_ASMoutput = namedtuple("_ASMoutput", ["output", "loss"])


class AdaptiveLogSoftmaxWithLoss(Module):
    """An approximate softmax over many classes, numbered by falling frequency (arXiv:1609.04309).

    Classes below ``cutoffs[0]`` are in the head; those between two cutoffs make a cluster, which
    sees the input in 1 / ``div_value`` of the width of the cluster before.

    >>> import flambeau as torch
    >>> softmax = torch.nn.AdaptiveLogSoftmaxWithLoss(16, 100, cutoffs=[10, 50])
    >>> found = softmax(torch.randn(8, 16), torch.randint(0, 100, (8,)))
    >>> found.output.shape, found.loss.shape
    (torch.Size([8]), torch.Size([]))
    """

    in_features: int
    n_classes: int
    cutoffs: list[int]
    div_value: float
    head_bias: bool
    head: Linear
    tail: ModuleList

    def __init__(self, in_features: int, n_classes: int, cutoffs: Sequence[int],
                 div_value: float = 4.0, head_bias: bool = False, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__()
        cutoffs = list(cutoffs)
        _check_cutoffs(cutoffs, n_classes)
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        options = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **options)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            width = int(in_features // (div_value ** (i + 1)))
            size = self.cutoffs[i + 1] - self.cutoffs[i]
            self.tail.append(Sequential(Linear(in_features, width, bias=False, **options),
                                        Linear(width, size, bias=False, **options)))

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        self.head.reset_parameters()
        for narrow, widen in self.tail:  # type: ignore[misc]
            narrow.reset_parameters()
            widen.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> _ASMoutput:
        """The log probability of every target and their mean, negated, as ``(output, loss)``.

        ``input_`` is (N, in_features) and ``target_`` (N,), or both without N.
        """
        _check_targets(input_, target_)
        alone = target_.dim() == 0
        input, target = (input_.unsqueeze(0), target_.unsqueeze(0)) if alone else (input_, target_)
        output = input.new_zeros(target.size(0))
        columns = target.new_empty(target.size(0))
        used = 0
        for i, (low, high) in enumerate(zip([0, *self.cutoffs], self.cutoffs)):
            inside = (target >= low) & (target < high)
            rows = inside.nonzero().squeeze(1)
            used += rows.numel()
            if not rows.numel():
                continue
            if not i:
                columns.index_copy_(0, rows, target[inside])
                continue
            scores = self.tail[i - 1](input.index_select(0, rows))  # type: ignore[operator]
            found = F.log_softmax(scores, dim=1).gather(1, (target[inside] - low).unsqueeze(1))
            columns.index_fill_(0, rows, self.shortlist_size + i - 1)
            output.index_copy_(0, rows, found.squeeze(1))
        if used != target.size(0):
            raise RuntimeError(f"Target values should be in [0, {self.n_classes - 1}], but values "
                               f"in range [{target.min().item()}, {target.max().item()}] were "
                               "found. ")
        heads = F.log_softmax(self.head(input), dim=1)
        output += heads.gather(1, columns.unsqueeze(1)).squeeze()
        loss = (-output).mean()
        return _ASMoutput(output.squeeze(0) if alone else output, loss)

    def _get_full_log_prob(self, input: Tensor, head_output: Tensor) -> Tensor:
        heads = F.log_softmax(head_output, dim=1)
        parts = [heads[:, :self.shortlist_size]]
        for i, cluster in enumerate(self.tail):  # type: ignore[arg-type]
            chosen = heads[:, self.shortlist_size + i].unsqueeze(1)
            parts.append(F.log_softmax(cluster(input), dim=1) + chosen)
        return FACES["torch"]["cat"](parts, dim=1)

    def log_prob(self, input: Tensor) -> Tensor:
        """The log probabilities (N, n_classes) of all classes."""
        return self._get_full_log_prob(input, self.head(input))

    def predict(self, input: Tensor) -> Tensor:
        """The likeliest class of each row; clusters are looked into only where the head says so."""
        scores = self.head(input)
        output = scores.argmax(dim=1)
        rare = output >= self.shortlist_size
        if rare.any():
            found = self._get_full_log_prob(input[rare], scores[rare])
            output[rare] = found.argmax(dim=1)
        return output


def _check_cutoffs(cutoffs: list[int], n_classes: int) -> None:
    if not cutoffs:
        raise ValueError("cutoffs should be a sequence of length larger than 0")
    if (cutoffs != sorted(set(cutoffs)) or cutoffs[0] <= 0 or cutoffs[-1] > n_classes - 1
            or any(int(c) != c for c in cutoffs)):
        raise ValueError("cutoffs should be a sequence of unique, positive integers sorted in an "
                         "increasing order, where each value is between 1 and n_classes-1")


def _check_targets(input: Tensor, target: Tensor) -> None:
    rank = target.dim()
    if rank > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if rank == 1 and input.size(0) != target.size(0):
        raise RuntimeError("Input and target should have the same size in the batch dimension.")
    if input.dim() != rank + 1:
        raise RuntimeError(f"{rank}D target tensor expects {rank + 1}D input tensors, but found "
                           f"inputs with size {input.size()}")
