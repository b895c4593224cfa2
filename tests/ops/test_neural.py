"""Functions of neural networks where the sweep of samples does not look."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import flambeau as torch

F = torch.nn.functional


def numbers(t: torch.Tensor) -> list:
    return t.detach().tolist()


def test_relu_gives_no_gradient_where_it_is_zero_even_an_infinite_one() -> None:
    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    F.relu(x).backward(torch.tensor([float("inf"), 1.0]))
    assert numbers(x.grad) == [0.0, 1.0]


def test_relu_keeps_nan_and_works_in_place() -> None:
    x = torch.tensor([float("nan"), -1.0, 3.0])
    assert F.relu(x, inplace=True) is x
    assert np.isnan(x[0].item()) and numbers(x[1:]) == [0.0, 3.0]


def test_elu_far_above_zero_has_a_finite_second_derivative() -> None:
    x = torch.tensor([800.0], requires_grad=True, dtype=torch.float64)
    (first,) = torch.autograd.grad(F.elu(x).sum(), x, create_graph=True)
    assert numbers(first) == [1.0]
    (second,) = torch.autograd.grad(first.sum(), x)
    assert numbers(second) == [0.0]


def test_node_names_are_those_of_pytorch() -> None:
    x = torch.ones(2, 4, requires_grad=True)
    classes = torch.tensor([0, 1])
    found = {
        "ReluBackward0": F.relu(x), "GeluBackward0": F.gelu(x), "SoftmaxBackward0": x.softmax(1),
        "LogSoftmaxBackward0": F.log_softmax(x, 1), "MseLossBackward0": F.mse_loss(x, x.detach()),
        "NllLossBackward0": F.cross_entropy(x, classes),
        "NativeLayerNormBackward0": F.layer_norm(x, (4,)),
        "NativeBatchNormBackward0": F.batch_norm(x, None, None, training=True),
        "EmbeddingBackward0": F.embedding(classes, x), "EluBackward0": F.selu(x),
        "HardtanhBackward0": F.relu6(x), "GluBackward0": F.glu(x),
        "RreluWithNoiseBackward0": F.rrelu(x)}
    assert {name: type(t.grad_fn).__name__ for name, t in found.items()} == {n: n for n in found}


def test_batch_norm_moves_the_running_moments() -> None:
    mean, var = torch.zeros(2), torch.ones(2)
    x = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    F.batch_norm(x, mean, var, training=True, momentum=0.5)
    np.testing.assert_allclose(numbers(mean), [1.0, 2.0], rtol=1e-6)
    np.testing.assert_allclose(numbers(var), [1.5, 4.5], rtol=1e-6)
    assert mean._version == 1


def test_cross_entropy_of_ignored_and_of_wrong_classes() -> None:
    x = torch.zeros(2, 3)
    assert np.isnan(F.cross_entropy(x, torch.tensor([-100, -100])).item())
    with pytest.raises(IndexError, match="Target 5 is out of bounds"):
        F.cross_entropy(x, torch.tensor([0, 5]))
    with pytest.raises(IndexError, match="Target -1 is out of bounds"):
        F.cross_entropy(x, torch.tensor([0, -1]))


def test_softmax_of_a_row_of_minus_infinity_is_nan_but_attention_to_nothing_is_zero() -> None:
    assert np.isnan(numbers(torch.softmax(torch.full((2,), float("-inf")), 0))).all()
    q = torch.ones(1, 1, 2, 3)
    nothing = torch.zeros(2, 2, dtype=torch.bool)
    for rank in (4, 3):
        t = q if rank == 4 else q[0]
        assert not F.scaled_dot_product_attention(t, t, t, attn_mask=nothing).any()


def test_weights_get_the_gradient_that_differences_measure() -> None:
    logits = torch.tensor([[0.3, -0.2, 0.9], [0.1, 0.4, -0.5]], dtype=torch.float64)
    weight = torch.tensor([0.5, 2.0, 1.5], dtype=torch.float64)
    classes = torch.tensor([2, 1])

    def loss(x: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(x, classes, weight, label_smoothing=0.1)

    assert torch.autograd.gradcheck(loss, (logits.requires_grad_(),))
    assert torch.autograd.gradgradcheck(loss, (logits,))


def test_group_norm_moments_have_gradients_and_layer_norm_moments_do_not() -> None:
    x = torch.arange(12.0, dtype=torch.float64).reshape(1, 4, 3).sin().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda t: torch.native_group_norm(t, None, None, 1, 4, 3, 2, 0.5), (x,))
    assert not torch.native_layer_norm(x, (3,), None, None, 0.5)[1].requires_grad


def test_embedding_shortens_the_rows_that_it_reads() -> None:
    table = torch.tensor([[3.0, 4.0], [30.0, 40.0]])
    F.embedding(torch.tensor([0]), table, max_norm=1.0)
    np.testing.assert_allclose(numbers(table), [[0.6, 0.8], [30.0, 40.0]], rtol=1e-5)


def test_ctc_loss_of_one_certain_path() -> None:
    steps = torch.tensor([[0.1, 0.9], [0.9, 0.1]]).log().requires_grad_()
    loss = F.ctc_loss(steps, torch.tensor([1]), (2,), (1,), reduction="sum")
    paths = 0.9 * 0.9 + 0.9 * 0.1 + 0.1 * 0.1
    np.testing.assert_allclose(loss.item(), -np.log(paths), rtol=1e-6)


def test_rrelu_draws_two_words_for_each_element_that_is_not_positive() -> None:
    torch.manual_seed(0)
    F.rrelu(torch.tensor([-1.0, 2.0, -3.0]), training=True)
    after = torch.rand(1)
    torch.manual_seed(0)
    torch.empty(2, dtype=torch.float64).uniform_()
    assert numbers(after) == numbers(torch.rand(1))


def test_parameter_copies_and_pickles() -> None:
    p = torch.nn.Parameter(torch.ones(2))
    (p * p).sum().backward()
    for other in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
        assert type(other) is torch.nn.Parameter and other.requires_grad
        assert repr(other) == "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
    assert copy.deepcopy(p).grad is None
    assert type(p + 1) is torch.Tensor


@pytest.mark.parametrize("weight", [None, torch.ones(3)])
def test_ignored_classes_have_no_gradient_where_the_loss_is_no_number(weight: Any) -> None:
    x = torch.randn(2, 3, requires_grad=True)
    loss = F.cross_entropy(x, torch.tensor([1, 1]), weight=weight, ignore_index=1)
    loss.backward()
    assert np.isnan(loss.item()) and numbers(x.grad) == [[0.0] * 3] * 2


def test_going_back_through_the_mean_of_nothing() -> None:
    x = torch.zeros(0, 3, requires_grad=True)
    for value in (x.mean(), F.l1_loss(x, x.detach()), (x * 2).square().mean()):
        value.backward()
        assert np.isnan(value.item()) and x.grad.shape == (0, 3)
