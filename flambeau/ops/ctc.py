"""The loss of connectionist temporal classification (Graves and others, ICML 2006)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.base import dtypes
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.kinds import opaque
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.activation import FUNCTIONAL, not_implemented
from flambeau.ops.loss import REDUCTIONS, reduced
from flambeau.ops.where import where

__all__ = ["ctc_loss"]

ndarray = np.ndarray
Lengths = tuple[int, ...]


class _Paths:
    """The labels of a batch with blanks between them, and their log-probabilities by time.

    ``labels`` is (N, L), L twice the longest target and one; ``logs`` is (T, N, L); ``skips``
    says where a path may jump over the blank before: between two different labels.
    """

    def __init__(self, logs: ndarray, targets: ndarray, steps: Lengths, lengths: Lengths,
                 blank: int) -> None:
        rows = _rows_of(targets, lengths)
        count, longest = len(lengths), max(lengths, default=0)
        self.labels = np.full((count, 2 * longest + 1), blank)
        for n, row in enumerate(rows):
            self.labels[n, 1:2 * len(row):2] = row
        self.items = np.arange(count)
        self.logs = logs.astype(np.float64)[:, self.items[:, None], self.labels]
        self.skips = np.zeros(self.labels.shape, bool)
        self.skips[:, 2:] = self.labels[:, 2:] != self.labels[:, :-2]
        self.skips[:, ::2] = False
        self.ends = 2 * np.array(lengths, np.int64)
        self.times = np.array(steps, np.int64)

    def forward(self) -> ndarray:
        """log-probabilities (T, N, L) of all beginnings of paths, up to a time and label."""
        alpha = np.full(self.logs.shape, -np.inf)
        alpha[:1, :, :2] = self.logs[:1, :, :2]
        for t in range(1, len(alpha)):
            alpha[t] = self.logs[t] + _merged(alpha[t - 1], self.skips)
        return alpha

    def backward(self) -> ndarray:
        """log-probabilities (T, N, L) of all ends of paths, from a time and label on."""
        beta = np.full(self.logs.shape, -np.inf)
        later = np.zeros(self.skips.shape, bool)
        later[:, :-2] = self.skips[:, 2:]
        for t in range(len(beta) - 1, -1, -1):
            if t + 1 < len(beta):
                ahead = _merged(beta[t + 1][:, ::-1], later[:, ::-1])[:, ::-1]
                beta[t] = self.logs[t] + ahead
            last = self.items[self.times == t + 1]
            ends = self.ends[last]
            beta[t, last, ends] = self.logs[t, last, ends]
            some = ends > 0
            beta[t, last[some], ends[some] - 1] = self.logs[t, last[some], ends[some] - 1]
        return beta

    def loss(self, alpha: ndarray) -> ndarray:
        """Minus the log-probability of every target, (N,)."""
        final = np.maximum(self.times - 1, 0)
        found = alpha[final, self.items, self.ends]
        before = alpha[final, self.items, np.maximum(self.ends - 1, 0)]
        found = np.where(self.ends > 0, np.logaddexp(found, before), found)
        return np.where(self.times > 0, -found, np.where(self.ends > 0, np.inf, 0.0))


def _merged(row: ndarray, skips: ndarray) -> ndarray:
    """Paths that stay, step on by one, or skip a blank, (N, L)."""
    out = row.copy()
    out[:, 1:] = np.logaddexp(out[:, 1:], row[:, :-1])
    jumped = np.where(skips[:, 2:], row[:, :-2], -np.inf)
    out[:, 2:] = np.logaddexp(out[:, 2:], jumped)
    return out


def _rows_of(targets: ndarray, lengths: Lengths) -> list[ndarray]:
    if targets.ndim == 1:
        return np.split(targets, np.cumsum(lengths)[:-1]) if lengths else []
    return [row[:n] for row, n in zip(targets, lengths)]


def _ctc_forward(logs: ndarray, targets: ndarray, steps: Lengths, lengths: Lengths, blank: int,
                 zero_infinity: bool) -> ndarray:
    paths = _Paths(logs, targets, steps, lengths, blank)
    return paths.loss(paths.forward()).astype(logs.dtype)


def _ctc_slope(g: ndarray, logs: ndarray, targets: ndarray, steps: Lengths, lengths: Lengths,
               blank: int, zero_infinity: bool) -> ndarray:
    paths = _Paths(logs, targets, steps, lengths, blank)
    alpha = paths.forward()
    loss = paths.loss(alpha)
    share = np.exp(alpha + paths.backward() - paths.logs + loss[:, None])
    slope = np.exp(logs.astype(np.float64))
    times, items = np.ogrid[:logs.shape[0], :logs.shape[1]]
    np.subtract.at(slope, (times[..., None], items[..., None], paths.labels[None]), share)
    slope *= g.astype(np.float64)[:, None]
    slope[times >= paths.times] = 0
    if zero_infinity:
        slope[:, loss == np.inf] = 0
    return slope.astype(logs.dtype)


def _no_second(g: Tensor) -> Tensor:
    raise RuntimeError("the derivative for '_ctc_loss_backward' is not implemented.")


_PARAMS = ("steps", "lengths", "blank", "zero_infinity")
CTC_BACKWARD = opaque("ctc_loss_backward", _ctc_slope, inputs=("grad", "log_probs", "targets"),
                      params=_PARAMS, grads=(_no_second, _no_second, None))


def _ctc_grad(g: Tensor, log_probs: Tensor, targets: Tensor, steps: Lengths, lengths: Lengths,
              blank: int, zero_infinity: bool) -> Tensor:
    params = {"steps": steps, "lengths": lengths, "blank": blank,
              "zero_infinity": zero_infinity}
    return apply(CTC_BACKWARD, (g, log_probs, targets), params)


CTC = opaque("ctc_loss", _ctc_forward, inputs=("log_probs", "targets"), params=_PARAMS,
             grads=(_ctc_grad, None))


def _lengths(what: str, given: Any, batch: int) -> Lengths:
    if isinstance(given, Tensor):
        if given._a.dtype.kind not in "iu":
            raise RuntimeError(f"{what} must be integral")
        given = given._a.reshape(-1).tolist()
    found = tuple([int(n) for n in given])
    if len(found) != batch:
        raise RuntimeError(f"{what} must be of size batch_size")
    return found


def _check(logs: Tensor, targets: Tensor, steps: Lengths, lengths: Lengths, blank: int) -> None:
    tail = "(while checking arguments for ctc_loss_allocate_outputs)"
    longest, batch, classes = logs._a.shape
    if logs.dtype not in (dtypes.float32, dtypes.float64):
        raise not_implemented("ctc_loss_cpu", logs)
    if not 0 <= blank < classes:
        raise RuntimeError("blank must be in label range")
    for n in lengths:
        if n < 0:
            raise RuntimeError(f"Expected target_lengths to have value at least 0, but got value "
                               f"{n} {tail}")
    shape = targets._a.shape
    if len(shape) == 1:
        if shape[0] != sum(lengths):
            raise RuntimeError(f"Expected tensor to have size {sum(lengths)} at dimension 0, but "
                               f"got size {shape[0]} for argument #2 'targets' {tail}")
    else:
        if shape[0] != batch:
            raise RuntimeError(f"Expected tensor to have size {batch} at dimension 0, but got size "
                               f"{shape[0]} for argument #2 'targets' {tail}")
        if shape[1] < max(lengths, default=0):
            raise RuntimeError(f"Expected tensor to have size at least {max(lengths)} at dimension "
                               f"1, but got size {shape[1]} for argument #2 'targets' {tail}")
    for n in steps:
        if n < 0:
            raise RuntimeError(f"Expected input_lengths to have value at least 0, but got value "
                               f"{n} {tail}")
        if n > longest:
            raise RuntimeError(f"Expected input_lengths to have value at most {longest}, but got "
                               f"value {n} {tail}")
    for row in _rows_of(targets._a, lengths):
        if row.size and (row.min() < 0 or row.max() >= classes):
            raise IndexError(f"targets must be class numbers from 0 to {classes - 1}")


@public(FUNCTIONAL)
def ctc_loss(log_probs: Tensor, targets: Tensor, input_lengths: Tensor | Sequence[int],
             target_lengths: Tensor | Sequence[int], blank: int = 0, reduction: str = "mean",
             zero_infinity: bool = False) -> Tensor:
    """Minus the log-probability of every target, over all its alignments with the input.

    ``log_probs`` is (T, N, C) or (T, C); ``targets`` (N, S), or all of them in one row. The mean
    is of losses over target lengths. ``zero_infinity`` drops targets longer than their input.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"{reduction} is not a valid value for reduction")
    alone = log_probs.dim() == 2
    logs = log_probs.unsqueeze(1) if alone else log_probs
    batch = logs._a.shape[1]
    steps = _lengths("input_lengths", input_lengths, batch)
    lengths = _lengths("target_lengths", target_lengths, batch)
    labels = targets if targets._a.dtype.kind == "i" else targets.to(dtypes.int64)
    _check(logs, labels, steps, lengths, blank)
    loss = apply(CTC, (logs, labels), {"steps": steps, "lengths": lengths, "blank": blank,
                                       "zero_infinity": zero_infinity})
    if zero_infinity:
        loss = where(loss == np.inf, 0.0, loss)
    if alone:
        loss = loss.squeeze(0)
    if reduction == "mean":
        sizes = wrap(np.maximum(lengths, 1).astype(loss._a.dtype))
        return (loss / (sizes.squeeze(0) if alone else sizes)).mean()
    return reduced(loss, reduction)


@public("torch", name="ctc_loss")
def _ctc_loss(log_probs: Tensor, targets: Tensor, input_lengths: Tensor | Sequence[int],
              target_lengths: Tensor | Sequence[int], blank: int = 0, reduction: int = 1,
              zero_infinity: bool = False) -> Tensor:
    """``nn.functional.ctc_loss`` with the reduction as a number: 0 none, 1 mean, 2 sum."""
    return ctc_loss(log_probs, targets, input_lengths, target_lengths, blank,
                    REDUCTIONS[reduction], zero_infinity)
