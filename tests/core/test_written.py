"""In-place and out= forms of pointwise operators on large floats."""

import numpy as np
import pytest

import flambeau as torch
import flambeau.nn.functional as F

N = 40_003
UNARY = ("exp", "sqrt", "neg", "abs", "relu", "sigmoid", "tanh", "floor", "reciprocal", "sin")
BINARY = ("add", "sub", "mul", "div", "pow", "atan2", "fmod", "remainder")


def numbers(seed=0):
    torch.manual_seed(seed)
    return torch.rand(N) * 3 + 0.1


@pytest.mark.parametrize("name", UNARY)
def test_in_place_forms_give_the_same_bits_in_the_same_memory(name):
    x = numbers()
    expected, place, version = getattr(torch, name)(x), x.data_ptr(), x._version
    assert getattr(x, f"{name}_")() is x
    assert x.data_ptr() == place and x._version == version + 1
    assert torch.equal(x, expected)


@pytest.mark.parametrize("name", BINARY)
def test_in_place_forms_of_two(name):
    x, y = numbers(), numbers(1)
    expected = getattr(torch, name)(x, y)
    assert torch.equal(getattr(x, f"{name}_")(y), expected)
    if name == "atan2":
        return
    x = numbers()
    expected = getattr(torch, name)(x, 1.5)
    assert torch.equal(getattr(x, f"{name}_")(1.5), expected)


@pytest.mark.parametrize("name", [*(n for n in UNARY if n != "relu"), *BINARY, "eq", "lt"])
def test_out_is_written_where_it_lies(name):
    operands = (numbers(), numbers(1))[: 1 if name in UNARY else 2]
    expected = getattr(torch, name)(*operands)
    out = torch.empty(N, dtype=expected.dtype)
    place, version = out.data_ptr(), out._version
    assert getattr(torch, name)(*operands, out=out) is out
    assert out.data_ptr() == place and out._version == version + 1
    assert torch.equal(out, expected)


def test_out_may_be_an_operand_but_not_a_shifted_one():
    x, y = numbers(), numbers(1)
    expected = x + y
    assert torch.equal(torch.add(x, y, out=x), expected)
    z = numbers()
    expected = z[:-1].exp()
    torch.exp(z[:-1], out=z[1:])
    assert torch.equal(z[1:], expected)


@pytest.mark.parametrize("inplace", ["relu", "leaky_relu", "elu", "hardtanh", "celu"])
def test_activations_in_place(inplace):
    x = numbers() - 1.5
    expected, place = getattr(F, inplace)(x), x.data_ptr()
    assert getattr(F, inplace)(x, inplace=True) is x
    assert x.data_ptr() == place and torch.equal(x, expected)


def test_views_with_other_strides_are_written_too():
    x = torch.rand(300, 301)
    expected = x.t().exp()
    x.t().exp_()
    assert torch.equal(x.t(), expected)


def test_another_shape_is_refused_and_nothing_is_changed():
    x = numbers()
    before = x.clone()
    with pytest.raises(RuntimeError):
        x.atan2_(torch.rand(2, N))
    assert torch.equal(x, before)


def test_autograd_is_heeded():
    w = torch.rand(N, requires_grad=True)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        w.exp_()
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        torch.exp(w, out=torch.empty(N))
    h = w * 1
    h.exp_().sum().backward()
    assert torch.equal(w.grad, w.detach().exp())
    base = torch.zeros(2, N)
    base[0].add_(w)
    base[1].exp_()
    base.sum().backward()
    assert torch.equal(w.grad, w.detach().exp() + 1)


def test_a_saved_tensor_that_is_overwritten_is_noticed():
    w, x = torch.rand(N, requires_grad=True), torch.rand(N)
    y = (w * x).sum()
    x.exp_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_inference_tensors_are_kept():
    with torch.inference_mode():
        x = torch.zeros(N)
        x.exp_()
    assert np.all(x.numpy() == 1)
    with torch.no_grad(), pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
        x.exp_()
