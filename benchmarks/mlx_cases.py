"""The cases of `cases` in MLX: each a call of compiled functions that waits for the result."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
from registry import registrar

Call = Callable[[], object]
CASES: dict[str, Callable[[], Call]] = {}
case = registrar(CASES)


def waiting(function: Callable, *args: Any) -> Call:
    """A call of the compiled function."""
    compiled = mx.compile(function)
    return lambda: mx.eval(compiled(*args))


# Operators


def gelu(x: mx.array) -> mx.array:
    """The tanh-GELU, written out."""
    return 0.5 * x * (1 + mx.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))


CASES["tanh-GELU written out, 4M float32"] = lambda: waiting(gelu, mx.random.normal((4096, 1024)))
CASES["tanh-GELU written out, 1M float32, forward and backward"] = lambda: waiting(
    mx.value_and_grad(lambda x: gelu(x).sum()), mx.random.normal((1024, 1024)))
CASES["softmax 4096x1024"] = lambda: waiting(partial(mx.softmax, axis=1),
                                             mx.random.normal((4096, 1024)))


def _both(function: Callable) -> Callable:
    """Forward and backward of a function of all but the last argument, a gradient."""

    def both(*args: mx.array) -> tuple:
        outs, grads = mx.vjp(function, args[:-1], args[-1:])
        return outs, grads

    return both


CASES["layer_norm 4096x1024, forward and backward"] = lambda: waiting(
    _both(lambda x, w, b: mx.fast.layer_norm(x, w, b, 1e-5)), mx.random.normal((4096, 1024)),
    mx.ones(1024), mx.zeros(1024), mx.ones((4096, 1024)))


def attend(q: mx.array, k: mx.array, v: mx.array) -> mx.array:
    """Causal attention of (batch, heads, places, width)."""
    return mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, mask="causal")


CASES["attention 8x6x128x32, causal, forward and backward"] = lambda: waiting(
    mx.value_and_grad(lambda q, k, v: attend(q, k, v).sum(), (0, 1, 2)),
    *[mx.random.normal((8, 6, 128, 32)) for _ in range(3)])
CASES["48 products 128x32x128"] = lambda: waiting(
    mx.matmul, mx.random.normal((48, 128, 32)), mx.random.normal((48, 32, 128)))
for _n in (512, 1024, 2048):
    CASES[f"product {_n}x{_n}x{_n}"] = lambda n=_n: waiting(lambda a: a @ a,
                                                            mx.random.normal((n, n)))


def _convolution() -> tuple[mx.array, mx.array, mx.array]:
    x = mx.random.normal((32, 56, 56, 64))
    return x, mx.random.normal((64, 3, 3, 64)), mx.ones(x.shape)


def conv(x: mx.array, w: mx.array) -> mx.array:
    """A convolution of channels last, padded by one."""
    return mx.conv2d(x, w, padding=1)


CASES["conv 3x3, 32x64x56x56 to 64, forward"] = lambda: waiting(conv, *_convolution()[:2])
CASES["conv 3x3, 32x64x56x56 to 64, input gradient"] = lambda: waiting(
    lambda x, w, g: mx.vjp(lambda z: conv(z, w), (x,), (g,))[1], *_convolution())
CASES["conv 3x3, 32x64x56x56 to 64, weight gradient"] = lambda: waiting(
    lambda x, w, g: mx.vjp(lambda z: conv(x, z), (w,), (g,))[1], *_convolution())

# Training


def training(net: nn.Module, loss: Callable, optimizer: optim.Optimizer, *data: Any) -> Call:
    """Compiled steps: the loss of ``net``, its gradients, the optimizer."""
    state = [net.state, optimizer.state]
    with_grads = nn.value_and_grad(net, loss)

    def step(*data: Any) -> mx.array:
        value, grads = with_grads(*data)
        optimizer.update(net, grads)
        return value

    optimizer.init(net.trainable_parameters())
    mx.eval(state)
    compiled = mx.compile(step, inputs=state, outputs=state)

    def call() -> object:
        value = compiled(*data)
        mx.eval(state, value)
        return value

    return call


def cross_entropy(logits: mx.array, target: mx.array) -> mx.array:
    """The mean loss over rows of logits."""
    return nn.losses.cross_entropy(logits, target, reduction="mean")


def labels(classes: int, *shape: int) -> mx.array:
    """Random classes."""
    return mx.random.randint(0, classes, shape)


class Line(nn.Module):
    """The lesson's model."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.b = mx.array([2.0]), mx.zeros(1)


@case("the lesson's training step")
def lesson_step() -> Call:
    """One iteration of the lesson's loop."""
    net = Line()
    x = mx.random.randint(10, 40, (10, 1))
    y = 5 * x + mx.random.normal((10, 1))
    return training(net, lambda x, y: 0.5 * ((net.w * x + net.b - y) ** 2).mean(),
                    optim.SGD(0.0001), x, y)


@case("perceptron 2-16-1: forward, backward, SGD")
def tiny_perceptron() -> Call:
    """A step of a tiny network."""
    net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
    return training(net, lambda x, y: ((net(x) - y) ** 2).mean(), optim.SGD(0.01),
                    mx.random.normal((32, 2)), mx.random.normal((32, 1)))


@case("perceptron 784-256-128-10, batch 64, Adam")
def perceptron() -> Call:
    """Two hidden layers."""
    net = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(),
                        nn.Linear(128, 10))
    return training(net, lambda x, y: cross_entropy(net(x), y), optim.Adam(1e-3),
                    mx.random.normal((64, 784)), labels(10, 64))


class Flatten(nn.Module):
    """All but the first axis as one."""

    def __call__(self, x: mx.array) -> mx.array:
        return x.reshape(x.shape[0], -1)


@case("MNIST network, batch 64, Adam")
def convolutions() -> Call:
    """Two convolutions, pooling, two linear layers."""
    net = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(),
                        nn.MaxPool2d(2, 2), Flatten(), nn.Linear(9216, 128), nn.ReLU(),
                        nn.Linear(128, 10))
    return training(net, lambda x, y: cross_entropy(net(x), y), optim.Adam(1e-3),
                    mx.random.normal((64, 28, 28, 1)), labels(10, 64))


class Block(nn.Module):
    """A layer of the GPT."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def __call__(self, x: mx.array) -> mx.array:
        b, t, c = x.shape
        q, k, v = (z.reshape(b, t, self.heads, -1).swapaxes(1, 2)
                   for z in mx.split(self.mix(self.first(x)), 3, axis=-1))
        x = x + self.out(attend(q, k, v).swapaxes(1, 2).reshape(b, t, c))
        return x + self.down(nn.gelu(self.up(self.second(x))))


class GPT(nn.Module):
    """4 layers, 6 heads."""

    def __init__(self, width: int, vocabulary: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(128, width)
        self.blocks = [Block(width, 6) for _ in range(4)]
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

    def __call__(self, index: mx.array) -> mx.array:
        x = self.tokens(index) + self.places(mx.arange(index.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


@case("GPT 4x192, context 128, batch 8, AdamW")
def transformer(vocabulary: int = 65) -> Call:
    """A GPT of 4 layers, 6 heads."""
    net = GPT(192, vocabulary)

    def loss(x: mx.array, y: mx.array) -> mx.array:
        return cross_entropy(net(x).reshape(-1, vocabulary), y.reshape(-1))

    return training(net, loss, optim.AdamW(math.exp(-8)), labels(vocabulary, 8, 128),
                    labels(vocabulary, 8, 128))


class Classifier(nn.Module):
    """An LSTM, whose last state is classified."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(128, 128), nn.Linear(128, 10)

    def __call__(self, x: mx.array) -> mx.array:
        return self.head(self.lstm(x)[0][:, -1])


@case("LSTM 128, 64 steps, batch 32, Adam")
def recurrent() -> Call:
    """One layer of 128."""
    net = Classifier()
    return training(net, lambda x, y: cross_entropy(net(x), y), optim.Adam(1e-3),
                    mx.random.normal((32, 64, 128)), labels(10, 32))
