"""Custom functions: what forward may return and mark, what backward gets and may give."""

from __future__ import annotations

from typing import Any

import pytest

import flambeau
from tests.autograd.compare import assert_same


def _leaf(t: Any, *values: float) -> Any:
    return t.tensor(values, dtype=t.float64, requires_grad=True)


def _make(t: Any, **members: Any) -> Any:
    """A Function of the static methods given."""
    return type("Mine", (t.autograd.Function,),
                {name: staticmethod(one) for name, one in members.items()})


def saves(t: Any) -> Any:
    def forward(ctx: Any, x: Any, k: float) -> Any:
        ctx.save_for_backward(x, None)
        ctx.k = k
        return x * x * k

    def backward(ctx: Any, g: Any) -> Any:
        x, nothing = ctx.saved_tensors
        return g * 2 * x * ctx.k, nothing

    x = _leaf(t, 1, 2)
    y = _make(t, forward=forward, backward=backward).apply(x, 3)
    y.sum().backward()
    return y.grad_fn.name(), x.grad


def saved_twice(t: Any) -> Any:
    y = _make(t, forward=lambda ctx, x: (ctx.save_for_backward(x), x * 2)[1],
              backward=lambda ctx, g: g * ctx.saved_tensors[0]).apply(_leaf(t, 1, 2)).sum()
    y.backward()
    y.backward()


def saved_changed(t: Any) -> Any:
    x = _leaf(t, 1, 2) * 1
    y = _make(t, forward=lambda ctx, x: (ctx.save_for_backward(x), x * 2)[1],
              backward=lambda ctx, g: g * ctx.saved_tensors[0]).apply(x)
    x.add_(1)
    y.sum().backward()


def twice_differentiable(t: Any) -> Any:
    x = _leaf(t, 1, 2)
    y = _make(t, forward=lambda ctx, x: (ctx.save_for_backward(x), x ** 3)[1],
              backward=lambda ctx, g: g * 3 * ctx.saved_tensors[0] ** 2).apply(x)
    first, = t.autograd.grad(y.sum(), x, create_graph=True)
    return first, t.autograd.grad(first.sum(), x)


def once(t: Any) -> Any:
    def backward(ctx: Any, g: Any) -> Any:
        return g * 2, t.is_grad_enabled()

    def real(ctx: Any, g: Any) -> Any:
        return backward(ctx, g)[0]

    x = _leaf(t, 1, 2)
    wrapped = t.autograd.function.once_differentiable(real)
    y = _make(t, forward=lambda ctx, x: x * 2, backward=wrapped).apply(x)
    first, = t.autograd.grad((y * y).sum(), x, create_graph=True)
    return first, t.autograd.grad(first.sum(), x)


def dirty(t: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.mark_dirty(x)
        return x.mul_(3)

    x = _leaf(t, 1, 2)
    y = x * 1
    z = _make(t, forward=forward, backward=lambda ctx, g: g * 3).apply(y)
    z.sum().backward()
    return z is y, y._version, y.grad_fn.name(), x.grad


def dirty_leaf(t: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.mark_dirty(x)
        return x.mul_(3)

    return _make(t, forward=forward, backward=lambda ctx, g: g).apply(_leaf(t, 1, 2))


def dirty_not_returned(t: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.mark_dirty(x)
        return x + 1

    return _make(t, forward=forward, backward=lambda ctx, g: g).apply(_leaf(t, 1, 2) * 1)


def not_differentiable(t: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        at = x.argsort()
        mask = x > 1
        part = x * 2
        ctx.mark_non_differentiable(at, part)
        return x * 3, at, part, mask

    def backward(ctx: Any, *grads: Any) -> Any:
        seen.append([None if g is None else (str(g.dtype), g.tolist()) for g in grads])
        return grads[0] * 3

    seen: list = []
    x = _leaf(t, 1, 2)
    found = _make(t, forward=forward, backward=backward).apply(x)
    found[0].sum().backward()
    return [one.requires_grad for one in found], seen, x.grad


def needs(t: Any) -> Any:
    seen: list = []

    def backward(ctx: Any, g: Any) -> Any:
        seen.append(ctx.needs_input_grad)
        return g, None, g, None

    apply = _make(t, forward=lambda ctx, a, b, c, d: (seen.append(ctx.needs_input_grad),
                                                      a + b + c)[1], backward=backward).apply
    x, y = _leaf(t, 1), _leaf(t, 2)
    apply(x, y.detach(), y, "text").sum().backward()
    return seen, apply(x.detach(), x.detach(), x.detach(), 1).requires_grad


def in_two_parts(t: Any) -> Any:
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(inputs[0], output)

    def backward(ctx: Any, g: Any) -> Any:
        x, y = ctx.saved_tensors
        return g * y / x, None

    x = _leaf(t, 1, 2)
    Mine = _make(t, forward=lambda x, k: x * k, setup_context=setup_context, backward=backward)
    y = Mine.apply(x, 4)
    y.sum().backward()
    return y, x.grad


def returns_its_input(t: Any) -> Any:
    x = _leaf(t, 1, 2)
    y = _make(t, forward=lambda ctx, x: x, backward=lambda ctx, g: g * 5).apply(x)
    y.sum().backward()
    return y is x, y.is_leaf, y.data_ptr() == x.data_ptr(), x.grad


def returned_input_changed(t: Any) -> Any:
    y = _make(t, forward=lambda ctx, x: x, backward=lambda ctx, g: g * 5).apply(_leaf(t, 1) * 1)
    y.mul_(2)
    y.sum().backward()


def returns_a_view(t: Any) -> Any:
    x = _leaf(t, 1, 2)
    y = _make(t, forward=lambda ctx, x: x.view(2, 1),
              backward=lambda ctx, g: g.view(2) * 5).apply(x)
    y.sum().backward()
    return y._is_view(), x.grad


def returned_view_changed(t: Any) -> Any:
    y = _make(t, forward=lambda ctx, x: x.view(2, 1),
              backward=lambda ctx, g: g.view(2)).apply(_leaf(t, 1, 2) * 1)
    y.mul_(2)


def materialized(t: Any) -> Any:
    seen: list = []

    def case(switch: bool) -> None:
        def forward(ctx: Any, x: Any) -> Any:
            ctx.set_materialize_grads(switch)
            return x * 2, x.view(2, 1) * 3

        def backward(ctx: Any, a: Any, b: Any) -> Any:
            seen.append(None if b is None else b.tolist())
            return a * 2

        _make(t, forward=forward, backward=backward).apply(_leaf(t, 1, 2))[0].sum().backward()

    case(True)
    case(False)
    return seen


def wrong_number(t: Any) -> Any:
    _make(t, forward=lambda ctx, a, b: a * b, backward=lambda ctx, g: g).apply(
        _leaf(t, 1), _leaf(t, 2)).sum().backward()


def too_many(t: Any) -> Any:
    x = _leaf(t, 1)
    _make(t, forward=lambda ctx, a: a * 2, backward=lambda ctx, g: (g, None)).apply(
        x).sum().backward()
    return x.grad


def too_many_tensors(t: Any) -> Any:
    _make(t, forward=lambda ctx, a: a * 2, backward=lambda ctx, g: (g, g)).apply(
        _leaf(t, 1)).sum().backward()


def wrong_shape(t: Any) -> Any:
    _make(t, forward=lambda ctx, a: a * 2, backward=lambda ctx, g: t.ones(3)).apply(
        _leaf(t, 1, 2)).sum().backward()


def broadcast_gradient(t: Any) -> Any:
    x = _leaf(t, 1, 2)
    _make(t, forward=lambda ctx, a: a * 2, backward=lambda ctx, g: t.ones(3, 2)).apply(
        x).sum().backward()
    return x.grad


def wrong_type(t: Any) -> Any:
    _make(t, forward=lambda ctx, a: a * 2, backward=lambda ctx, g: 3).apply(
        _leaf(t, 1, 2)).sum().backward()


def no_backward(t: Any) -> Any:
    _make(t, forward=lambda ctx, a: a * 2).apply(_leaf(t, 1)).sum().backward()


def no_forward(t: Any) -> Any:
    return _make(t).apply(_leaf(t, 1))


def instance(t: Any) -> Any:
    return _make(t, forward=lambda ctx, a: a)()(_leaf(t, 1))


def nothing_back(t: Any) -> Any:
    x, y = _leaf(t, 1), _leaf(t, 2)
    _make(t, forward=lambda ctx, a, b: a * b, backward=lambda ctx, g: (None, g)).apply(
        x, y).sum().backward()
    return x.grad, y.grad


def one_gradient_for_two(t: Any) -> Any:
    def backward(ctx: Any, g: Any) -> Any:
        both = g * 2
        return both, both

    x, y = _leaf(t, 1), _leaf(t, 2)
    _make(t, forward=lambda ctx, a, b: a + b, backward=backward).apply(x, y).sum().backward()
    x.grad.mul_(10)
    return x.grad, y.grad


def gives_what_it_saved(t: Any) -> Any:
    x = _leaf(t, 1, 2)
    kept = t.tensor([5., 6.], dtype=t.float64)
    y = _make(t, forward=lambda ctx, a: a * 2, backward=lambda ctx, g: kept).apply(x)
    y.sum().backward()
    x.grad.mul_(10)
    return kept, x.grad


def mixed_results(t: Any) -> Any:
    x = _leaf(t, 1)
    found = _make(t, forward=lambda ctx, a: (a * 2, "text", None, 3),
                  backward=lambda ctx, *g: (seen.append([one is None for one in g]),
                                            g[0])[1])
    seen: list = []
    out = found.apply(x)
    out[0].sum().backward()
    return out[1:], seen, x.grad


def modes_inside(t: Any) -> Any:
    seen: list = []

    def forward(ctx: Any, x: Any) -> Any:
        seen.append((t.is_grad_enabled(), x.requires_grad, (x * 2).requires_grad))
        return x * 2

    def backward(ctx: Any, g: Any) -> Any:
        seen.append((t.is_grad_enabled(), g.requires_grad))
        return g

    x = _leaf(t, 1)
    Mine = _make(t, forward=forward, backward=backward)
    Mine.apply(x).sum().backward()
    Mine.apply(x).sum().backward(create_graph=True)
    with t.no_grad():
        seen.append(Mine.apply(x).requires_grad)
    return seen


def forward_mode(t: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.x = x
        return x * 2

    Mine = _make(t, forward=forward, backward=lambda ctx, g: g * 2,
                 jvp=lambda ctx, tangent: tangent * ctx.x * 10)
    forward_ad = t.autograd.forward_ad
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(t.tensor([0., 1.]), t.tensor([1., 2.]))
        return tuple(forward_ad.unpack_dual(Mine.apply(dual)))


def mapped(t: Any) -> Any:
    seen: list = []

    def vmap(info: Any, in_dims: Any, x: Any, k: Any) -> Any:
        seen.append((info.batch_size, info.randomness, in_dims))
        return x * k, in_dims[0]

    Mine = _make(t, forward=lambda x, k: x * k, setup_context=lambda ctx, inputs, output: None,
                 backward=lambda ctx, g: (g, None), vmap=vmap)
    return t.vmap(lambda x: Mine.apply(x, 3))(t.arange(6.).view(3, 2)), seen


def mapped_by_itself(t: Any) -> Any:
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(inputs[0])

    Mine = type("Mine", (t.autograd.Function,), {
        "generate_vmap_rule": True, "forward": staticmethod(lambda x: x ** 3),
        "setup_context": staticmethod(setup_context),
        "backward": staticmethod(lambda ctx, g: g * 3 * ctx.saved_tensors[0] ** 2)})
    x = t.arange(4.)
    return t.vmap(t.func.grad(Mine.apply))(x), t.vmap(Mine.apply)(x)


def save_a_local(t: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    x = _leaf(t, 0, 1)
    y = _make(t, forward=forward, backward=lambda ctx, g: g * ctx.saved_tensors[0]).apply(x)
    first, = t.autograd.grad(y.sum(), x, create_graph=True)
    return first, t.autograd.grad(first.sum(), x)


def save_no_tensor(t: Any) -> Any:
    return _make(t, forward=lambda ctx, x: (ctx.save_for_backward(3), x * 1)[1],
                 backward=lambda ctx, g: g).apply(_leaf(t, 1))


def keyword(t: Any) -> Any:
    return _make(t, forward=lambda ctx, x: x * 1, backward=lambda ctx, g: g).apply(x=_leaf(t, 1))


CASES = [one for name, one in list(globals().items())
         if getattr(one, "__module__", "") == __name__ and not name.startswith("_")]


@pytest.mark.parity
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_as_pytorch(case: Any, torch_oracle: Any) -> None:
    assert_same(case, torch_oracle)


def test_known_results() -> None:
    assert saves(flambeau)[1].tolist() == [6, 12]
    first, second = twice_differentiable(flambeau)
    assert first.tolist() == [3, 12] and second[0].tolist() == [6, 12]
    assert [one.tolist() for one in one_gradient_for_two(flambeau)] == [[20], [2]]
    kept, grad = gives_what_it_saved(flambeau)
    assert kept.tolist() == [5, 6] and grad.tolist() == [50, 60]
    for case in (saved_twice, saved_changed, wrong_number, wrong_shape, once):
        with pytest.raises(RuntimeError):
            case(flambeau)
