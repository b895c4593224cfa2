"""The cases of `cases` in tinygrad: each a call of a jitted function that waits for the result."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from registry import registrar
from tinygrad import Context, Device, Tensor, TinyJit, nn

Call = Callable[[], object]
CASES: dict[str, Callable[[], Call]] = {}
case = registrar(CASES)


def normal(*shape: int) -> Tensor:
    """Normal numbers, computed already."""
    return Tensor.randn(*shape).realize()


def waiting(function: Callable, *args: Any) -> Call:
    """A call of the jitted function, whose results are realized."""

    @TinyJit
    def jitted(*args: Any) -> Any:
        found = function(*args)
        several = found if isinstance(found, tuple) else (found,)
        several[0].realize(*several[1:])
        return found

    def call() -> object:
        found = jitted(*args)
        Device[Device.DEFAULT].synchronize()
        return found

    return call


# Operators


def gelu(x: Tensor) -> Tensor:
    """The tanh-GELU, written out."""
    return 0.5 * x * (1 + (0.7978845608 * (x + 0.044715 * x * x * x)).tanh())


def _gelu_both_ways(x: Tensor) -> tuple:
    loss = gelu(x).sum()
    return loss, *loss.gradient(x)


def _norm_both_ways(x: Tensor, w: Tensor, b: Tensor, g: Tensor) -> tuple:
    y = x.layernorm() * w + b
    return y, *y.gradient(x, w, b, gradient=g)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of (batch, heads, places, width)."""
    return q.scaled_dot_product_attention(k, v, is_causal=True)


def _attention_both_ways(q: Tensor, k: Tensor, v: Tensor) -> tuple:
    loss = attend(q, k, v).sum()
    return loss, *loss.gradient(q, k, v)


CASES["tanh-GELU written out, 4M float32"] = lambda: waiting(gelu, normal(4096, 1024))
CASES["tanh-GELU written out, 1M float32, forward and backward"] = lambda: waiting(
    _gelu_both_ways, normal(1024, 1024))
CASES["softmax 4096x1024"] = lambda: waiting(lambda x: x.softmax(1), normal(4096, 1024))
CASES["layer_norm 4096x1024, forward and backward"] = lambda: waiting(
    _norm_both_ways, normal(4096, 1024), normal(1024), normal(1024), normal(4096, 1024))
CASES["attention 8x6x128x32, causal, forward and backward"] = lambda: waiting(
    _attention_both_ways, *[normal(8, 6, 128, 32) for _ in range(3)])
CASES["48 products 128x32x128"] = lambda: waiting(lambda q, k: q @ k, normal(48, 128, 32),
                                                  normal(48, 32, 128))
for _n in (512, 1024, 2048):
    CASES[f"product {_n}x{_n}x{_n}"] = lambda n=_n: waiting(lambda a: a @ a, normal(n, n))


def _convolution() -> tuple[Tensor, Tensor, Tensor]:
    return normal(32, 64, 56, 56), normal(64, 64, 3, 3), normal(32, 64, 56, 56)


CASES["conv 3x3, 32x64x56x56 to 64, forward"] = lambda: waiting(
    lambda x, w: x.conv2d(w, padding=1), *_convolution()[:2])
CASES["conv 3x3, 32x64x56x56 to 64, input gradient"] = lambda: waiting(
    lambda x, w, g: x.conv2d(w, padding=1).gradient(x, gradient=g)[0], *_convolution())
CASES["conv 3x3, 32x64x56x56 to 64, weight gradient"] = lambda: waiting(
    lambda x, w, g: x.conv2d(w, padding=1).gradient(w, gradient=g)[0], *_convolution())

# Training


def training(loss: Callable, optimizer: Any, *data: Tensor) -> Call:
    """Jitted steps: the loss, its gradients, the optimizer."""

    @Context(TRAINING=1)
    def step(*data: Tensor) -> Tensor:
        optimizer.zero_grad()
        value = loss(*data)
        value.backward()
        return value.realize(*optimizer.schedule_step())

    return waiting(step, *data)


def labels(classes: int, *shape: int) -> Tensor:
    """Random classes."""
    return Tensor.randint(*shape, low=0, high=classes).realize()


@case("the lesson's training step")
def lesson_step() -> Call:
    """One iteration of the lesson's loop."""
    w, b = Tensor([2.0]), Tensor.zeros(1).contiguous()
    x = Tensor.randint(10, 1, low=10, high=40).realize()
    y = (5 * x + Tensor.randn(10, 1)).realize()
    return training(lambda x, y: 0.5 * ((w * x + b - y) ** 2).mean(),
                    nn.optim.SGD([w, b], lr=0.0001), x, y)


@case("perceptron 2-16-1: forward, backward, SGD")
def tiny_perceptron() -> Call:
    """A step of a tiny network."""
    first, second = nn.Linear(2, 16), nn.Linear(16, 1)
    return training(lambda x, y: ((second(first(x).tanh()) - y) ** 2).mean(),
                    nn.optim.SGD(nn.state.get_parameters([first, second]), lr=0.01),
                    normal(32, 2), normal(32, 1))


@case("perceptron 784-256-128-10, batch 64, Adam")
def perceptron() -> Call:
    """Two hidden layers."""
    net = [nn.Linear(784, 256), Tensor.relu, nn.Linear(256, 128), Tensor.relu, nn.Linear(128, 10)]
    return training(lambda x, y: x.sequential(net).cross_entropy(y),
                    nn.optim.Adam(nn.state.get_parameters(net)), normal(64, 784), labels(10, 64))


@case("MNIST network, batch 64, Adam")
def convolutions() -> Call:
    """Two convolutions, pooling, two linear layers."""
    net = [nn.Conv2d(1, 32, 3), Tensor.relu, nn.Conv2d(32, 64, 3), Tensor.relu,
           Tensor.max_pool2d, lambda x: x.flatten(1), nn.Linear(9216, 128), Tensor.relu,
           nn.Linear(128, 10)]
    return training(lambda x, y: x.sequential(net).cross_entropy(y),
                    nn.optim.Adam(nn.state.get_parameters(net)), normal(64, 1, 28, 28),
                    labels(10, 64))


class Block:
    """A layer of the GPT."""

    def __init__(self, width: int, heads: int) -> None:
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def __call__(self, x: Tensor) -> Tensor:
        b, t, c = x.shape
        q, k, v = (z.reshape(b, t, self.heads, -1).transpose(1, 2)
                   for z in self.mix(self.first(x)).chunk(3, dim=-1))
        x = x + self.out(attend(q, k, v).transpose(1, 2).reshape(b, t, c))
        return x + self.down(self.up(self.second(x)).gelu())


@case("GPT 4x192, context 128, batch 8, AdamW")
def transformer(width: int = 192, vocabulary: int = 65) -> Call:
    """A GPT of 4 layers, 6 heads."""
    tokens, places = nn.Embedding(vocabulary, width), nn.Embedding(128, width)
    blocks = [Block(width, 6) for _ in range(4)]
    norm, head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

    def loss(x: Tensor, y: Tensor) -> Tensor:
        h = tokens(x) + places(Tensor.arange(x.shape[1]))
        logits = head(norm(h.sequential(blocks)))
        return logits.reshape(-1, vocabulary).cross_entropy(y.reshape(-1))

    parameters = nn.state.get_parameters([tokens, places, blocks, norm, head])
    return training(loss, nn.optim.AdamW(parameters, lr=math.exp(-8)),
                    labels(vocabulary, 8, 128), labels(vocabulary, 8, 128))


@case("LSTM 128, 64 steps, batch 32, Adam")
def recurrent() -> Call:
    """One layer of 128, its steps unrolled; the last state is classified."""
    cell, head = nn.LSTMCell(128, 128), nn.Linear(128, 10)

    def loss(x: Tensor, y: Tensor) -> Tensor:
        state = None
        for t in range(x.shape[1]):
            state = cell(x[:, t], state)
        return head(state[0]).cross_entropy(y)

    return training(loss, nn.optim.Adam(nn.state.get_parameters([cell, head])),
                    normal(32, 64, 128), labels(10, 32))
