"""L-BFGS: a quasi-Newton method of limited memory (Liu and Nocedal, Math. Programming 45, 1989)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.autograd.modes import enable_grad, no_grad
from flambeau.core.tensor import Tensor
from flambeau.ops.complex import view_as_real
from flambeau.ops.join import cat
from flambeau.optim.line_search import Point, strong_wolfe
from flambeau.optim.optimizer import Optimizer, ParamsT
from flambeau.optim.stepping import check_learning_rate

__all__ = ["LBFGS"]

# steps with less curvature than this are not remembered
LEAST_CURVATURE = 1e-10
# state that a step leaves for the next, in this order
KEPT = ("d", "t", "old_dirs", "old_stps", "ro", "H_diag", "prev_flat_grad", "prev_loss")


class LBFGS(Optimizer):
    """L-BFGS over one group of parameters: ``step(closure)`` iterates up to ``max_iter`` times.

    ``closure`` clears the gradients, computes the loss, calls backward and returns the loss; it is
    called at most ``max_eval`` times (5/4 of ``max_iter`` by default). ``line_search_fn`` is
    "strong_wolfe" or None, for steps of ``lr``. It ends when no element of the gradient exceeds
    ``tolerance_grad``, or loss or parameters change by less than ``tolerance_change``. The state
    holds ``history_size`` pairs of vectors as large as all parameters together.

    >>> import flambeau as torch
    >>> w = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
    >>> optimizer = torch.optim.LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((w - 1) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> first = optimizer.step(closure)
    >>> w
    Parameter containing:
    tensor([1.0000, 1.0000], requires_grad=True)
    """

    def __init__(self, params: ParamsT, lr: float | Tensor = 1, max_iter: int = 20,
                 max_eval: int | None = None, tolerance_grad: float = 1e-7,
                 tolerance_change: float = 1e-9, history_size: int = 100,
                 line_search_fn: str | None = None) -> None:
        check_learning_rate(lr)
        if max_eval is None:
            max_eval = max_iter * 5 // 4
        super().__init__(params, {
            "lr": lr, "max_iter": max_iter, "max_eval": max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change,
            "history_size": history_size, "line_search_fn": line_search_fn})
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params = self.param_groups[0]["params"]

    @no_grad()
    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Iterate; returns the loss that ``closure`` gave first."""
        if len(self.param_groups) != 1:
            raise AssertionError("Expected exactly one param_group, but got "
                                 f"{len(self.param_groups)}")
        return _Iteration(self, enable_grad()(closure)).run()

    def flat_grad(self) -> Tensor:
        """The gradients of all parameters in one vector; zeros where there is none."""
        return cat([_flat(p, p.grad) for p in self._params], 0)

    def move(self, size: Any, direction: Tensor) -> None:
        """Add ``size`` times the direction, a vector, to the parameters."""
        at = 0
        for p in self._params:
            part = view_as_real(p) if p.dtype.is_complex else p
            count = part.numel()
            part.add_(direction[at:at + count].view_as(part), alpha=size)
            at += count


def _flat(p: Tensor, grad: Tensor | None) -> Tensor:
    if grad is None:
        flat = p.new_zeros(p.numel())
    elif grad.is_sparse:
        flat = grad.to_dense().view(-1)
    else:
        flat = grad.reshape(-1)
    return view_as_real(flat).view(-1) if p.dtype.is_complex else flat


class _Iteration:
    """One call of ``step``."""

    def __init__(self, optimizer: LBFGS, closure: Callable[[], Any]) -> None:
        self.optimizer = optimizer
        self.closure = closure
        self.group = optimizer.param_groups[0]
        lr = self.group["lr"]
        self.lr = lr.squeeze() if isinstance(lr, Tensor) else lr
        self.state = optimizer.state[optimizer._params[0]]
        self.state.setdefault("func_evals", 0)
        self.state.setdefault("n_iter", 0)
        self.now = {name: self.state.get(name) for name in KEPT}

    def run(self) -> Any:
        first = self.closure()
        self.loss = float(first)
        self.evaluations = 1
        self.state["func_evals"] += 1
        self.grad = self.optimizer.flat_grad()
        if self._is_optimal():
            return first
        done = 0
        while done < self.group["max_iter"]:
            done += 1
            self.state["n_iter"] += 1
            if not self._advance(done) or self._should_stop(done):
                break
        self.state.update(self.now)
        return first

    def _is_optimal(self) -> bool:
        return bool(self.grad.abs().max() <= self.group["tolerance_grad"])

    def _advance(self, done: int) -> bool:
        """One iteration; False where the direction is flat."""
        now = self.now
        now["d"] = self._direction()
        if now["prev_flat_grad"] is None:
            now["prev_flat_grad"] = self.grad.clone()
        else:
            now["prev_flat_grad"].copy_(self.grad)
        now["prev_loss"] = self.loss
        if self.state["n_iter"] == 1:
            now["t"] = min(1.0, 1.0 / self.grad.abs().sum()) * self.lr
        else:
            now["t"] = self.lr
        slope = self.grad.dot(now["d"])
        if slope > -self.group["tolerance_change"]:
            return False
        count = self._search(slope) if self.group["line_search_fn"] is not None \
            else self._step(last=done == self.group["max_iter"])
        self.evaluations += count
        self.state["func_evals"] += count
        return True

    def _direction(self) -> Tensor:
        """Minus the gradient times an approximation of the inverse Hessian."""
        now, grad = self.now, self.grad
        if self.state["n_iter"] == 1:
            now.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return grad.neg()
        self._remember(grad.sub(now["prev_flat_grad"]), now["d"].mul(now["t"]))
        changes, steps, inverse = now["old_dirs"], now["old_stps"], now["ro"]
        if "al" not in self.state:
            self.state["al"] = [None] * self.group["history_size"]
        parts = self.state["al"]
        found = grad.neg()
        for i in reversed(range(len(changes))):
            parts[i] = steps[i].dot(found) * inverse[i]
            found.add_(changes[i], alpha=-parts[i])
        found = found.mul(now["H_diag"])
        for change, step, rate, part in zip(changes, steps, inverse, parts):
            found.add_(step, alpha=part - change.dot(found) * rate)
        return found

    def _remember(self, change: Tensor, step: Tensor) -> None:
        """Keep the last step and the change of the gradient, if they say something."""
        curvature = change.dot(step)
        if not curvature > LEAST_CURVATURE:
            return
        now = self.now
        kept = (now["old_dirs"], now["old_stps"], now["ro"])
        if len(kept[0]) == self.group["history_size"]:
            for held in kept:
                held.pop(0)
        for held, value in zip(kept, (change, step, 1.0 / curvature)):
            held.append(value)
        now["H_diag"] = curvature / change.dot(change)

    def _search(self, slope: Any) -> int:
        """Move to the best point along the direction; returns the number of evaluations."""
        if self.group["line_search_fn"] != "strong_wolfe":
            raise RuntimeError("only 'strong_wolfe' is supported")
        direction = self.now["d"]
        before = [p.clone() for p in self.optimizer._params]

        def evaluate(size: Any) -> Point:
            self.optimizer.move(size, direction)
            loss = float(self.closure())
            grad = self.optimizer.flat_grad()
            for p, held in zip(self.optimizer._params, before):
                p.copy_(held)
            return Point(size, loss, grad, grad.dot(direction))

        start = Point(0, self.loss, self.grad, slope)
        best, count = strong_wolfe(evaluate, start, self.now["t"], direction.abs().max(),
                                   limit=self.group["max_eval"] - self.evaluations)
        self.loss, self.grad, self.now["t"] = best.loss, best.grad, best.step
        self.optimizer.move(self.now["t"], direction)
        self.optimal = self._is_optimal()
        return count

    def _step(self, last: bool) -> int:
        """Move by the learning rate; the loss is computed anew but for the last time."""
        self.optimizer.move(self.now["t"], self.now["d"])
        if last:
            return 0
        self.loss = float(self.closure())
        self.grad = self.optimizer.flat_grad()
        self.optimal = self._is_optimal()
        return 1

    def _should_stop(self, done: int) -> bool:
        tolerance = self.group["tolerance_change"]
        return (done == self.group["max_iter"] or self.evaluations >= self.group["max_eval"]
                or self.optimal
                or bool(self.now["d"].mul(self.now["t"]).abs().max() <= tolerance)
                or abs(self.loss - self.now["prev_loss"]) < tolerance)
