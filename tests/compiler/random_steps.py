"""Steps made of random instructions, run eagerly and compiled, and what can be told apart.

A step is a list of instructions (name, a, b, c). Each takes values from a pool by number and adds
its result; what PyTorch refuses adds nothing. A value is `exact` where its last bit is certain:
only such values are rounded, compared or sorted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import flambeau as torch
import flambeau.nn.functional as F
from flambeau import nn
from flambeau.compiler.entry import unit_of

Instruction = tuple[str, int, int, int]
REFUSED = (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError)


def dim(x: Any, k: int) -> int:
    return k % max(x.ndim, 1)


def matrix(x: Any) -> Any:
    return x.reshape(-1, x.shape[-1]) if x.ndim else x.reshape(1, 1)


def small(x: Any) -> Any:
    return x.clamp(-3, 3)


# Of one value and a number; their results are as exact as the value.
MOVES: dict[str, Callable] = {
    "neg": lambda x, k: -x, "abs": lambda x, k: x.abs(), "clone": lambda x, k: x.clone(),
    "double": lambda x, k: x.double(), "float": lambda x, k: x.float(),
    "relu": lambda x, k: x.relu(), "clamp": lambda x, k: x.clamp(-1, k / 4),
    "t": lambda x, k: x.transpose(0, -1), "permute": lambda x, k: x.permute(*range(x.ndim)[::-1]),
    "unsqueeze": lambda x, k: x.unsqueeze(k % (x.ndim + 1)), "squeeze": lambda x, k: x.squeeze(),
    "flat": lambda x, k: x.reshape(-1), "view": lambda x, k: x.view(x.shape[::-1]),
    "narrow": lambda x, k: x.narrow(dim(x, k), k % 2, x.shape[dim(x, k)] - 1),
    "select": lambda x, k: x.select(dim(x, k), k % x.shape[dim(x, k)]),
    "step2": lambda x, k: x[::2], "last": lambda x, k: x[..., -1:], "new": lambda x, k: x[None],
    "expand": lambda x, k: x.expand(2, *x.shape), "flip": lambda x, k: x.flip(dim(x, k)),
    "roll": lambda x, k: x.roll(k, dim(x, k)), "repeat": lambda x, k: x.repeat(2, *[1] * x.ndim),
    "pad": lambda x, k: F.pad(x, (k % 3, 1)), "tril": lambda x, k: x.tril(k % 3 - 1),
    "diagonal": lambda x, k: x.diagonal(), "unfold": lambda x, k: x.unfold(-1, 2, 1),
    "chunk": lambda x, k: x.chunk(2, dim(x, k))[k % 2], "unbind": lambda x, k: x.unbind()[-1],
    "as_strided": lambda x, k: x.as_strided((2, 2), (1, k % 3)),
    "amax": lambda x, k: x.amax(dim(x, k), keepdim=k % 2 == 0), "max": lambda x, k: x.max(),
    "detach": lambda x, k: x.detach(), "contiguous": lambda x, k: x.contiguous(),
    "zeros": lambda x, k: torch.zeros_like(x), "full": lambda x, k: x.new_full((2, k % 4), k),
    "movedim": lambda x, k: x.movedim(0, -1), "half": lambda x, k: x * 0.5,
    "plus": lambda x, k: x + k,
    "empty": lambda x, k: x[:0], "swap": lambda x, k: x.swapaxes(0, dim(x, k)),
    "arange": lambda x, k: torch.arange(k), "eye": lambda x, k: torch.eye(k),
    "nan_to_num": lambda x, k: x.nan_to_num(), "stack": lambda x, k: torch.stack([x, x], -1),
    "reflect": lambda x, k: x + torch.rand(x.shape).to(x.dtype),
    "dropout": lambda x, k: F.dropout(x, 0.5),
    "bernoulli": lambda x, k: torch.bernoulli(x * 0 + 0.5),
    "randint": lambda x, k: torch.randint(0, k + 1, x.shape), "randperm": lambda x, k:
    torch.randperm(k), "long": lambda x, k: torch.arange(x.numel()).view(x.shape)}
# Whose last bit may differ.
INEXACT: dict[str, Callable] = {
    "sum": lambda x, k: x.sum(), "sums": lambda x, k: x.sum(dim(x, k), keepdim=k % 2 == 0),
    "mean": lambda x, k: x.mean(dim(x, k)), "var": lambda x, k: x.var(dim(x, k), correction=0),
    "std": lambda x, k: (x + torch.arange(x.shape[-1])).std(-1),
    "prod": lambda x, k: small(x).prod(),
    "exp": lambda x, k: small(x).exp(), "tanh": lambda x, k: x.tanh(),
    "sigmoid": lambda x, k: x.sigmoid(), "log1p": lambda x, k: x.abs().log1p(),
    "sqrt": lambda x, k: (x.abs() + 1).sqrt(), "gelu": lambda x, k: F.gelu(small(x)),
    "silu": lambda x, k: F.silu(small(x)), "softmax": lambda x, k: x.softmax(dim(x, k)),
    "log_softmax": lambda x, k: x.log_softmax(dim(x, k)), "sin": lambda x, k: x.sin(),
    "logsumexp": lambda x, k: x.logsumexp(dim(x, k)), "norm": lambda x, k: (x + 1).norm(),
    "layer_norm": lambda x, k: F.layer_norm(x + torch.arange(x.shape[-1]), x.shape[-1:]),
    "rms_norm": lambda x, k: F.rms_norm(x + 1, x.shape[-1:]), "cube": lambda x, k: small(x) ** 3,
    "cumsum": lambda x, k: x.cumsum(dim(x, k)), "gram": lambda x, k: small(x) @ small(x).mT,
    "avg_pool": lambda x, k: F.avg_pool1d(matrix(x)[None], 2, 1)[0], "max_pool": lambda x, k:
    F.max_pool1d(matrix(x)[None], 2, 1)[0], "randn": lambda x, k: torch.randn(2, k),
    "group_norm": lambda x, k: F.group_norm(matrix(x)[None] + torch.arange(x.shape[-1]), 1)[0],
    "attention": lambda x, k: F.scaled_dot_product_attention(
        *[small(matrix(x))[None]] * 3, is_causal=k % 2 == 0)[0],
    "cross_entropy": lambda x, k: F.cross_entropy(
        small(matrix(x)), torch.arange(matrix(x).shape[0]) % x.shape[-1]),
    "erf": lambda x, k: x.erf(), "rsqrt": lambda x, k: (x.abs() + 0.5).rsqrt(),
    "normalize": lambda x, k: F.normalize(x + 2, dim=-1), "softplus": lambda x, k: F.softplus(x)}
# Of exact values alone: what they give jumps.
JUMPS: dict[str, Callable] = {
    "int": lambda x, k: x.to(torch.int64), "bool": lambda x, k: x.bool(),
    "sign": lambda x, k: x.sign(),
    "floor": lambda x, k: x.floor(), "round": lambda x, k: x.round(), "gt": lambda x, k: x > k / 9,
    "argmax": lambda x, k: x.argmax(dim(x, k)), "sort": lambda x, k: x.sort(dim(x, k)).values,
    "topk": lambda x, k: x.topk(1, dim(x, k)).values, "any": lambda x, k: x.any(), "all":
    lambda x, k: x.all(dim(x, k)), "not": lambda x, k: x.logical_not(),
    "mod": lambda x, k: x % (k + 1), "floordiv": lambda x, k: x // (k + 1),
    "argsort": lambda x, k: x.argsort(dim(x, k), stable=True),
    "masked": lambda x, k: x.masked_fill(x > 0, 0), "where": lambda x, k: torch.where(x > 0, x, k),
    "pick": lambda x, k: x.gather(-1, x.argmax(-1, keepdim=True)), "numel": lambda x, k:
    torch.count_nonzero(x), "ne": lambda x, k: x != k, "isnan": lambda x, k: x.isnan()}
BINARY: dict[str, Callable] = {
    "add": lambda x, y, k: x + y, "sub": lambda x, y, k: x - y, "mul": lambda x, y, k: x * y,
    "div": lambda x, y, k: x / (1 + y.abs()), "maximum": lambda x, y, k: torch.maximum(x, y),
    "lerp": lambda x, y, k: torch.lerp(x, y, 0.25), "cat": lambda x, y, k: torch.cat([x, y], k % 2),
    "addcmul": lambda x, y, k: torch.addcmul(x, x, y, value=0.5), "row": lambda x, y, k: x + y[0],
    "column": lambda x, y, k: x * y[..., :1], "where2": lambda x, y, k: torch.where(
        (torch.arange(x.shape[-1]) % 2).bool(), x, y), "as": lambda x, y, k: x.expand_as(y),
    "index": lambda x, y, k: x[torch.arange(k % 3) % x.shape[0]] + y.sum() * 0,
    "stack2": lambda x, y, k: torch.stack([x, y]), "to": lambda x, y, k: x.to(y.dtype)}
BINARY_INEXACT: dict[str, Callable] = {
    "matmul": lambda x, y, k: small(x) @ small(y), "linear": lambda x, y, k: F.linear(
        small(x), small(matrix(y)).to(x.dtype)), "mse": lambda x, y, k: F.mse_loss(x, y),
    "conv1d": lambda x, y, k: F.conv1d(small(matrix(x))[None], small(matrix(y))[:, None].expand(
        -1, matrix(x).shape[0], -1)[..., :2].to(x.dtype), padding=k % 2)[0],
    "bce": lambda x, y, k: F.binary_cross_entropy_with_logits(small(x), y.sigmoid()),
    "outer": lambda x, y, k: torch.outer(x.reshape(-1)[:4], y.reshape(-1)[:5]),
    "hypot": lambda x, y, k: torch.hypot(x, y + 1), "einsum": lambda x, y, k: torch.einsum(
        "i,j->ij", small(x).reshape(-1)[:3], small(y).reshape(-1)[:3])}
# Change the first value.
CHANGES: dict[str, Callable] = {
    "add_": lambda x, y, k: x.add_(y), "mul_": lambda x, y, k: x.mul_(0.5), "copy_": lambda x, y, k:
    x.copy_(y), "zero_": lambda x, y, k: x.zero_(), "set0": lambda x, y, k: x[0].fill_(k),
    "setitem": lambda x, y, k: x.__setitem__(slice(None, None, 2), k), "set_last": lambda x, y, k:
    x.__setitem__((..., -1), y.reshape(-1)[:1].sum()), "clamp_": lambda x, y, k: x.clamp_(-1, 1),
    "t_add": lambda x, y, k: x.t().add_(y), "index_add_": lambda x, y, k: x.index_add_(
        0, torch.arange(1), x[:1].detach() * 2),
    "fill_diagonal_": lambda x, y, k: x.fill_diagonal_(k),
    "uniform_": lambda x, y, k: x.uniform_(), "masked_": lambda x, y, k: x.masked_fill_(
        (torch.arange(x.shape[-1]) % 2).bool(), k),
    "view_add_": lambda x, y, k: x.view(-1)[::2].add_(1),
    "sub_": lambda x, y, k: x.sub_(y, alpha=k), "relu_": lambda x, y, k: x.relu_(),
    "out": lambda x, y, k: torch.mul(x, 2, out=x), "iadd": lambda x, y, k: x.__iadd__(y),
    "fill_": lambda x, y, k: x.fill_(y.reshape(-1)[:1].sum().detach())}
# Of the state of the step.
SPECIAL = ("state", "module", "backward", "sgd", "adam", "grad", "buffer", "no_grad", "batch_norm")
NAMES = sorted([*MOVES, *INEXACT, *JUMPS, *BINARY, *BINARY_INEXACT, *CHANGES, *SPECIAL])


class Held(NamedTuple):
    """A value of the pool."""

    value: Any
    exact: bool


class World:
    """What lives on from call to call: parameters, a buffer, modules, optimizers."""

    def __init__(self, shape: tuple[int, ...], held: Any) -> None:
        torch.manual_seed(3)
        self.shape, self.dtype = shape, held
        self.w = (torch.arange(int(np.prod(shape)), dtype=held).view(shape) * 0.25 - 1)
        self.w = self.w.detach().requires_grad_()
        self.state = torch.arange(12, dtype=held).view(4, 3) * 0.5
        self.norm = nn.BatchNorm1d(3, dtype=held)
        self.net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).to(held)
        self.sgd = torch.optim.SGD([self.w], lr=0.125, momentum=0.5)
        self.adam = torch.optim.Adam(self.net.parameters(), lr=0.01)

    def tensors(self) -> list[Any]:
        """All that a step may have changed."""
        return [self.w, self.state, *self.norm.parameters(), *self.norm.buffers(),
                *self.net.parameters(),
                *[t for s in (*self.sgd.state.values(), *self.adam.state.values())
                  for t in s.values() if isinstance(t, torch.Tensor)]]


def arguments(world: World, call: int) -> tuple[Any, ...]:
    """Arguments of a call: one as the world's parameter, a view of it, integers, one of no size."""
    x = torch.randint(-8, 8, world.shape).to(world.dtype) * 0.25
    return x, torch.arange(6).view(2, 3) + call, x.t() if x.ndim == 2 else x[None]


def special(name: str, world: World, x: Held, k: int) -> Held | None:
    if name == "state":
        return Held(world.state, True)
    if name == "buffer":
        with torch.no_grad():
            world.state.add_(x.value.detach().sum().clamp(-1, 1))
        return Held(world.state * 1, False)
    if name == "module":
        return Held(world.net(small(x.value[..., :3])), False)
    if name == "batch_norm":
        return Held(world.norm(small(matrix(x.value)[:, :3] + torch.arange(1.0))), False)
    if name == "backward":
        small(x.value).sum().backward(retain_graph=k % 2 == 0)
    if name == "grad":
        (g,) = torch.autograd.grad(small(x.value).pow(2).sum(), world.w, create_graph=k % 2 == 0)
        return Held(g, False)
    if name in ("sgd", "adam"):
        optimizer = getattr(world, name)
        optimizer.step()
        optimizer.zero_grad(set_to_none=k % 3 != 0)
    if name == "no_grad":
        with torch.no_grad():
            return Held(x.value * 2, x.exact)
    return None


def apply(name: str, world: World, pool: list[Held], a: int, b: int, k: int) -> Held | None:
    """What one instruction adds to the pool."""
    x, y = pool[a % len(pool)], pool[b % len(pool)]
    if name in SPECIAL:
        return special(name, world, x, k)
    if name in MOVES:
        return Held(MOVES[name](x.value, k), x.exact)
    if name in INEXACT:
        return Held(INEXACT[name](x.value, k), False)
    if name in JUMPS:
        return Held(JUMPS[name](x.value, k), True) if x.exact else None
    if name in BINARY:
        return Held(BINARY[name](x.value, y.value, k), x.exact and y.exact and name != "div")
    if name in BINARY_INEXACT:
        return Held(BINARY_INEXACT[name](x.value, y.value, k), False)
    CHANGES[name](x.value, y.value, k)
    # Others may show the same memory, and are no better than what was written into it.
    if not y.exact:
        pool[:] = [Held(p.value, False) for p in pool]
    return None


def step_of(steps: list[Instruction], outputs: list[int], world: World) -> Callable:
    """The step as a function of three tensors."""

    def step(*given: Any) -> Any:
        pool = [Held(t, True) for t in given]
        pool.append(Held(world.w * 1, True))
        for name, a, b, k in steps:
            try:
                found = apply(name, world, pool, a, b, k)
            except REFUSED:
                continue
            if found is not None and found.value.numel() < 500:
                pool.append(found)
        return [pool[i % len(pool)].value for i in outputs], [p.exact for p in pool]

    return step


def look(t: Any, before: bool) -> list[Any]:
    """What can be told of a tensor; its version where it was there ``before`` the step."""
    return [t.detach().clone(), tuple(t.shape), t.dtype, t.stride(), t.requires_grad, t.is_leaf,
            t.grad_fn is None, t._version if before else 0,
            None if not t.is_leaf or t.grad is None else t.grad.detach().clone()]


def sharing(tensors: list[Any]) -> list[list[bool]]:
    """Which tensors share memory."""
    arrays = [t.detach().numpy() for t in tensors]
    return [[bool(np.shares_memory(a, b)) for b in arrays] for a in arrays]


def seen(steps: list[Instruction], outputs: list[int], shape: tuple[int, ...], held: Any,
         compiled: bool, calls: int = 5) -> tuple[list, int]:
    """All that a program can see of a few calls; and how many of them ran compiled."""
    world = World(shape, held)
    step = step_of(steps, outputs, world)
    step = torch.compile(step) if compiled else step
    found: list[Any] = []
    kept: list[Any] = []
    for call in range(calls):
        given = arguments(world, call)
        try:
            result = step(*given)[0]
        except REFUSED as error:
            found.append((type(error).__name__, str(error).splitlines()[:1]))
            continue
        there = [*given, *world.tensors()]
        found.append([look(t, any(t is x for x in there)) for t in (*result, *there)])
        found.append(sharing([*result, *given, world.w, world.state]))
        found.append(after(result, world, call))
        kept += result
        found.append([t.detach().clone() for t in kept])
        world.w.grad = None
    found.append(torch.get_rng_state())
    return found, unit_of(step).runs if compiled else 0


def after(result: list[Any], world: World, call: int) -> Any:
    """What a caller does with results: goes back through them, changes them."""
    looked: list[Any] = []
    total = [t.sum() for t in result if t.requires_grad and t.dtype.is_floating_point]
    if total and call % 2:
        try:
            small(sum(total)).backward()
        except REFUSED as error:
            looked.append((type(error).__name__, str(error).splitlines()[:1]))
        looked.append(None if world.w.grad is None else world.w.grad.clone())
    for t in result[:1]:
        try:
            with torch.no_grad():
                t.mul_(0)
        except REFUSED as error:
            looked.append(type(error).__name__)
    return looked


def difference(a: Any, b: Any, where: str = "") -> str:
    """Where two lookings differ; empty where they do not."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        if a.dtype != b.dtype or a.shape != b.shape:
            return f"{where}: {a.dtype} {tuple(a.shape)} and {b.dtype} {tuple(b.shape)}"
        x, y = (t.double().numpy() for t in (a, b))
        rough = a.dtype == torch.float32
        good = np.allclose(x, y, rtol=2e-3 if rough else 1e-7, atol=2e-3 if rough else 1e-7,
                           equal_nan=True)
        return "" if good else f"{where}: {a} and {b}"
    if isinstance(a, (list, tuple)) and type(a) is type(b) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b)):
            found = difference(x, y, f"{where}.{i}")
            if found:
                return found
        return ""
    return "" if type(a) is type(b) and a == b else f"{where}: {a} and {b}"
