"""Large inputs, which run as generated kernels, against the same in NumPy and float64."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import flambeau as torch
from flambeau.backends import large, threads

F = torch.nn.functional
pytestmark = pytest.mark.skipif(not large.available(), reason="needs llvmlite")


def both_ways(function, arrays, dtype):
    """The result, and the gradients of the floating inputs, of a function of tensors."""
    inputs = [torch.tensor(a.astype(dtype) if a.dtype.kind == "f" else a) for a in arrays]
    wanted = [t.requires_grad_() for t in inputs if t.is_floating_point()]
    result = function(*inputs)
    weights = np.cos(np.arange(result.numel())).reshape(tuple(result.shape)).astype(dtype)
    grads = torch.autograd.grad(result, wanted, torch.tensor(weights))
    return [t.detach().numpy() for t in (result, *grads)]


def compare(monkeypatch, function, *shapes, loose=1.0, integers=()):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape) * 2 + 0.5 for shape in shapes] + list(integers)
    with monkeypatch.context() as patch:
        patch.setattr(large, "load", functools.cache(lambda: None))
        patch.setattr(large, "_ran", {})
        wants = both_ways(function, arrays, "f8")
    for dtype, allowed in (("f4", 2e-5), ("f8", 1e-11)):
        founds = both_ways(function, arrays, dtype)
        assert len(founds) == len(wants)
        for found, want in zip(founds, wants):
            assert found.dtype == dtype and found.shape == want.shape
            scale = max(1.0, np.abs(want).max())
            assert np.abs(found - want).max() <= allowed * loose * scale


MATRICES = [(100, 101), (3, 5000), (2000, 7), (33, 513)]
ACTIVATIONS = {
    "relu": F.relu, "leaky_relu": lambda x: F.leaky_relu(x, 0.2), "elu": lambda x: F.elu(x, 0.7),
    "selu": F.selu, "celu": lambda x: F.celu(x, 1.5), "gelu": F.gelu, "silu": F.silu,
    "tanh gelu": lambda x: F.gelu(x, approximate="tanh"), "mish": F.mish,
    "softplus": lambda x: F.softplus(x, 2.0, 4.0), "logsigmoid": F.logsigmoid,
    "hardtanh": F.hardtanh, "hardsigmoid": F.hardsigmoid, "hardswish": F.hardswish,
    "softshrink": F.softshrink, "hardshrink": F.hardshrink, "tanhshrink": F.tanhshrink,
    "threshold": lambda x: F.threshold(x, 0.1, -3.0), "tanh": torch.tanh,
    "sigmoid": torch.sigmoid, "exp": lambda x: torch.exp(x / 4), "square": torch.square,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(monkeypatch, name):
    compare(monkeypatch, ACTIVATIONS[name], (101, 103))


@pytest.mark.parametrize("shape", MATRICES)
@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("function", [torch.softmax, torch.log_softmax])
def test_softmax(monkeypatch, function, dim, shape):
    compare(monkeypatch, lambda x: function(x, dim), shape)


@pytest.mark.parametrize("shape", MATRICES)
@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm(monkeypatch, shape, affine):
    size = shape[1]
    if affine:
        compare(monkeypatch, lambda x, w, b: F.layer_norm(x, (size,), w, b), shape, size, size)
        compare(monkeypatch, lambda x, w: F.layer_norm(x, (size,), w), shape, size)
    else:
        compare(monkeypatch, lambda x: F.layer_norm(x, (size,)), shape)


@pytest.mark.parametrize("shape", MATRICES)
def test_rms_norm(monkeypatch, shape):
    size = shape[1]
    compare(monkeypatch, lambda x, w: F.rms_norm(x, (size,), w), shape, size)
    compare(monkeypatch, lambda x: F.rms_norm(x, (size,)), shape)


IMAGES = [(32, 16, 9, 9), (5, 4, 40, 41), (1, 8, 40, 40), (2000, 12), (64, 20, 31)]


@pytest.mark.parametrize("shape", IMAGES)
def test_batch_norm(monkeypatch, shape):
    channels = shape[1]
    compare(monkeypatch, lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
            shape, channels, channels)
    mean, var = torch.arange(channels) * 0.1, torch.arange(channels) * 0.3 + 0.2
    compare(monkeypatch, lambda x, w, b: F.batch_norm(
        x, mean.to(x.dtype), var.to(x.dtype), w, b, False), shape, channels, channels)


@pytest.mark.parametrize("shape", [shape for shape in IMAGES if len(shape) > 2])
@pytest.mark.parametrize("groups", [1, 4])
def test_group_norm(monkeypatch, shape, groups):
    channels = shape[1]
    compare(monkeypatch, lambda x, w, b: F.group_norm(x, groups, w, b), shape, channels, channels)
    compare(monkeypatch, lambda x: F.group_norm(x, groups), shape)


@pytest.mark.parametrize("shape", [(100, 101), (8, 11, 13, 17), (4, 300, 40)])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy(monkeypatch, shape, reduction):
    rng = np.random.default_rng(1)
    target = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    compare(monkeypatch, lambda x, t: F.cross_entropy(x, t, reduction=reduction), shape,
            integers=[target])
    target[target == 5] = -100
    compare(monkeypatch, lambda x, t: F.cross_entropy(x, t, reduction=reduction), shape,
            integers=[target])


def test_cross_entropy_of_large_logits_keeps_its_digits():
    logits = torch.full((100, 100), 30000.0)
    logits[:, 3] = 30001.0
    loss = F.cross_entropy(logits, torch.full((100,), 3))
    assert abs(loss.item() - np.log1p(99 * np.exp(-1.0))) < 1e-5


def spreads(dims):
    norms = [lambda x, order=order: torch.linalg.vector_norm(x, order, dims)
             for order in (1, 2, float("inf"), -float("inf"))]
    return [lambda x: torch.var(x, dims), lambda x: torch.std(x, dims, correction=0),
            lambda x: torch.logsumexp(x, dims), *norms]


@pytest.mark.parametrize("dims", [(0, 1, 2), 0, 1, 2, (0, 1), (1, 2)])
def test_spread(monkeypatch, dims):
    for shape in [(40, 33, 50), (3, 40, 4096)]:
        for function in spreads(dims):
            compare(monkeypatch, function, shape)


@pytest.mark.parametrize("bad", [float("inf"), -float("inf"), float("nan")])
def test_what_is_not_finite_gives_the_same(monkeypatch, bad):
    x = np.random.default_rng(2).normal(size=(300, 300)).astype("f4")
    x[1, 77] = bad
    x[2] = bad
    functions = [lambda t: torch.softmax(t, 1), lambda t: torch.log_softmax(t, 0),
                 lambda t: torch.logsumexp(t, 1), lambda t: torch.var(t, 1), F.gelu, F.silu,
                 lambda t: F.layer_norm(t, (300,)), lambda t: F.softplus(t), F.mish, F.elu,
                 lambda t: torch.linalg.vector_norm(t, float("inf"), 1)]
    for function in functions:
        found = function(torch.tensor(x)).numpy()
        with monkeypatch.context() as patch:
            patch.setattr(large, "load", functools.cache(lambda: None))
            patch.setattr(large, "_ran", {})
            want = function(torch.tensor(x)).numpy()
        np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)


def test_gradients_do_not_depend_on_the_number_of_threads():
    x, w = torch.randn(500, 300, requires_grad=True), torch.randn(300, requires_grad=True)
    before, found = threads.get_num_threads(), []
    try:
        for count in (1, 2, 4):
            threads.set_num_threads(count)
            loss = F.cross_entropy(F.layer_norm(F.gelu(x), (300,), w), torch.arange(500) % 300)
            found.append([g.numpy() for g in torch.autograd.grad(loss, (x, w))])
    finally:
        threads.set_num_threads(before)
    for grads in found[1:]:
        for grad, first in zip(grads, found[0]):
            np.testing.assert_array_equal(grad, first)


def test_inputs_that_are_views_give_the_same():
    base = torch.randn(300, 200)
    for view in (base.t(), base[:, ::2], base.flip(0), base[:, :100].expand(300, 100)):
        dense = view.clone(memory_format=torch.contiguous_format)
        for function in (lambda t: torch.softmax(t, 1), F.gelu, lambda t: torch.var(t, 0),
                         lambda t: F.layer_norm(t, t.shape[1:])):
            np.testing.assert_allclose(function(view).numpy(), function(dense).numpy(),
                                       rtol=1e-5, atol=1e-6)


ZEROS = {
    "mul": lambda x, z: x * z, "div": lambda x, z: z / x, "full": torch.full_like,
    "where": lambda x, z: torch.where(x > 0, z, x), "clamp": lambda x, z: (x - 5).clamp(z, z),
    "masked": lambda x, z: x.masked_fill(x > 0, z), "copysign": torch.copysign,
    "threshold": lambda x, z: torch.nn.functional.threshold(x, 5.0, z),
    "leaky": lambda x, z: torch.nn.functional.leaky_relu(-x, z),
    "nan_to_num": lambda x, z: torch.nan_to_num(x * float("nan"), nan=z),
    "in place": lambda x, z: x.clone().mul_(z)}


@pytest.mark.parametrize("name", ZEROS)
def test_zeros_of_both_signs_are_two_numbers(name):
    for compiled in (False, True):
        function = torch.compile(ZEROS[name]) if compiled else ZEROS[name]
        for size in (4, 100_000):
            for z in (0.0, -0.0, 0.0, -0.0):
                found = torch.signbit(function(torch.full((size,), 2.0), z))
                want = torch.signbit(ZEROS[name](torch.full((4,), 2.0), z))
                assert found.all() == want.all() and found.any() == want.any()


@pytest.mark.parametrize("size", [4, 100_000])
def test_one_and_true_are_numbers_of_two_dtypes(size):
    x = torch.arange(size)
    for number, held in [(1.0, "float32"), (1, "int64"), (True, "int64"), (1.0, "float32")]:
        for found in (x + number, x * number, torch.where(x > 2, x, number)):
            assert found.dtype is getattr(torch, held)
            assert type(found[-1].item()) is (float if held == "float32" else int)


CHOICES = {
    "where": lambda x, y: torch.where(x > y, x, y),
    "number": lambda x, y: torch.where(x > 0, y, 3) + x,
    "broadcast": lambda x, y: torch.where(x[:1] > 0, x, y) + y[:, :1],
    "turned": lambda x, y: torch.where(x.t() > 0, y.t(), 0.5) * x.t(),
    "masked_fill": lambda x, y: x.masked_fill(y > 0, -2.0) * y,
    "clamp": lambda x, y: y - x.clamp(-1, 2),
    "clamp by tensors": lambda x, y: x.clamp(y.detach() - 1, y.detach() + 1) * y,
    "lerp": lambda x, y: x.lerp(y, 0.3), "far lerp": lambda x, y: x.lerp(y, 0.7),
    "lerp by tensor": lambda x, y: x.lerp(y, y), "cube": lambda x, y: x ** 3 + y,
    "addcmul": lambda x, y: x.addcmul(y, x, value=0.5), "sign": lambda x, y: x.abs() + y.sign() * x,
    "addcdiv": lambda x, y: x.addcdiv(y, x.detach().abs() + 1, value=0.5),
}


@pytest.mark.parametrize("name", CHOICES)
def test_choices_and_blends(monkeypatch, name):
    compare(monkeypatch, CHOICES[name], (200, 211), (200, 211))


DIFFERENCES = {
    "mse": F.mse_loss, "smooth": F.smooth_l1_loss, "huber": F.huber_loss,
    "sharp": lambda x, y, **kw: F.smooth_l1_loss(x, y, beta=0.0, **kw),
    "narrow": lambda x, y, **kw: F.huber_loss(x, y, delta=0.3, **kw),
}


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("name", DIFFERENCES)
def test_losses_of_a_difference(monkeypatch, name, reduction):
    def loss(x, y):
        return DIFFERENCES[name](x, y, reduction=reduction)
    compare(monkeypatch, loss, (200, 211), (200, 211))


ROWS = np.random.default_rng(0).integers(0, 200, 260)
ALONG = {
    "cumsum": lambda x, i: x.cumsum(0), "cumprod": lambda x, i: (x / 9).cumprod(1),
    "max": lambda x, i: x.max(0).values, "min": lambda x, i: x.min(0, keepdim=True).values,
    "index_select": lambda x, i: x.index_select(0, i), "rows": lambda x, i: x[i - 200],
    "embedding": lambda x, i: F.embedding(i, x, padding_idx=3),
    "gather": lambda x, i: x.gather(1, i[:200, None].expand(200, 300)),
    "index_add": lambda x, i: x.index_add(0, i[:200], x, alpha=2),
    "index_copy": lambda x, i: x.index_copy(0, torch.arange(200).flip(0), x * 2),
    "scatter_add": lambda x, i: x.scatter_add(1, i[:200, None].expand(200, 300), x),
    "scatter": lambda x, i: x.scatter(0, torch.arange(200).flip(0)[:, None].expand(200, 300), x),
    "masked": lambda x, i: _put(x.clone(), x.detach() > 0), "aminmax": lambda x, i: _reach(x),
}


def _put(x, mask):
    x[mask] = 2.0
    return x


def _reach(x):
    low, high = x.aminmax(dim=1)
    return high - low


@pytest.mark.parametrize("name", ALONG)
def test_along_an_axis(monkeypatch, name):
    compare(monkeypatch, ALONG[name], (200, 300), integers=[ROWS], loose=20)


@pytest.mark.parametrize("dims", [(0, 2, 3), (0, 3), (0, 2), (1, 3)])
@pytest.mark.parametrize("name", ["sum", "mean", "amax", "var"])
def test_reductions_over_axes_that_stand_apart(monkeypatch, name, dims):
    compare(monkeypatch, lambda x: getattr(x, name)(dims), (5, 8, 33, 40))
    compare(monkeypatch, lambda x: getattr(x, name)(dims, keepdim=True), (5, 8, 33, 40))


def test_nan_has_no_sign():
    for n in (3, 50_000):
        x = torch.tensor([float("nan"), -0.0, -2.0] * n)
        for found in (x.sign(), x.sgn()):
            assert found[:3].tolist() == [0.0, 0.0, -1.0] and found.isnan().sum() == 0
