"""Random small programs of views, in-place operations and saved tensors, run on any framework."""

from __future__ import annotations

import random
from typing import Any

# Each is a function of (torch, tensor, other tensor, random numbers already drawn).
VIEWS = {
    "select": lambda m, t, o, r: t.select(0, r[0] % t.shape[0]) if t.ndim else t.view(1),
    "slice": lambda m, t, o, r: t[..., r[0] % 2:] if t.ndim else t.unsqueeze(0),
    "step": lambda m, t, o, r: t[::2] if t.ndim else t.view(()),
    "mT": lambda m, t, o, r: t.transpose(0, -1) if t.ndim else t.expand(2),
    "flat": lambda m, t, o, r: t.reshape(-1),
    "unsqueeze": lambda m, t, o, r: t.unsqueeze(0),
    "expand": lambda m, t, o, r: t.expand(2, *t.shape),
    "diagonal": lambda m, t, o, r: t.diagonal() if t.ndim > 1 else t.detach(),
    "detach": lambda m, t, o, r: t.detach(),
    "unbind": lambda m, t, o, r: t.unbind(0)[0] if t.ndim else t.clone(),
    "split": lambda m, t, o, r: t.split(1, 0)[0] if t.ndim else t.clone(),
    "no_grad_view": lambda m, t, o, r: _without(m, lambda: t.view(t.shape)),
    "data": lambda m, t, o, r: t.data,
}
PURE = {
    "mul": lambda m, t, o, r: t * o,
    "add": lambda m, t, o, r: t + o,
    "sin": lambda m, t, o, r: t.sin(),
    "tanh": lambda m, t, o, r: t.tanh(),
    "square": lambda m, t, o, r: t * t,
    "scale": lambda m, t, o, r: t * 1.5,
    "clone": lambda m, t, o, r: t.clone(),
    "sum": lambda m, t, o, r: t.sum(),
    "div": lambda m, t, o, r: t / (o * o + 1),
    "where": lambda m, t, o, r: m.where(t > 0, t, o),
    "cat": lambda m, t, o, r: m.cat([t.reshape(-1), o.reshape(-1)]),
}
CHANGES = {
    "mul_": lambda m, t, o, r: t.mul_(o),
    "add_": lambda m, t, o, r: t.add_(o),
    "sub_": lambda m, t, o, r: t.sub_(0.5),
    "mul_number": lambda m, t, o, r: t.mul_(0.5),
    "sin_": lambda m, t, o, r: t.sin_(),
    "tanh_": lambda m, t, o, r: t.tanh_(),
    "zero_": lambda m, t, o, r: t.zero_(),
    "fill_": lambda m, t, o, r: t.fill_(0.7),
    "copy_": lambda m, t, o, r: t.copy_(o),
    "set_item": lambda m, t, o, r: _set(t, r, o),
    "set_number": lambda m, t, o, r: _set(t, r, 2.0),
    "square_": lambda m, t, o, r: t.mul_(t),
    "no_grad": lambda m, t, o, r: _without(m, lambda: t.mul_(0.5)),
    "detach_": lambda m, t, o, r: t.detach_(),
    "masked": lambda m, t, o, r: t.masked_fill_(t > 0.5, 0.1),
}
KINDS = (VIEWS, PURE, CHANGES)


def _without(m: Any, run: Any) -> Any:
    with m.no_grad():
        return run()


def _set(t: Any, r: list[int], value: Any) -> Any:
    t[r[1] % t.shape[0] if t.ndim else ...] = value
    return t


def draw(seed: int, length: int = 9) -> list[tuple]:
    """The steps of a program: (kind, name, which tensor, which other, random numbers)."""
    rng = random.Random(seed)
    steps = []
    for _ in range(length):
        kind = rng.choice((0, 0, 1, 1, 1, 2, 2))
        name = rng.choice(sorted(KINDS[kind]))
        steps.append((kind, name, rng.randrange(100), rng.randrange(100),
                      [rng.randrange(5) for _ in range(3)]))
    return steps


def run(torch: Any, steps: list[tuple]) -> list:
    """What every step did: the values or the kind of error; at the end the gradients."""
    leaves = [torch.tensor([[0.5, -1.0, 0.25], [2.0, 0.75, -0.5]], dtype=torch.float64),
              torch.tensor([1.5, -0.5, 0.8], dtype=torch.float64)]
    for leaf in leaves:
        leaf.requires_grad_()
    pool = [leaves[0] * 1, leaves[1] * 1, leaves[0], leaves[1],
            torch.full((3,), 0.3, dtype=torch.float64)]
    log: list = []
    for kind, name, i, j, numbers in steps:
        t, o = pool[-1 - i % min(len(pool), 6)], pool[j % len(pool)]
        try:
            found = KINDS[kind][name](torch, t, o, numbers)
            log.append((name, found.requires_grad, found.is_leaf, found.tolist()))
        except (RuntimeError, IndexError) as error:
            log.append((name, type(error).__name__, str(error).split("\n")[0][:40]))
            continue
        if kind < 2:
            pool.append(found)
    log.append([t.tolist() for t in pool])
    log.append([_needs(t) for t in pool])
    log.append(_gradients(torch, pool, leaves))
    return log


def _needs(t: Any) -> Any:
    try:
        return t.requires_grad
    except RuntimeError as error:
        return str(error)[:40]


def _gradients(torch: Any, pool: list, leaves: list) -> Any:
    used = [t for t in pool if _needs(t) is True]
    try:
        total = sum([(t * (k + 1)).sum() for k, t in enumerate(used)])
        grads = torch.autograd.grad(total, leaves, allow_unused=True)
    except RuntimeError as error:
        return type(error).__name__, str(error)[:40]
    return [None if g is None else g.tolist() for g in grads]
