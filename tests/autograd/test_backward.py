"""backward and grad: what leaves gather, graphs kept and freed, errors and warnings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau
from tests.autograd.compare import assert_same


def leaf(t: Any, *values: float, dtype: str = "float64") -> Any:
    return t.tensor(values, dtype=getattr(t, dtype), requires_grad=True)


def gathers(t: Any) -> Any:
    x = leaf(t, 1, 2, 3)
    first = []
    for _ in range(3):
        (x * x).sum().backward()
        first.append(x.grad.tolist())
    held = x.grad
    (x * 2).sum().backward()
    return first, held is x.grad, x.grad


def used_often(t: Any) -> Any:
    x = leaf(t, 1, 2)
    (x + x + x * x + x.exp() - x).sum().backward()
    return x.grad


def two_leaves_of_one_gradient(t: Any) -> Any:
    x, y = leaf(t, 1, 2), leaf(t, 3, 4)
    g = t.ones(2, dtype=t.float64)
    (x + y).backward(g)
    x.grad.mul_(5)
    g.fill_(7)
    return x.grad, y.grad, g


def leaf_as_root(t: Any) -> Any:
    x = leaf(t, 1, 2)
    g = t.ones(2, dtype=t.float64)
    x.backward(g)
    x.grad.add_(1)
    x.backward(g)
    return x.grad, g


def _gradient_is_a_view_of_the_users(t: Any) -> Any:
    x = leaf(t, 1, 2, 3)
    store = t.arange(6, dtype=t.float64).view(2, 3)
    x.view(3).backward(store[1])
    x.grad.zero_()
    return store, x.grad


def wrong_grad_size(t: Any) -> Any:
    leaf(t, 1, 2).grad = t.ones(3, dtype=t.float64)


def aliases_a_saved_tensor(t: Any) -> Any:
    x, w = leaf(t, 1, 2), leaf(t, 3, 4)
    y = x * w
    y.backward(t.ones(2, dtype=t.float64), retain_graph=True)
    x.grad.zero_()
    w.grad.zero_()
    y.backward(t.ones(2, dtype=t.float64))
    return x.grad, w.grad, x, w


def sums_alias_nothing(t: Any) -> Any:
    x = leaf(t, 1, 2, 3)
    x.sum().backward()
    x.grad[0] = 9
    x.expand(2, 3).sum().backward()
    return x.grad, x.grad.stride(), x.grad.is_contiguous()


def transposed(t: Any) -> Any:
    x = t.arange(6., dtype=t.float64).view(2, 3).t().requires_grad_()
    (x * x).sum().backward()
    y = t.arange(6., dtype=t.float64).view(2, 3).requires_grad_()
    (y.t() * t.arange(6.).view(3, 2)).sum().backward()
    return x.grad, x.grad.stride(), y.grad, y.grad.stride()


def retained(t: Any) -> Any:
    x = leaf(t, 1, 2)
    y = x * 3
    z = y + 0
    for one in (y, z):
        one.retain_grad()
    flags = y.retains_grad, x.retains_grad
    z.backward(t.ones(2, dtype=t.float64))
    y.grad.mul_(10)
    return flags, x.grad, y.grad, z.grad


def retained_twice(t: Any) -> Any:
    x = leaf(t, 1, 2)
    y = x * 3
    y.retain_grad()
    y.retain_grad()
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    return y.grad, x.grad


def retained_of_the_users_gradient(t: Any) -> Any:
    y = leaf(t, 1, 2) * 3
    y.retain_grad()
    g = t.ones(2, dtype=t.float64)
    y.backward(g)
    y.grad.zero_()
    return g, y.grad


def retained_then_changed(t: Any) -> Any:
    x = leaf(t, 1, 2)
    y = x * 3
    y.retain_grad()
    y.mul_(y.detach().clone())
    y.sum().backward()
    return x.grad, y.grad


def mixed_dtypes(t: Any) -> Any:
    x = leaf(t, 1, 2, dtype="float32")
    y = leaf(t, 3, dtype="float64")
    z = t.tensor([1, 2])
    (x * y * z).sum().backward()
    return x.grad, y.grad


def halves(t: Any) -> Any:
    found = []
    for name in ("float16", "bfloat16"):
        x, w = leaf(t, 1.5, 2, dtype=name), leaf(t, 3, dtype="float32")
        ((x * x).float() * w + x).sum().backward()
        (x * 2).sum().backward()
        found += [x.grad, w.grad]
    return found


def complex_numbers(t: Any) -> Any:
    x = t.tensor([1 + 2j, 3 - 1j], requires_grad=True)
    r = t.tensor([2., 3.], requires_grad=True)
    ((x * r).abs() ** 2).sum().backward()
    (x * x.conj()).real.sum().backward()
    return x.grad, r.grad


def single_numbers(t: Any) -> Any:
    x = t.tensor(2., requires_grad=True)
    y = t.tensor([3., 4.], requires_grad=True)
    (x * y + x * x + x).sum().backward()
    (x * 1).backward()
    return x.grad, y.grad


def empties(t: Any) -> Any:
    x = t.zeros(0, 3, requires_grad=True)
    y = t.ones(3, requires_grad=True)
    (x * y).sum().backward()
    t.zeros(0, requires_grad=True).backward(t.zeros(0))
    return x.grad, y.grad


def nans(t: Any) -> Any:
    x = leaf(t, 0, -1, float("nan"), float("inf"))
    (x.sqrt() + x.log() + x * 0).sum().backward()
    return x.grad


def broadcast(t: Any) -> Any:
    a = t.ones(3, 1, requires_grad=True)
    b = t.arange(4., requires_grad=True)
    c = t.tensor(2., requires_grad=True)
    (a * b + c / a - b * c).pow(2).sum().backward()
    return a.grad, b.grad, c.grad


def expanded_gradient(t: Any) -> Any:
    x = t.ones(2, 3, requires_grad=True)
    x.backward(t.tensor([1., 2., 3.]).expand(2, 3))
    x.grad[0, 0] = 5
    (x * 1).backward(t.tensor(2.).expand(2, 3))
    return x.grad


def not_the_same_shape(t: Any) -> Any:
    return (leaf(t, 1, 2) * 2).backward(t.ones(3))


def of_many(t: Any) -> Any:
    return (leaf(t, 1, 2) * 2).backward()


def of_constants(t: Any) -> Any:
    return t.ones(1).backward()


def of_integers(t: Any) -> Any:
    return t.ones(2, dtype=t.int64).requires_grad_()


def twice(t: Any) -> Any:
    y = (leaf(t, 1, 2) ** 2).sum()
    y.backward()
    y.backward()


def twice_nothing_saved(t: Any) -> Any:
    x = leaf(t, 1, 2)
    y = (x + 1).sum()
    y.backward()
    y.backward()
    return x.grad


def kept(t: Any) -> Any:
    x = leaf(t, 1, 2)
    y = (x ** 2).sum()
    y.backward(retain_graph=True)
    y.backward()
    return x.grad


def third_derivatives(t: Any) -> Any:
    x = leaf(t, 1, 2)
    found, y = [], x ** 4 * x.sin()
    for _ in range(3):
        y, = t.autograd.grad(y.sum(), x, create_graph=True)
        found.append(y)
    found[-1].sum().backward()
    return found, x.grad


def graph_in_grad(t: Any) -> Any:
    x = leaf(t, 1, 2)
    (x ** 3).sum().backward(create_graph=True)
    flags = x.grad.requires_grad, x.grad.grad_fn is not None
    second, = t.autograd.grad(x.grad.sum(), x)
    return flags, second


def some_inputs(t: Any) -> Any:
    x, y = leaf(t, 1, 2), leaf(t, 3, 4)
    z = x * y
    (z * x).sum().backward(inputs=[x])
    return x.grad, y.grad


def inputs_between(t: Any) -> Any:
    x = leaf(t, 1, 2)
    y = x * 2
    (y * y).sum().backward(inputs=[y, x])
    return x.grad, y.grad


def empty_inputs(t: Any) -> Any:
    return leaf(t, 1).sum().backward(inputs=[])


def several_roots(t: Any) -> Any:
    x = leaf(t, 1, 2)
    t.autograd.backward([(x * x).sum(), x * 3], [None, t.ones(2, dtype=t.float64)])
    return x.grad


def grads_and_inputs_differ(t: Any) -> Any:
    x = leaf(t, 1, 2)
    return t.autograd.grad([x * 2, x * 3], x, [t.ones(2)])


def grad_keeps_leaves(t: Any) -> Any:
    x = leaf(t, 1, 2)
    found = t.autograd.grad((x * x).sum(), [x, x])
    return found, x.grad


def unused(t: Any) -> Any:
    x, y = leaf(t, 1), leaf(t, 2)
    return t.autograd.grad(x * 2, [x, y])


def unused_allowed(t: Any) -> Any:
    x, y = leaf(t, 1), leaf(t, 2)
    return t.autograd.grad(x * 2, [x, y], allow_unused=True)


def unused_zeros(t: Any) -> Any:
    x, y = leaf(t, 1), leaf(t, 2, 3, dtype="float32")
    return t.autograd.grad(x * 2, [x, y], materialize_grads=True)


def unused_contradiction(t: Any) -> Any:
    x = leaf(t, 1)
    return t.autograd.grad(x * 2, x, allow_unused=False, materialize_grads=True)


def needs_no_grad(t: Any) -> Any:
    return t.autograd.grad(leaf(t, 1) * 2, t.ones(1))


def batched(t: Any) -> Any:
    x = leaf(t, 1, 2, 3)
    y = x.sin() * x.sum()
    return t.autograd.grad(y, x, t.eye(3, dtype=t.float64), is_grads_batched=True)


def batched_wrong(t: Any) -> Any:
    x = leaf(t, 1, 2, 3)
    return t.autograd.grad(x * 2, x, t.ones(2, 4), is_grads_batched=True)


def grad_between(t: Any) -> Any:
    x = leaf(t, 1, 2)
    y = x * 2
    z = (y * y).sum()
    first = t.autograd.grad(z, [y], retain_graph=True)
    return first, t.autograd.grad(z, [y, x])


def grad_of_itself(t: Any) -> Any:
    x = leaf(t, 1, 2)
    y = x * 2
    g = t.ones(2, dtype=t.float64)
    return t.autograd.grad(y, y, g), t.autograd.grad(x, x, g)


def grad_does_not_alias(t: Any) -> Any:
    x, y = leaf(t, 1, 2), leaf(t, 3, 4)
    g = t.ones(2, dtype=t.float64)
    a, b = t.autograd.grad(x + y, [x, y], g)
    return a, b, g


def non_leaf_grad(t: Any) -> Any:
    return (leaf(t, 1) * 2).grad


def wrong_grad(t: Any) -> Any:
    leaf(t, 1, 2).grad = t.ones(3)


def wrong_grad_dtype(t: Any) -> Any:
    leaf(t, 1, 2).grad = t.ones(2)


def wrong_grad_type(t: Any) -> Any:
    leaf(t, 1, 2).grad = 3


def own_grad(t: Any) -> Any:
    x = leaf(t, 1, 2)
    x.grad = x


def given_grad(t: Any) -> Any:
    x = leaf(t, 1, 2)
    mine = t.zeros(2, dtype=t.float64)
    x.grad = mine
    (x * 2).sum().backward()
    return mine, x.grad is mine


def deleted_grad(t: Any) -> Any:
    x = leaf(t, 1, 2)
    (x * 2).sum().backward()
    del x.grad
    return x.grad


def keyword_order(t: Any) -> Any:
    x = leaf(t, 1, 2)
    (x * x).backward(gradient=t.tensor([1, 2.], dtype=t.float64), retain_graph=True)
    return x.grad


def gradient_of_integers(t: Any) -> Any:
    x = leaf(t, 1, 2)
    (x * x).backward(t.tensor([1, 2]))
    return x.grad


def gradient_of_float32(t: Any) -> Any:
    x = leaf(t, 1, 2)
    (x * x).backward(t.tensor([1, 2.]))
    return x.grad


def gradient_with_graph(t: Any) -> Any:
    x, g = leaf(t, 1, 2), leaf(t, 3, 4)
    found, = t.autograd.grad(x * x, x, g, create_graph=True)
    return found, t.autograd.grad(found.sum(), [x, g])


def detached(t: Any) -> Any:
    x = leaf(t, 1, 2)
    y = x * 2
    z = y.detach()
    y.detach_()
    return y.requires_grad, y.is_leaf, z.requires_grad, x.detach().data_ptr() == x.data_ptr()


def detach_a_view(t: Any) -> Any:
    return (leaf(t, 1, 2) * 2).view(2, 1).detach_()


def switched_off(t: Any) -> Any:
    x = leaf(t, 1, 2)
    y = x * 2
    x.requires_grad_(False)
    return x.requires_grad, (x * 2).requires_grad, y.requires_grad


def switched_off_between(t: Any) -> Any:
    return (leaf(t, 1, 2) * 2).requires_grad_(False)


def topk_and_others(t: Any) -> Any:
    x = leaf(t, 3, 1, 2, 2)
    values, at = x.topk(2)
    low, high = x.min(), x.max(0).values
    (values.sum() * 2 + low * high + x.median() + x.sort().values[1]).backward()
    return x.grad, at.requires_grad

def sparse_and_dense(t: Any) -> Any:
    w = t.ones(4, 2, dtype=t.float64, requires_grad=True)
    at = t.tensor([1, 3, 1])
    t.nn.functional.embedding(at, w, sparse=True).sum().backward()
    first = w.grad.to_dense().tolist(), w.grad.is_sparse
    (w * 2).sum().backward()
    return first, w.grad


CASES = [one for one in list(globals().values())
         if callable(one) and getattr(one, "__module__", "") == __name__ and one is not leaf
         and not one.__name__.startswith("_")]


@pytest.mark.parity
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_as_pytorch(case: Any, torch_oracle: Any) -> None:
    assert_same(case, torch_oracle)


def test_known_gradients() -> None:
    t = flambeau
    assert gathers(t)[0] == [[2, 4, 6], [4, 8, 12], [6, 12, 18]]
    assert third_derivatives(t)[0][0].tolist() == pytest.approx(
        [4 * 0.8414709848 + 0.5403023059, 32 * 0.9092974268 + 16 * -0.4161468365])
    x_grad, y_grad, g = two_leaves_of_one_gradient(t)
    assert (x_grad.tolist(), y_grad.tolist(), g.tolist()) == ([5, 5], [1, 1], [7, 7])
    store, grad = _gradient_is_a_view_of_the_users(t)
    assert store.tolist() == [[0, 1, 2], [3, 4, 5]] and grad.tolist() == [0, 0, 0]


def test_errors_without_torch() -> None:
    for case in (twice, of_many, of_constants, unused, not_the_same_shape, wrong_grad):
        with pytest.raises(RuntimeError):
            case(flambeau)
    with pytest.warns(UserWarning, match="not a leaf Tensor"):
        assert non_leaf_grad(flambeau) is None


SHARING = {
    "add": lambda t, x, y, c: x + y,
    "sub": lambda t, x, y, c: x - y,
    "neg": lambda t, x, y, c: -x + y,
    "mul": lambda t, x, y, c: x * c + y * c,
    "square": lambda t, x, y, c: x * x + y * y,
    "maximum": lambda t, x, y, c: t.maximum(x, y),
    "lerp": lambda t, x, y, c: t.lerp(x, y, c),
    "addcmul": lambda t, x, y, c: t.addcmul(c, x, y),
    "where": lambda t, x, y, c: t.where(c > 0, x, y),
    "cat": lambda t, x, y, c: t.cat([x, y]),
    "stack": lambda t, x, y, c: t.stack([x, y]),
    "matmul": lambda t, x, y, c: x @ y,
    "linear": lambda t, x, y, c: t.nn.functional.linear(x, c) + y,
    "relu": lambda t, x, y, c: t.relu(x) + t.relu(y),
    "exp": lambda t, x, y, c: x.exp() + y.tanh(),
    "views": lambda t, x, y, c: x.t().reshape(3, 3) + y[:, :].view(9).view(3, 3),
    "expanded": lambda t, x, y, c: x.expand(2, 3, 3) + y.unsqueeze(0),
    "sum": lambda t, x, y, c: x.sum() + y.sum(0),
    "clone": lambda t, x, y, c: x.clone() + y.detach().clone() + y,
    "dropout": lambda t, x, y, c: t.nn.functional.dropout(x, 0.0) + y.contiguous(),
    "to": lambda t, x, y, c: x.to(t.float64) + y.float().double(),
    "identity": lambda t, x, y, c: x.view_as(y) + y.squeeze(),
    "chunk": lambda t, x, y, c: sum(x.chunk(3)) + y.flip(0),
    "joined": lambda t, x, y, c: t.atan2(x, y) + t.hypot(x, y) + x / y,
    "einsum": lambda t, x, y, c: t.einsum("ij,ij->ij", x, y),
    "addmm": lambda t, x, y, c: t.addmm(x, y, c),
}


@pytest.mark.parametrize("name", SHARING)
def test_gradients_share_no_memory(name: str) -> None:
    t = flambeau
    for create_graph in (False, True):
        c = t.arange(1., 10., dtype=t.float64).view(3, 3)
        x, y = (c * 1).requires_grad_(), (c * 2).requires_grad_()
        made = SHARING[name](t, x, y, c)
        g = t.ones_like(made)
        made.backward(g, create_graph=create_graph)
        every = [x.grad, y.grad, x, y, c, g, made]
        for i, one in enumerate(every):
            for other in every[i + 1:]:
                a, b = one.detach().numpy(), other.detach().numpy()
                assert not np.shares_memory(a, b), (create_graph, i)
        for grad in (x.grad, y.grad):
            assert grad.detach().numpy().flags.writeable and grad.is_contiguous()
