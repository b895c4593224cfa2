"""Hooks of tensors, of nodes, after accumulation and around saved tensors."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

import flambeau
from tests.autograd.compare import assert_same


def _leaf(t: Any, *values: float) -> Any:
    return t.tensor(values, dtype=t.float64, requires_grad=True)


def order(t: Any) -> Any:
    x, seen = _leaf(t, 1, 2), []
    y = x * 2
    for k in range(3):
        y.register_hook(lambda g, k=k: seen.append((k, g.tolist())))
        x.register_hook(lambda g, k=k: seen.append((-k, g.tolist())))
    y.sum().backward()
    return seen, x.grad


def replacement(t: Any) -> Any:
    x = _leaf(t, 1, 2)
    y = x * 2
    y.register_hook(lambda g: g * 10)
    y.register_hook(lambda g: g + 1)
    x.register_hook(lambda g: -g)
    (y + x).sum().backward()
    return x.grad


def removal(t: Any) -> Any:
    x = _leaf(t, 1, 2)
    handle = x.register_hook(lambda g: g * 10)
    (x * 1).sum().backward()
    handle.remove()
    handle.remove()
    (x * 1).sum().backward()
    with (x * 1).register_hook(lambda g: g):
        pass
    return x.grad


def removes_itself(t: Any) -> Any:
    x, seen = _leaf(t, 1, 2), []
    y = x * 2
    handles = []

    def once(g: Any) -> None:
        seen.append("once")
        handles[0].remove()

    handles.append(y.register_hook(once))
    y.register_hook(lambda g: seen.append("after"))
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    return seen


def added_during_backward(t: Any) -> Any:
    x, seen = _leaf(t, 1, 2), []
    y = x * 2
    z = y * 3

    def add(g: Any) -> None:
        y.register_hook(lambda g: seen.append(("y", g.tolist())))
        x.register_hook(lambda g: g * 100)

    z.register_hook(add)
    z.sum().backward()
    return seen, x.grad


def leaf_hook_sees_the_sum(t: Any) -> Any:
    x, seen = _leaf(t, 1, 2), []
    x.register_hook(lambda g: seen.append(g.tolist()))
    (x * 2 + x * x + x).sum().backward()
    return seen


def keeps_the_gradient(t: Any) -> Any:
    x, kept = _leaf(t, 1, 2), []
    x.register_hook(kept.append)
    (x * 2).sum().backward()
    x.grad.add_(5)
    return kept, x.grad


def bad_type(t: Any) -> Any:
    x = _leaf(t, 1, 2)
    x.register_hook(lambda g: 3)
    (x * 2).sum().backward()


def bad_shape(t: Any) -> Any:
    x = _leaf(t, 1, 2)

    def widen(g: Any) -> Any:
        return t.ones(3, dtype=t.float64)

    (x * 2).register_hook(widen)
    y = x * 2
    y.register_hook(widen)
    y.sum().backward()


def bad_dtype(t: Any) -> Any:
    x = _leaf(t, 1, 2)

    def narrow(g: Any) -> Any:
        return g.float()

    x.register_hook(narrow)
    (x * 2).sum().backward()


def on_constants(t: Any) -> Any:
    return t.ones(2).register_hook(print)


def in_grad(t: Any) -> Any:
    x = _leaf(t, 1, 2)
    y = x * 2
    y.register_hook(lambda g: g * 3)
    x.register_hook(lambda g: g * 5)
    return t.autograd.grad((y * y).sum(), [x, y])


def after_a_change(t: Any) -> Any:
    x, seen = _leaf(t, 1, 2), []
    y = x * 2
    y.register_hook(lambda g: seen.append(("before", g.tolist())))
    y.mul_(3)
    y.register_hook(lambda g: seen.append(("after", g.tolist())))
    y.sum().backward()
    return seen, x.grad


def recorded(t: Any) -> Any:
    x = _leaf(t, 1, 2)
    y = x ** 3
    y.register_hook(lambda g: g * x)
    g, = t.autograd.grad(y.sum(), x, create_graph=True)
    return g, t.autograd.grad(g.sum(), x)


def modes_in_hooks(t: Any) -> Any:
    x, seen = _leaf(t, 1, 2), []
    y = x * 2
    y.register_hook(lambda g: seen.append((t.is_grad_enabled(), g.requires_grad)))
    y.sum().backward(retain_graph=True)
    y.sum().backward(create_graph=True)
    return seen


def backward_in_a_hook(t: Any) -> Any:
    x, w = _leaf(t, 1, 2), _leaf(t, 3, 4)
    y = x * 2

    def run(g: Any) -> None:
        with t.enable_grad():
            (w * w).sum().backward()

    y.register_hook(run)
    y.sum().backward()
    return x.grad, w.grad


def raises(t: Any) -> Any:
    x = _leaf(t, 1, 2)
    y = x * 2

    def fail(g: Any) -> None:
        raise KeyError("mine")

    y.register_hook(fail)
    try:
        y.sum().backward()
    except KeyError as error:
        return str(error), x.grad, t.is_grad_enabled()


def node_hooks(t: Any) -> Any:
    x, w, seen = _leaf(t, 1, 2), _leaf(t, 3, 4), []
    y = x * w
    node = y.grad_fn
    node.register_prehook(lambda given: seen.append(("pre", len(given), given[0].tolist())))
    node.register_prehook(lambda given: (given[0] * 2,))

    def post(found: tuple, given: tuple) -> Any:
        seen.append(("post", [g.tolist() for g in found], given[0].tolist()))
        return found[0] * 10, found[1]

    handle = node.register_hook(post)
    y.sum().backward(retain_graph=True)
    handle.remove()
    y.sum().backward()
    return seen, x.grad, w.grad


def hooks_of_both_kinds(t: Any) -> Any:
    x, seen = _leaf(t, 1, 2), []
    y = x * 2
    y.grad_fn.register_prehook(lambda g: seen.append("pre"))
    y.register_hook(lambda g: seen.append("tensor"))
    y.grad_fn.register_hook(lambda a, b: seen.append("post"))
    y.retain_grad()
    y.sum().backward()
    return seen


def wrong_count(t: Any) -> Any:
    y = _leaf(t, 1, 2) * _leaf(t, 3, 4)

    def one(found: tuple, given: tuple) -> Any:
        return found[:1]

    y.grad_fn.register_hook(one)
    y.sum().backward()


def none_from_a_prehook(t: Any) -> Any:
    x = _leaf(t, 1, 2)
    y = x * 2
    y.grad_fn.register_prehook(lambda g: (None,))
    y.sum().backward()
    return x.grad


def accumulator(t: Any) -> Any:
    x, seen = _leaf(t, 1, 2), []
    node = (x * 2).grad_fn.next_functions[0][0]
    node.register_prehook(lambda g: (g[0] * 3,))
    node.register_hook(lambda a, b: seen.append((a, b[0].tolist())))
    (x * 2).sum().backward()
    return node.name(), node.variable is x, seen, x.grad


def post_accumulate(t: Any) -> Any:
    x, seen = _leaf(t, 1, 2), []

    def step(p: Any) -> None:
        seen.append((p is x, p.grad.tolist()))
        p.grad = None

    handle = x.register_post_accumulate_grad_hook(step)
    (x * x + x).sum().backward()
    state = x.grad
    handle.remove()
    (x * x).sum().backward()
    return seen, state, x.grad


def post_accumulate_not_in_grad(t: Any) -> Any:
    x, seen = _leaf(t, 1, 2), []
    x.register_post_accumulate_grad_hook(lambda p: seen.append(1))
    t.autograd.grad((x * x).sum(), x)
    return seen


def post_accumulate_of_non_leaf(t: Any) -> Any:
    return (_leaf(t, 1) * 2).register_post_accumulate_grad_hook(print)


def post_accumulate_returns(t: Any) -> Any:
    x = _leaf(t, 1)
    x.register_post_accumulate_grad_hook(lambda p: p)
    (x * 2).backward()


def saved_hooks(t: Any) -> Any:
    x, w, seen = _leaf(t, 1, 2), _leaf(t, 3, 4), []

    def pack(value: Any) -> Any:
        seen.append(("pack", value.tolist()))
        return value.detach().clone(), 2

    def unpack(packed: Any) -> Any:
        seen.append(("unpack", packed[0].tolist()))
        return packed[0] * packed[1]

    with t.autograd.graph.saved_tensors_hooks(pack, unpack):
        y = x * w
    z = y.sin()
    z.sum().backward()
    return seen, x.grad, w.grad


def saved_hooks_inside(t: Any) -> Any:
    x, seen = _leaf(t, 1, 2), []
    hooks = t.autograd.graph.saved_tensors_hooks
    with hooks(lambda v: (seen.append("outer"), v)[1], lambda v: v):
        with hooks(lambda v: (seen.append("inner"), v)[1], lambda v: v):
            y = x.exp()
        z = y.sin()
    z.sum().backward()
    return seen, x.grad


def unpack_gives_no_tensor(t: Any) -> Any:
    x = _leaf(t, 1, 2)
    with t.autograd.graph.saved_tensors_hooks(lambda v: 3, lambda v: v):
        y = x * x
    y.sum().backward()


def hooks_refused(t: Any) -> Any:
    with t.autograd.graph.disable_saved_tensors_hooks("not here"):
        with t.autograd.graph.saved_tensors_hooks(lambda v: v, lambda v: v):
            return _leaf(t, 1).exp()


def on_the_cpu(t: Any) -> Any:
    x = _leaf(t, 1, 2)
    with t.autograd.graph.save_on_cpu():
        y = (x * x).exp()
    y.sum().backward()
    return x.grad


def multi_grad(t: Any) -> Any:
    x, w, seen = _leaf(t, 1, 2), _leaf(t, 3, 4), []

    def told(grads: Any) -> None:
        seen.append([None if g is None else g.tolist() for g in grads])

    handle = t.autograd.graph.register_multi_grad_hook([x, w], told)
    (x * w).sum().backward()
    (x * 2).sum().backward()
    handle.remove()
    (x * w).sum().backward()
    return seen


def multi_grad_any(t: Any) -> Any:
    x, w, seen = _leaf(t, 1, 2), _leaf(t, 3, 4), []
    t.autograd.graph.register_multi_grad_hook(
        [x, w], lambda g: seen.append(tuple(g.shape)), mode="any")
    (x * w).sum().backward()
    return seen


def graph_of_nodes(t: Any) -> Any:
    x, w = _leaf(t, 1, 2), _leaf(t, 3, 4)
    y = (x * w).sum() + x[0]
    names = []
    todo = [y.grad_fn]
    while todo:
        node = todo.pop()
        names.append((node.name(), [None if n is None else (n.name(), k)
                                    for n, k in node.next_functions]))
        todo += [n for n, _ in node.next_functions if n is not None]
    return names


def several_outputs(t: Any) -> Any:
    x = _leaf(t, 1, 2, 3)
    a, b, c = x.unbind()
    values, _ = x.sort()
    return ([(one.grad_fn.name(), one.output_nr) for one in (a, b, c, values)],
            (b * 2).grad_fn.next_functions[0][1], a.grad_fn is b.grad_fn or
            a.grad_fn.next_functions[0][0] is b.grad_fn.next_functions[0][0])


def node_names(t: Any) -> Any:
    x = t.rand(2, 3, requires_grad=True)
    made = [x + 1, x - 1, x @ x.t(), x.view(6), x.reshape(3, 2), x[0], x[:, 1:], x.t(), x.exp(),
            x.sum(0), x.mean(), x.max(), x.max(0)[0], x.clone(), x.relu(), x.softmax(0), x / x,
            x ** 2, t.cat([x, x]), t.stack([x]), x.expand(2, 2, 3), x.std(),
            x.permute(1, 0), x.unsqueeze(0), x.squeeze(), x.to(t.float64), -x,
            x.index_select(0, t.tensor([0])), x[t.tensor([0, 1])], x.masked_fill(x > 2, 0),
            t.where(x > 0, x, x), x.tanh(), x.sigmoid(), x.log(), x.abs(), x.norm(), x.var(),
            x.cumsum(0), x.prod(), t.nn.functional.linear(x, x), x.flatten(), x.repeat(2, 1)]
    return [type(one.grad_fn).__name__ + " " + one.grad_fn.name() for one in made]


def edges(t: Any) -> Any:
    x = _leaf(t, 1, 2)
    y = x * 2
    edge = t.autograd.graph.get_gradient_edge(y)
    z = y * y
    return edge.node.name(), edge.output_nr, t.autograd.grad(z.sum(), [edge, x])


def written_into(t: Any) -> Any:
    x = _leaf(t, 1, 2)
    y = x * x
    with t.autograd.graph.allow_mutation_on_saved_tensors():
        z = y.exp() * y
        y.mul_(0)
        z.sum().backward()
    return x.grad


CASES = [one for name, one in list(globals().items())
         if getattr(one, "__module__", "") == __name__ and not name.startswith("_")]


@pytest.mark.parity
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_as_pytorch(case: Any, torch_oracle: Any) -> None:
    assert_same(case, torch_oracle)


def test_known_results() -> None:
    assert replacement(flambeau).tolist() == [-23, -23]
    assert leaf_hook_sees_the_sum(flambeau) == [[5, 7]]
    assert post_accumulate(flambeau)[0] == [(True, [3, 5])]
    seen, grad = keeps_the_gradient(flambeau)
    assert seen[0].tolist() == [2, 2] and grad.tolist() == [7, 7]


def test_hooks_do_not_keep_the_graph_alive() -> None:
    x = _leaf(flambeau, 1, 2)
    y = x * 2
    y.register_hook(lambda g: None)
    ref = weakref.ref(y)
    del y
    gc.collect()
    assert ref() is None
