"""The cases of `cases` in JAX: each a call of jitted functions that waits for the result."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from registry import registrar

Call = Callable[[], object]
CASES: dict[str, Callable[[], Call]] = {}
case = registrar(CASES)


def normal(seed: int, *shape: int) -> jax.Array:
    """Normal numbers."""
    return jax.random.normal(jax.random.key(seed), shape, jnp.float32)


def waiting(function: Callable, *args: Any) -> Call:
    """A call of the jitted function."""
    jitted = jax.jit(function)
    return lambda: jax.block_until_ready(jitted(*args))


# Operators


def gelu(x: jax.Array) -> jax.Array:
    """The tanh-GELU, written out."""
    return 0.5 * x * (1 + jnp.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))


CASES["tanh-GELU written out, 4M float32"] = lambda: waiting(gelu, normal(0, 4096, 1024))
CASES["tanh-GELU written out, 1M float32, forward and backward"] = lambda: waiting(
    jax.value_and_grad(lambda x: gelu(x).sum()), normal(0, 1024, 1024))
CASES["softmax 4096x1024"] = lambda: waiting(partial(jax.nn.softmax, axis=1),
                                             normal(0, 4096, 1024))


def normed(x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
    """Layer norm over the last axis."""
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * w + b


@case("layer_norm 4096x1024, forward and backward")
def layer_norm() -> Call:
    """With weight and bias."""

    def both(x: jax.Array, w: jax.Array, b: jax.Array, g: jax.Array) -> tuple:
        y, back = jax.vjp(normed, x, w, b)
        return y, back(g)

    x = normal(0, 4096, 1024)
    return waiting(both, x, jnp.ones(1024), jnp.zeros(1024), jnp.ones_like(x))


def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Causal attention of (batch, heads, places, width)."""
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1])
    seen = jnp.tril(jnp.ones(scores.shape[-2:], bool))
    return jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), axis=-1) @ v


CASES["attention 8x6x128x32, causal, forward and backward"] = lambda: waiting(
    jax.value_and_grad(lambda q, k, v: attend(q, k, v).sum(), (0, 1, 2)),
    *[normal(i, 8, 6, 128, 32) for i in range(3)])
CASES["48 products 128x32x128"] = lambda: waiting(jnp.matmul, normal(0, 48, 128, 32),
                                                  normal(1, 48, 32, 128))
for _n in (512, 1024, 2048):
    CASES[f"product {_n}x{_n}x{_n}"] = lambda n=_n: waiting(lambda a: a @ a, normal(0, n, n))


def conv(x: jax.Array, w: jax.Array, padding: str = "SAME") -> jax.Array:
    """A convolution in the layout that suits JAX on a CPU: channels last."""
    return jax.lax.conv_general_dilated(x, w, (1, 1), padding,
                                        dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _convolution() -> tuple[jax.Array, jax.Array, jax.Array]:
    x = normal(0, 32, 56, 56, 64)
    return x, normal(1, 3, 3, 64, 64), jnp.ones_like(x)


CASES["conv 3x3, 32x64x56x56 to 64, forward"] = lambda: waiting(conv, *_convolution()[:2])
CASES["conv 3x3, 32x64x56x56 to 64, input gradient"] = lambda: waiting(
    lambda x, w, g: jax.vjp(lambda z: conv(z, w), x)[1](g), *_convolution())
CASES["conv 3x3, 32x64x56x56 to 64, weight gradient"] = lambda: waiting(
    lambda x, w, g: jax.vjp(lambda z: conv(x, z), w)[1](g), *_convolution())

# Training


def training(loss: Callable, update: Callable, state: Any, *data: Any) -> Call:
    """Steps of ``update(state, gradients)``, the state handed on from call to call."""

    @partial(jax.jit, donate_argnums=0)
    def step(state: Any, *data: Any) -> tuple:
        value, grads = jax.value_and_grad(loss)(state["net"], *data)
        return value, update(state, grads)

    def call() -> object:
        nonlocal state
        value, state = jax.block_until_ready(step(state, *data))
        return value

    return call


def adam_state(net: Any) -> dict:
    """What Adam needs: the network, both moments, the steps done."""
    zeros = jax.tree.map(jnp.zeros_like, net)
    return {"net": net, "m": zeros, "v": jax.tree.map(jnp.copy, zeros), "t": jnp.zeros(())}


def adam(state: dict, grads: Any, lr: float = 1e-3, decay: float = 0.0) -> dict:
    """Adam; with decay, AdamW."""
    t = state["t"] + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, state["m"], grads)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, state["v"], grads)
    slow, fast = 1 - 0.9 ** t, 1 - 0.999 ** t

    def moved(w: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
        return w * (1 - lr * decay) - lr * (m / slow) / (jnp.sqrt(v / fast) + 1e-8)

    return {"net": jax.tree.map(moved, state["net"], m, v), "m": m, "v": v, "t": t}


def sgd(rate: float) -> Callable:
    """Plain gradient descent."""
    return lambda state, grads: {
        "net": jax.tree.map(lambda w, g: w - rate * g, state["net"], grads)}


def layer(seed: int, inputs: int, outputs: int) -> tuple:
    """A linear layer's weight and bias."""
    return normal(seed, inputs, outputs) / math.sqrt(inputs), jnp.zeros(outputs)


def linear(x: jax.Array, both: tuple) -> jax.Array:
    """A linear layer."""
    return x @ both[0] + both[1]


def cross_entropy(logits: jax.Array, target: jax.Array) -> jax.Array:
    """The mean loss over rows of logits."""
    found = jnp.take_along_axis(jax.nn.log_softmax(logits), target[:, None], 1)
    return -found.mean()


def labels(classes: int, *shape: int) -> jax.Array:
    """Random classes."""
    return jax.random.randint(jax.random.key(9), shape, 0, classes)


@case("the lesson's training step")
def lesson_step() -> Call:
    """One iteration of the lesson's loop."""
    x = jax.random.randint(jax.random.key(1), (10, 1), 10, 40)
    y = 5 * x + normal(2, 10, 1)
    return training(lambda net, x, y: 0.5 * ((net[0] * x + net[1] - y) ** 2).mean(), sgd(0.0001),
                    {"net": (jnp.array([2.0]), jnp.zeros(1))}, x, y)


@case("perceptron 2-16-1: forward, backward, SGD")
def tiny_perceptron() -> Call:
    """A step of a tiny network."""

    def loss(net: tuple, x: jax.Array, y: jax.Array) -> jax.Array:
        return ((linear(jnp.tanh(linear(x, net[0])), net[1]) - y) ** 2).mean()

    return training(loss, sgd(0.01), {"net": (layer(0, 2, 16), layer(1, 16, 1))},
                    normal(2, 32, 2), normal(3, 32, 1))


@case("perceptron 784-256-128-10, batch 64, Adam")
def perceptron() -> Call:
    """Two hidden layers."""

    def loss(net: list, x: jax.Array, y: jax.Array) -> jax.Array:
        for one in net[:-1]:
            x = jax.nn.relu(linear(x, one))
        return cross_entropy(linear(x, net[-1]), y)

    net = [layer(0, 784, 256), layer(1, 256, 128), layer(2, 128, 10)]
    return training(loss, adam, adam_state(net), normal(3, 64, 784), labels(10, 64))


@case("MNIST network, batch 64, Adam")
def convolutions() -> Call:
    """Two convolutions, pooling, two linear layers."""

    def loss(net: list, x: jax.Array, y: jax.Array) -> jax.Array:
        for w, b in net[:2]:
            x = jax.nn.relu(conv(x, w, "VALID") + b)
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        x = jax.nn.relu(linear(x.reshape(len(x), -1), net[2]))
        return cross_entropy(linear(x, net[3]), y)

    net = [(normal(0, 3, 3, 1, 32) / 3, jnp.zeros(32)),
           (normal(1, 3, 3, 32, 64) / 17, jnp.zeros(64)), layer(2, 9216, 128), layer(3, 128, 10)]
    return training(loss, adam, adam_state(net), normal(4, 64, 28, 28, 1), labels(10, 64))


def _block(x: jax.Array, net: dict, heads: int = 6) -> jax.Array:
    b, t, c = x.shape
    mixed = linear(normed(x, *net["first"]), net["mix"]).reshape(b, t, 3, heads, c // heads)
    q, k, v = mixed.transpose(2, 0, 3, 1, 4)
    x = x + linear(attend(q, k, v).swapaxes(1, 2).reshape(b, t, c), net["out"])
    hidden = jax.nn.gelu(linear(normed(x, *net["second"]), net["up"]), approximate=False)
    return x + linear(hidden, net["down"])


@case("GPT 4x192, context 128, batch 8, AdamW")
def transformer(width: int = 192, vocabulary: int = 65) -> Call:
    """A GPT of 4 layers, 6 heads."""

    def loss(net: dict, x: jax.Array, y: jax.Array) -> jax.Array:
        h = net["tokens"][x] + net["places"]
        for block in net["blocks"]:
            h = _block(h, block)
        logits = normed(h, *net["norm"]) @ net["head"]
        return cross_entropy(logits.reshape(-1, vocabulary), y.reshape(-1))

    def norm() -> tuple:
        return jnp.ones(width), jnp.zeros(width)

    blocks = [{"first": norm(), "second": norm(), "mix": layer(i, width, 3 * width),
               "out": layer(i + 10, width, width), "up": layer(i + 20, width, 4 * width),
               "down": layer(i + 30, 4 * width, width)} for i in range(4)]
    net = {"tokens": normal(1, vocabulary, width), "places": normal(2, 128, width),
           "blocks": blocks, "norm": norm(), "head": layer(3, width, vocabulary)[0]}
    return training(loss, partial(adam, lr=math.exp(-8), decay=0.01), adam_state(net),
                    labels(vocabulary, 8, 128), labels(vocabulary, 8, 128))


@case("LSTM 128, 64 steps, batch 32, Adam")
def recurrent() -> Call:
    """One layer, the last state of which is classified."""

    def loss(net: dict, x: jax.Array, y: jax.Array) -> jax.Array:
        def step(state: tuple, gates: jax.Array) -> tuple:
            h, c = state
            i, f, g, o = jnp.split(gates + linear(h, net["hidden"]), 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

        gates = linear(x, net["input"]).swapaxes(0, 1)
        zeros = jnp.zeros((x.shape[0], 128))
        (h, _), _ = jax.lax.scan(step, (zeros, zeros), gates)
        return cross_entropy(linear(h, net["head"]), y)

    net = {"input": layer(0, 128, 512), "hidden": layer(1, 128, 512), "head": layer(2, 128, 10)}
    return training(loss, adam, adam_state(net), normal(3, 32, 64, 128), labels(10, 32))
