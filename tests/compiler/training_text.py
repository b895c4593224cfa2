"""What every random training program has: modules and functions of its own, and state."""

from __future__ import annotations

from typing import Any

__all__ = ["HEADER", "STATE", "Holder"]


class Holder:
    """A result that is no container."""

    def __init__(self, value: Any, more: Any) -> None:
        self.value = value
        self.more = more


HEADER = '''\
import copy, dataclasses, functools, math, operator, random
import numpy as np
import flambeau as torch
from flambeau import nn
import flambeau.nn.functional as F
from flambeau.utils.checkpoint import checkpoint
from tests.compiler.training_text import Holder

TABLE = {"gain": 0.75, "layers": [1.0, 2.0]}
COUNT = 0
MODE = "plain"
WIDE = torch.linspace(-1, 1, 4)


@dataclasses.dataclass
class Config:
    scale: float = 0.5
    flag: bool = True
    table: dict = dataclasses.field(default_factory=dict)


def counted():
    global COUNT
    COUNT += 1


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale=1.0):
        ctx.save_for_backward(x)
        ctx.scale = scale
        return x * x * scale

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x * g * ctx.scale, None


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(x, gate):
        return (x > 0).to(x.dtype), gate * 2

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.mark_non_differentiable()

    @staticmethod
    def backward(ctx, g, h):
        return (g if ctx.needs_input_grad[0] else None), h * 2


class Residual(nn.Module):
    def __init__(self, inner, scale=0.5):
        super().__init__()
        self.inner = inner
        self.scale = scale

    def forward(self, x):
        return x + self.scale * self.inner(x)


class Image(nn.Module):
    """A convolution over 2 x 2 pixels."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x.reshape(-1, 1, 2, 2)).reshape(x.shape)


class Signal(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x[:, None]).squeeze(1)


class Sequence(nn.Module):
    """A recurrent layer, which may keep its state from call to call."""

    def __init__(self, inner, keep=False):
        super().__init__()
        self.inner, self.keep, self.state = inner, keep, None

    def forward(self, x):
        y, state = self.inner(x[None], self.state)
        if self.keep:
            self.state = tuple(s.detach() for s in state) if isinstance(state, tuple) else (
                state.detach())
        return y[0]


class Heads(nn.Module):
    def __init__(self, causal=False):
        super().__init__()
        self.inner = nn.MultiheadAttention(4, 2, dropout=0.1, batch_first=True)
        self.causal = causal

    def forward(self, x):
        mask = torch.ones(len(x), len(x), dtype=torch.bool).triu(1) if self.causal else None
        return self.inner(x[None], x[None], x[None], attn_mask=mask, need_weights=False)[0][0]


class Dot(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(4, 12, bias=False)

    def forward(self, x):
        q, k, v = self.qkv(x)[None].chunk(3, -1)
        return F.scaled_dot_product_attention(q, k, v, is_causal=self.training)[0]


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 4, padding_idx=0)

    def forward(self, x):
        return self.table((x.detach() > 0).sum(-1)) + x


class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.EmbeddingBag(5, 4, mode="sum")

    def forward(self, x):
        return self.table((x.detach() > 0).long() * torch.arange(1, 5)) * 0.1 + x


class Counter(nn.Module):
    """Counts in a buffer and in an attribute."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(4), persistent=False)
        self.calls = 0
        self.bias = nn.Parameter(torch.zeros(4))

    def forward(self, x):
        self.calls += 1
        if self.training:
            self.seen += 1
            self.mean.mul_(0.9).add_(x.detach().sum(0), alpha=0.1)
        return x + self.bias + self.mean * 0.1


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)})
        self.order = ["a", "b"]
        self.options = {"power": 2, "scale": 0.5}
        self.act = torch.sigmoid

    def forward(self, x, *, power=None):
        a, b = (self.parts[name](x) for name in self.order)
        return a * self.act(b) ** (power or self.options["power"]) * self.options["scale"]


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(4, 6)
        self.two = nn.Linear(6, 4, bias=False)
        self.two.weight = nn.Parameter(self.one.weight.detach().t().clone())
        self.three = nn.Linear(4, 6)
        self.three.weight = self.one.weight

    def forward(self, x):
        return self.two(F.gelu(self.one(x)) + self.three(x))


class Net(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.layers = nn.ModuleList(layers)
        self.factor = 1.0
        self.history = []

    def forward(self, x, scale=1.0):
        x = torch.tanh(self.first(x))
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i and self.factor > 1:
                x = x * 0.5
        return x * self.factor * scale

'''

STATE = '''\
state = {"n": 0, "best": None, "seen": []}

log = []

cfg = Config()

gain = 1.25

rate = 0.3

shared = np.full((4,), 0.5)

view = torch.from_numpy(shared)

kept = []

teacher = copy.deepcopy(net)

print = log.append

def helper(a, b, scale=0.25, *more, flag=False):
    if flag:
        return torch.relu(a) + b * scale
    return torch.sin(a) * scale + b

def loud(a):
    b = torch.exp(-a * a)
    if b.sum() > 3:
        log.append("loud")
    return b * a

def turned(fn):
    @functools.wraps(fn)
    def inner(*args, **kwargs):
        return fn(*args, **kwargs) * gain
    return inner

gentle = turned(torch.tanh)
'''.split('\n\n')
