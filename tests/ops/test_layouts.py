"""How results lie in memory where operands are no rows: as PyTorch's do, at any size."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import flambeau

pytestmark = pytest.mark.parity

# The axes of (batch, channels, height, width) as they lie in memory, the outermost first.
ORDERS = {"rows": (0, 1, 2, 3), "channels last": (0, 2, 3, 1), "reversed": (3, 2, 1, 0),
          "turned": (0, 1, 3, 2), "channels between": (0, 2, 1, 3), "batch inside": (1, 0, 2, 3)}
# Expressions of x, and of c, the same by rows.
EXPRESSIONS = """
x.exp() | x + 1 | x.neg() | x > 0 | x + x | x + c | c + x | x * c[:1] | c[:1] * x
x.sum(1, keepdim=True) + x | x + x[..., :1] | x + t.ones(x.shape[-1]) | x.double() + x
t.where(x > 0, c, x) | t.where(c > 0, x, c) | t.lerp(c, x, 0.5) | t.addcmul(x, c, c)
x.clamp(c, x) | t.maximum(x, c) | t.atan2(x, c) | t.complex(x, c) | t.polar(x, x)
x.clone() | x.double() | x.long() | x.half() | t.empty_like(x) | t.zeros_like(x)
t.ones_like(x, dtype=t.int64) | t.rand_like(x) | x.clone(memory_format=t.contiguous_format)
F.gelu(x) | F.silu(x) | F.relu(x) | F.logsigmoid(x) | F.softplus(x) | F.dropout(x, 0.5)
x.flip(0) | x.flip((1, -1)) | x.rot90() | x.roll(1, 0) | x.sort(-1)[0] | x.sort(0)[1]
x.argsort(1) | x.cummax(1)[1] | x.cumsum(0) | x.softmax(1) | x.topk(2)[0]
t.cat([x, x]) | t.cat([x, x], 1) | t.cat([c, x]) | t.stack([x, x]) | t.stack([x, x], 1)
x[I] | x[:, I] | x[..., I] | x[:, I, I] | x[I, :, I] | x[x > 0] | x[x[:, 0, 0, 0] > 0]
x.gather(1, t.zeros_like(x, dtype=t.int64)) | x.index_fill(0, I, 1.0) | x.index_select(1, I)
F.batch_norm(x, None, None, training=True) | F.group_norm(x, 1) | F.layer_norm(x, x.shape[-1:])
F.max_pool2d(x, 2) | F.avg_pool2d(x, 2) | F.adaptive_avg_pool2d(x, 2) | F.pad(x, (1, 1))
F.pad(x, (1, 1, 1, 1), mode="reflect") | F.interpolate(x, scale_factor=2) | F.pixel_shuffle(x, 1)
F.conv2d(x, t.ones(4, x.shape[1], 2, 2)) | F.conv2d(c, W) | F.conv_transpose2d(x, V)
x @ x.mT | t.einsum("abcd,abcd->abcd", x, c) | t.einsum("abcd,ad->abcd", x, x[:, 0, 0])
x.repeat(1, 2, 1, 1) | x.masked_fill(x > 0, 1) | x.tril()
"""
CASES = [e.strip() for e in EXPRESSIONS.replace("\n", "|").split("|") if e.strip()]


def _strides(t: Any, expression: str, values: np.ndarray, make: Any) -> tuple:
    x = make(t.from_numpy(values))
    channels = x.shape[1]
    last = {"memory_format": t.channels_last}
    names = {"t": t, "F": t.nn.functional, "x": x, "c": x.contiguous(), "I": t.tensor([1, 0]),
             "W": t.ones(4, channels, 2, 2).to(**last), "V": t.ones(channels, 4, 2, 2)}
    found = eval(expression, names)
    return tuple(found.shape), found.stride()


def _laid(order: tuple) -> Any:
    back = [int(i) for i in np.argsort(order)]
    return lambda t: t.permute(order).contiguous().permute(back)


@pytest.mark.parametrize("size", [(2, 3, 4, 5), (3, 8, 44, 44)], ids=["small", "large"])
@pytest.mark.parametrize("expression", CASES)
def test_strides(expression: str, size: tuple, torch_oracle: ModuleType) -> None:
    values = np.random.default_rng(0).normal(size=size).astype(np.float32)
    makers = {name: _laid(order) for name, order in ORDERS.items()}
    if size[1] == 3:
        makers["every second"] = lambda t: t.repeat(1, 1, 1, 2)[..., ::2]
        makers["some channels"] = lambda t: _laid(ORDERS["channels last"])(
            t.repeat(1, 2, 1, 1))[:, ::2]
        makers["expanded"] = lambda t: t[:, :1].expand(size)
    for name, make in makers.items():
        theirs = _strides(torch_oracle, expression, values, make)
        assert _strides(flambeau, expression, values, make) == theirs, name


@pytest.mark.parametrize("expression", ["x.flip(0)", "x.flip(())", "x.flip(1)", "x.rot90(2)"])
def test_flips_have_memory_of_their_own(expression: str) -> None:
    for x in (flambeau.ones(1, 3), flambeau.ones(3, 1).t(), flambeau.ones(2, 3).t()):
        found = eval(expression, {"x": x})
        found.zero_()
        assert bool((x == 1).all())
