"""Autocast beside PyTorch's: which dtypes come out, nesting, the cache, settings, decorators."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import flambeau as fl
from flambeau.amp import entries, policy

T = ModuleType


def ones(t: T, *shape: int, dtype: str = "float32") -> Any:
    return t.ones(*shape, dtype=getattr(t, dtype))


def functional(name: str, *shapes: tuple, **kwargs: Any) -> Callable:
    def call(t: T, dtype: str) -> Any:
        return getattr(t.nn.functional, name)(*[ones(t, *s, dtype=dtype) for s in shapes],
                                              **kwargs)

    return call


def module(name: str, *args: Any, shape: tuple, **kwargs: Any) -> Callable:
    def call(t: T, dtype: str) -> Any:
        return getattr(t.nn, name)(*args, **kwargs)(ones(t, *shape, dtype=dtype))

    return call


M = (2, 2)
CALLS: dict[str, Callable] = {
    "mm": lambda t, d: t.mm(ones(t, 2, 2, dtype=d), ones(t, 2, 2)),
    "@": lambda t, d: ones(t, 2, 2, dtype=d) @ ones(t, 2),
    "method": lambda t, d: ones(t, 1, 2, 2, dtype=d).bmm(ones(t, 1, 2, 2, dtype=d)),
    "baddbmm": lambda t, d: t.baddbmm(*[ones(t, 1, 2, 2, dtype=d)] * 3),
    "mv": lambda t, d: t.mv(ones(t, 2, 2, dtype=d), ones(t, 2, dtype=d)),
    "inner": lambda t, d: t.inner(ones(t, 2, dtype=d), ones(t, 2, dtype=d)),
    "inner 2d": lambda t, d: t.inner(ones(t, 2, 2, dtype=d), ones(t, 2, 2, dtype=d)),
    "tensordot": lambda t, d: t.tensordot(ones(t, 2, 2, dtype=d), ones(t, 2, 2, dtype=d), 1),
    "tensordot one": lambda t, d: t.tensordot(*[ones(t, 2, 2, dtype=d)] * 2, ([0, 1], [0, 1])),
    "einsum": lambda t, d: t.einsum("ij,jk->ik", *[ones(t, 2, 2, dtype=d)] * 2),
    "einsum outer": lambda t, d: t.einsum("i,j->ij", *[ones(t, 2, dtype=d)] * 2),
    "cov": lambda t, d: t.cov(ones(t, 2, 3)),
    "pinv": lambda t, d: t.linalg.pinv(t.eye(2)),
    "matrix_power": lambda t, d: t.linalg.matrix_power(ones(t, 2, 2), 3),
    "inv": lambda t, d: t.linalg.inv(t.eye(2).to(getattr(t, d))),
    "qr": lambda t, d: tuple(t.linalg.qr(t.eye(2).to(getattr(t, d)))),
    "fft": lambda t, d: t.fft.rfft(ones(t, 4, dtype=d)),
    "prod": lambda t, d: ones(t, 4, dtype=d).prod(),
    "sum": lambda t, d: ones(t, 4, dtype=d).sum(),
    "cat": lambda t, d: t.cat([ones(t, 4, dtype=d), ones(t, 4)]),
    "stack": lambda t, d: t.stack([ones(t, 4, dtype=d), ones(t, 4, dtype="bfloat16")]),
    "cat float64": lambda t, d: t.cat([ones(t, 4, dtype=d), ones(t, 4, dtype="float64")]),
    "index_copy": lambda t, d: t.index_copy(ones(t, 2), 0, t.tensor([1]), ones(t, 1, dtype=d)),
    "integers": lambda t, d: t.mm(ones(t, 2, 2, dtype="int64"), ones(t, 2, 2, dtype="int64")),
    "float64": lambda t, d: t.mm(*[ones(t, 2, 2, dtype="float64")] * 2),
    "out": lambda t, d: t.mm(ones(t, 2, 2), ones(t, 2, 2), out=ones(t, 2, 2)),
    "cross_entropy": lambda t, d: t.nn.functional.cross_entropy(
        ones(t, 2, 2, dtype=d), t.tensor([0, 1])),
    "mse_loss": functional("mse_loss", M, M), "softmax": functional("softmax", M, dim=1),
    "bce": functional("binary_cross_entropy", M, M), "layer_norm": functional(
        "layer_norm", M, normalized_shape=(2,)),
    "sdpa": functional("scaled_dot_product_attention", (1, 1, 2, 2), (1, 1, 2, 2), (1, 1, 2, 2)),
    "pad": functional("pad", (1, 1, 4), pad=(1, 1), mode="reflect"),
    "pad 0": functional("pad", (1, 1, 4), pad=(1, 1)),
    "pad 3d": functional("pad", (1, 1, 4, 4, 4), pad=(1,) * 6, mode="reflect"),
    "max_pool3d": functional("max_pool3d", (1, 1, 4, 4, 4), kernel_size=2),
    "max_pool3d indices": functional("max_pool3d", (1, 1, 4, 4, 4), kernel_size=2,
                                     return_indices=True),
    "avg_pool2d": functional("avg_pool2d", (1, 1, 4, 4), kernel_size=2),
    "bilinear": functional("bilinear", (1, 2), (1, 2), (3, 2, 2)),
    "Linear": module("Linear", 2, 3, shape=(1, 2)),
    "Conv2d": module("Conv2d", 1, 2, 3, shape=(1, 1, 4, 4)),
    "ConvTranspose1d": module("ConvTranspose1d", 1, 2, 3, shape=(1, 1, 4)),
    "PReLU": module("PReLU", shape=(2,)),
    "RNN": module("RNN", 2, 3, shape=(4, 1, 2)), "GRU": module("GRU", 2, 3, shape=(4, 1, 2)),
    "GRUCell": module("GRUCell", 2, 3, shape=(1, 2)),
    "LSTMCell": module("LSTMCell", 2, 3, shape=(1, 2)),
    "Encoder": module("TransformerEncoderLayer", 4, 2, dropout=0.0, shape=(3, 1, 4)),
}


def kinds(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [kinds(v) for v in value]
    return str(value.dtype).split(".")[-1]


@pytest.mark.parity
@pytest.mark.parametrize("lower", ["bfloat16", "float16"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", CALLS)
def test_dtypes(name: str, dtype: str, lower: str, torch_oracle: T) -> None:
    found = []
    for t in (torch_oracle, fl):
        with t.autocast("cpu", getattr(t, lower)):
            try:
                found.append(kinds(CALLS[name](t, dtype)))
            except (RuntimeError, ValueError) as error:
                if t is torch_oracle and ("primitive" in str(error) or name[:3] in ("GRU", "LST")):
                    pytest.skip("PyTorch cannot do it, on this CPU or with two half types")
                found.append(str(error).split("\n")[0].replace("flambeau", "torch"))
    assert found[0] == found[1]


def test_every_name_is_an_operator() -> None:
    for names in (policy.LOWER, policy.LOWER_RESULT, policy.FLOAT32, policy.WIDEST,
                  policy.UNTOUCHED):
        for name in names:
            assert entries.named(name), name


@pytest.mark.parity
def test_training_gives_pytorchs_numbers(torch_oracle: T) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((16, 8)).astype("f4"), rng.integers(0, 3, 16)
    losses = []
    for t in (torch_oracle, fl):
        t.manual_seed(0)
        net = t.nn.Sequential(t.nn.Linear(8, 16), t.nn.LayerNorm(16), t.nn.ReLU(),
                              t.nn.Linear(16, 3))
        optimizer = t.optim.SGD(net.parameters(), lr=0.1)
        seen = []
        for _ in range(10):
            optimizer.zero_grad()
            with t.autocast("cpu"):
                loss = t.nn.functional.cross_entropy(net(t.from_numpy(x)), t.from_numpy(y))
            loss.backward()
            assert net[0].weight.grad.dtype is t.float32
            optimizer.step()
            seen.append(loss.item())
        losses.append(seen)
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.02)
    assert losses[1][-1] < losses[1][0]


def casts(t: T, layer: Any, **options: Any) -> int:
    """How many casts of the weight two uses of it record."""
    with t.autocast("cpu", **options):
        both = layer(ones(t, 1, 2)).sum() + layer(ones(t, 1, 2)).sum()
    seen, todo = set(), [both.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        todo += [n for n, _ in node.next_functions]
    return sum("Copy" in type(n).__name__ or "Copy" in n.name() for n in seen)


@pytest.mark.parity
@pytest.mark.parametrize("cached", [True, False])
def test_casts_of_weights_are_kept(cached: bool, torch_oracle: T) -> None:
    counts = []
    for t in (torch_oracle, fl):
        layer = t.nn.Linear(2, 2, bias=False)
        counts.append(casts(t, layer, cache_enabled=cached))
    assert counts[0] == counts[1]
    assert fl.amp.autocast_mode.STATE.cache == {}


def test_the_cache_lasts_to_the_end_of_the_outermost_block() -> None:
    state = fl.amp.autocast_mode.STATE
    w = fl.ones(2, 2, requires_grad=True)
    with fl.autocast("cpu"):
        with fl.autocast("cpu"):
            fl.mm(w, w)
        assert list(state.cache) == [id(w)]
        fl.clear_autocast_cache()
        assert not state.cache
        fl.mm(w, w)
    assert not state.cache


def test_nesting_and_errors_restore_the_state() -> None:
    x = fl.ones(2, 2)
    with fl.autocast("cpu"):
        with fl.autocast("cpu", enabled=False):
            assert fl.mm(x, x).dtype is fl.float32
            with fl.autocast("cpu", dtype=fl.float16):
                assert fl.mm(x, x).dtype is fl.float16
                assert fl.get_autocast_dtype("cpu") is fl.float16
        assert fl.mm(x, x).dtype is fl.bfloat16
        with pytest.raises(RuntimeError):
            fl.mm(x, fl.ones(3, 3))
        assert fl.mm(x, x).dtype is fl.bfloat16
    with pytest.raises(ZeroDivisionError), fl.autocast("cpu"):
        _ = 1 / 0
    assert not fl.is_autocast_enabled("cpu")
    assert fl.mm(x, x).dtype is fl.float32


def test_each_thread_has_its_own_state() -> None:
    seen = []

    def look() -> None:
        seen.append((fl.is_autocast_enabled("cpu"), fl.mm(fl.ones(1, 1), fl.ones(1, 1)).dtype))

    with fl.autocast("cpu"):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert seen == [(False, fl.float32)]


def test_as_a_decorator_and_by_switches() -> None:
    @fl.autocast("cpu", dtype=fl.float16)
    def product(x: fl.Tensor) -> fl.Tensor:
        """A product."""
        return x @ x

    x = fl.ones(2, 2)
    assert product(x).dtype is fl.float16
    assert product.__doc__ == "A product."
    assert (x @ x).dtype is fl.float32
    fl.set_autocast_enabled("cpu", True)
    try:
        assert (x @ x).dtype is fl.bfloat16
    finally:
        fl.set_autocast_enabled("cpu", False)
    assert (x @ x).dtype is fl.float32


def test_functions_imported_before_are_reached() -> None:
    from flambeau.nn.functional import linear
    with fl.autocast("cpu"):
        assert linear(fl.ones(1, 2), fl.ones(3, 2)).dtype is fl.bfloat16
    with pytest.raises(TypeError, match="missing"):
        linear(fl.ones(1, 2))


@pytest.mark.parity
@pytest.mark.parametrize("act", [
    lambda t: t.autocast(3), lambda t: t.autocast("foo"), lambda t: t.autocast("meta"),
    lambda t: t.autocast("cpu")(3), lambda t: t.get_autocast_dtype("meta"),
    lambda t: t.is_autocast_enabled("meta"), lambda t: t.set_autocast_enabled("cpu", 3),
    lambda t: t.set_autocast_dtype("cpu", "x"), lambda t: t.amp.is_autocast_available("foo"),
    lambda t: t.amp.custom_fwd(device_type=3), lambda t: t.amp.custom_bwd(device_type=None),
    lambda t: t.cat([ones(t, 1, dtype="float16"), ones(t, 1, dtype="bfloat16")])])
def test_errors(act: Callable, torch_oracle: T) -> None:
    errors = []
    for t in (torch_oracle, fl):
        with pytest.raises(Exception) as caught, t.autocast("cpu"):
            act(t)
        errors.append((type(caught.value), str(caught.value).split("\n")[0]))
    assert errors[0] == errors[1]


@pytest.mark.parity
@pytest.mark.parametrize("make", [
    lambda t: t.autocast("cuda"), lambda t: t.autocast("cpu", t.float32),
    lambda t: t.cpu.amp.autocast(), lambda t: t.cuda.amp.autocast(),
    lambda t: t.cuda.amp.GradScaler(), lambda t: t.cpu.amp.GradScaler(),
    lambda t: t.amp.GradScaler(), lambda t: t.cuda.amp.custom_fwd(len),
    lambda t: t.cuda.amp.custom_bwd(len), lambda t: t.is_autocast_cpu_enabled(),
    lambda t: t.set_autocast_gpu_dtype(t.float16)])
def test_warnings(make: Callable, torch_oracle: T) -> None:
    told = []
    for t in (torch_oracle, fl):
        with pytest.warns(Warning) as caught:
            made = make(t)
        first = [(w.category, str(w.message).split(" (Triggered")[0].replace("flambeau", "torch"))
                 for w in caught]
        told.append(first)
        if hasattr(made, "__enter__"):
            with made:
                pass
    assert told[0] == told[1]


@pytest.mark.parity
def test_what_is_known_of_devices(torch_oracle: T) -> None:
    answers = []
    for t in (torch_oracle, fl):
        answers.append([(t.amp.is_autocast_available(d), t.is_autocast_enabled(d),
                         str(t.get_autocast_dtype(d)).split(".")[-1])
                        for d in ("cpu", "cuda", "xpu", "mps", "xla", "hpu")]
                       + [t.is_autocast_enabled(), t.is_autocast_cache_enabled()])
    assert answers[0] == answers[1]


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("cast_inputs", [None, "float32"])
def test_functions_of_ones_own(inside: bool, cast_inputs: str | None) -> None:
    seen = []

    class Product(fl.autograd.Function):
        @staticmethod
        @fl.amp.custom_fwd(device_type="cpu",
                           cast_inputs=cast_inputs and getattr(fl, cast_inputs))
        def forward(ctx: Any, x: fl.Tensor) -> fl.Tensor:
            ctx.save_for_backward(x)
            seen.append((x.dtype, (x @ x).dtype, fl.is_autocast_enabled("cpu")))
            return x * 2

        @staticmethod
        @fl.amp.custom_bwd(device_type="cpu")
        def backward(ctx: Any, g: fl.Tensor) -> fl.Tensor:
            seen.append(fl.is_autocast_enabled("cpu"))
            return g * 2

    x = fl.ones(2, 2, dtype=fl.bfloat16, requires_grad=True)
    with fl.autocast("cpu", enabled=inside):
        y = Product.apply(x)
    y.sum().backward()
    wide = cast_inputs is not None and inside
    assert seen == [(fl.float32 if wide else fl.bfloat16, fl.float32 if wide else fl.bfloat16,
                     inside and not wide), inside and not wide]
    assert x.grad.dtype is fl.bfloat16


def test_programs_without_autocast_are_not_touched(python: Callable) -> None:
    code = ("import flambeau as fl, sys\n"
            "code = fl.mm.__code__\n"
            "fl.amp\n"
            "assert fl.mm.__code__ is code\n"
            "with fl.autocast('cpu', enabled=False): pass\n"
            "assert fl.mm.__code__ is code\n"
            "with fl.autocast('cpu'): pass\n"
            "assert fl.mm.__code__ is not code\n"
            "print('done')")
    result = python("-c", code)
    assert result.stdout == "done\n", result.stderr


def test_beside_the_profiler() -> None:
    x = fl.ones(2, 2)
    with fl.autograd.profiler.profile():
        with fl.autocast("cpu"):
            assert (x @ x).dtype is fl.bfloat16
    with fl.autocast("cpu"):
        assert fl.mm(x, x).dtype is fl.bfloat16
        with fl.autograd.profiler.profile():
            assert fl.mm(x, x).dtype is fl.bfloat16
        assert fl.mm(x, x).dtype is fl.bfloat16
    assert fl.mm(x, x).dtype is fl.float32
