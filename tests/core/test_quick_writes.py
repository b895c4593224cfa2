"""Changes in place as quick calls: what they leave behind is what Python's way does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import flambeau as torch
import flambeau.nn.functional as F
from flambeau.backends import large
from flambeau.core import quick_calls

pytestmark = pytest.mark.skipif(not large.available(), reason="there are no generated kernels")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], Any]]:
    """What makes a method quick, from its first call on."""
    monkeypatch.setattr(quick_calls, "EVERY", 1)
    monkeypatch.setattr(quick_calls, "OFTEN", 1)
    made = []

    def make(function: Any) -> Any:
        pure = quick_calls._pure(function)
        assert pure is not None
        found = quick_calls.quicken(function, quick_calls._uncalled(pure))
        if found is None:
            pytest.skip("this interpreter's objects are not known")
        made.append(found)
        return found

    yield make
    for each in reversed(made):
        each.undo()


def values(seed: int, dtype: Any = torch.float32) -> Any:
    return torch.tensor(np.random.default_rng(seed).normal(size=(4, 5)).tolist(), dtype=dtype)


MASK = torch.tensor([[True, False, True, True, False]] * 4)
CASES: dict[str, Callable[[Any], Any]] = {
    "exp_": lambda t: t.exp_(), "sigmoid_": lambda t: t.sigmoid_(), "abs_": lambda t: t.abs_(),
    "lerp_": lambda t: t.lerp_(values(1, t.dtype), 0.3), "pow_": lambda t: t.pow_(2.0),
    "addcmul_": lambda t: t.addcmul_(values(1, t.dtype), values(2, t.dtype), value=0.5),
    "addcdiv_": lambda t: t.addcdiv_(values(1, t.dtype), t), "tril_": lambda t: t.tril_(),
    "cumsum_": lambda t: t.cumsum_(1), "clamp_min_": lambda t: t.clamp_min_(0.1),
    "round_": lambda t: t.round_(), "relu_": lambda t: t.relu_()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CASES)
def test_values_and_counters(quick: Any, name: str, dtype: Any) -> None:
    change, method = CASES[name], getattr(torch.Tensor, name)
    want = change(values(0, dtype)).numpy().tobytes()
    made = quick(method)
    change(values(0, dtype))
    before = made.uses()
    for turn in range(1, 4):
        t = values(0, dtype)
        place = t.data_ptr()
        assert change(t) is t
        assert t.numpy().tobytes() == want and t.data_ptr() == place
        assert t._version == 1 and not t.requires_grad
        assert made.uses() == before + turn
    change(t)
    assert t._version == 2


def test_views_and_what_they_are_of_keep_to_pythons_way(quick: Any) -> None:
    made = quick(torch.Tensor.exp_)
    values(0).exp_()
    base = values(0)
    view = base[1:]
    view.exp_()
    np.testing.assert_array_equal(base[1:].numpy(), values(0).exp().numpy()[1:])
    assert base._version == view._version == 1
    base.exp_()
    assert base._version == view._version == 2
    t = values(0)
    other = t.view(20)
    uses = made.uses()
    t.exp_()
    assert other._version == 1 and made.uses() <= uses + 1
    np.testing.assert_array_equal(other.numpy(), values(0).exp().numpy().reshape(-1))


def test_what_is_recorded_is_recorded(quick: Any) -> None:
    quick(torch.Tensor.addcmul_)
    x, y = values(1), values(2)
    values(0).addcmul_(x, y)
    weight = values(3).requires_grad_()
    for _ in range(3):
        t = values(0)
        t.addcmul_(weight, y)
        assert t.requires_grad and t._version == 1
        (grad,) = torch.autograd.grad(t.sum(), weight)
        np.testing.assert_array_equal(grad.numpy(), y.numpy())
    with pytest.raises(RuntimeError, match="leaf Variable"):
        weight.addcmul_(x, y)
    with torch.no_grad():
        for _ in range(3):
            weight.addcmul_(x, y)
    assert weight._version == 3 and weight.requires_grad
    want = values(3)
    for _ in range(3):
        want.addcmul_(x, y)
    np.testing.assert_array_equal(weight.detach().numpy(), want.numpy())


def test_a_change_of_what_was_saved_is_noticed(quick: Any) -> None:
    quick(torch.Tensor.exp_)
    values(0).exp_()
    w, saved = values(1).requires_grad_(), values(2)
    out = (w * saved).sum()
    saved.exp_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward()


def test_errors_are_as_ever(quick: Any) -> None:
    made = quick(torch.Tensor.lerp_)
    for _ in range(3):
        values(0).lerp_(values(1), 0.5)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="doesn't match the broadcast shape"):
            values(0)[0].clone().lerp_(values(1), 0.5)
        with pytest.raises(RuntimeError):
            torch.ones(4, 5, dtype=torch.int64).lerp_(values(1), 0.5)
    shared = torch.ones(1, 5).expand(4, 5)
    with pytest.raises(RuntimeError, match="single memory location"):
        shared.lerp_(values(1), 0.5)
    fixed = torch.from_numpy(np.ones((4, 5), np.float32))
    fixed._a.flags.writeable = False
    with pytest.raises(RuntimeError):
        fixed.lerp_(values(1), 0.5)
    assert float(fixed.sum()) == 20 and made.uses() >= 1


def test_inference_and_transforms_are_not_passed_over(quick: Any) -> None:
    quick(torch.Tensor.exp_)
    values(0).exp_()
    with torch.inference_mode():
        t = values(0)
        t.exp_()
    with pytest.raises(RuntimeError, match="inference"):
        t.exp_()
    found = torch.vmap(lambda x: x.clone().exp_())(values(0))
    np.testing.assert_allclose(found.numpy(), values(0).exp().numpy())
    _, slope = torch.func.jvp(lambda x: (x * 1).exp_(), (values(0),), (torch.ones(4, 5),))
    np.testing.assert_allclose(slope.numpy(), values(0).exp().numpy(), rtol=1e-6)

    def step(x: Any) -> Any:
        x = x + 1
        return x.exp_() * 2

    for _ in range(3):
        compiled = torch.compile(step)(values(0))
    np.testing.assert_allclose(compiled.numpy(), step(values(0)).numpy(), rtol=1e-6)


def test_numbers_are_told_apart(quick: Any) -> None:
    quick(torch.Tensor.pow_)
    for number in (2.0, 3.0, 2, 0.5, 2.0, 3.0):
        found = values(0).abs_().pow_(number)
        np.testing.assert_array_equal(found.numpy(), values(0).abs().pow(number).numpy())


def test_spellings_for_modules_in_place() -> None:
    for _ in range(3):
        t = values(0)
        assert F.leaky_relu_(t, 0.1) is t
        np.testing.assert_array_equal(t.numpy(), F.leaky_relu(values(0), 0.1).numpy())
