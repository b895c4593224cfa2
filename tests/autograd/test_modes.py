"""no_grad, enable_grad, inference_mode, anomaly detection, threads, deep graphs, explain."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import pytest

import flambeau
from tests.autograd.compare import assert_same


def _leaf(t: Any, *values: float) -> Any:
    return t.tensor(values, dtype=t.float64, requires_grad=True)


def nesting(t: Any) -> Any:
    x, seen = _leaf(t, 1), []

    def look() -> None:
        seen.append((t.is_grad_enabled(), t.is_inference_mode_enabled(), (x * 2).requires_grad))

    look()
    with t.no_grad():
        look()
        with t.enable_grad():
            look()
            with t.set_grad_enabled(False):
                look()
                with t.inference_mode():
                    look()
                    with t.inference_mode(False):
                        look()
                look()
            look()
        look()
    look()
    return seen


def set_at_once(t: Any) -> Any:
    mode = t.set_grad_enabled(False)
    off = t.is_grad_enabled()
    t.set_grad_enabled(True)
    with mode:
        inside = t.is_grad_enabled()
    after = t.is_grad_enabled()
    t.set_grad_enabled(True)
    return off, inside, after


def decorators(t: Any) -> Any:
    def look() -> bool:
        return t.is_grad_enabled()

    with t.no_grad():
        enabled = t.enable_grad()(look)()
    return (t.no_grad()(look)(), t.no_grad(look)(), t.inference_mode()(look)(),
            t.set_grad_enabled(False)(look)(), t.is_grad_enabled(), enabled,
            t.no_grad()(look).__name__)


def generators(t: Any) -> Any:
    seen: list = []

    @t.no_grad()
    def count() -> Any:
        try:
            got = yield t.is_grad_enabled()
            seen.append((got, t.is_grad_enabled()))
            yield t.is_grad_enabled()
        except ValueError:
            seen.append(("caught", t.is_grad_enabled()))
            yield 9
        finally:
            seen.append(("end", t.is_grad_enabled()))
        return 5

    it = count()
    seen += [next(it), t.is_grad_enabled(), it.send("hello"), t.is_grad_enabled()]
    seen.append(it.throw(ValueError()))
    it.close()
    seen.append(list(count()))
    return seen, t.is_grad_enabled()


def errors_leave_the_mode(t: Any) -> Any:
    try:
        with t.no_grad():
            raise KeyError
    except KeyError:
        return t.is_grad_enabled()


def inference(t: Any) -> Any:
    x = _leaf(t, 1, 2)
    with t.inference_mode():
        y = x * 2
        y.add_(1)
        z = y.view(2, 1)
    return y.is_inference(), z.is_inference(), y.requires_grad, (y * 2).is_inference()


def inference_saved(t: Any) -> Any:
    with t.inference_mode():
        y = t.ones(2, dtype=t.float64)
    return _leaf(t, 1, 2) * y


def inference_changed(t: Any) -> Any:
    with t.inference_mode():
        y = t.ones(2)
    return y.add_(1)


def inference_version(t: Any) -> Any:
    with t.inference_mode():
        y = t.ones(2)
    return y._version


def inference_needs_grad(t: Any) -> Any:
    with t.inference_mode():
        y = t.ones(2)
    return y.requires_grad_()


def no_grad_view_changed(t: Any) -> Any:
    x = _leaf(t, 1, 2) * 1
    with t.no_grad():
        y = x.view(2, 1)
    return y.mul_(2)


def leaf_changed(t: Any) -> Any:
    return _leaf(t, 1, 2).mul_(2)


def leaf_view_changed(t: Any) -> Any:
    return _leaf(t, 1, 2)[0].mul_(2)


def leaf_changed_without_grad(t: Any) -> Any:
    x = _leaf(t, 1, 2)
    with t.no_grad():
        x.mul_(2)
    (x * x).sum().backward()
    return x, x.grad, x._version


def saved_changed(t: Any) -> Any:
    x = _leaf(t, 1, 2) * 1
    y = x * x
    x.add_(1)
    y.sum().backward()


def result_changed(t: Any) -> Any:
    y = _leaf(t, 1, 2).exp()
    y.add_(1)
    y.sum().backward()


def changed_through_a_view(t: Any) -> Any:
    x = _leaf(t, 1, 2) * 1
    y = x.sin()
    x[0] = 5
    y.sum().backward()


def changed_where_not_saved(t: Any) -> Any:
    x = _leaf(t, 1, 2)
    y = x * 2
    z = y + 1
    y.mul_(3)
    (z + y).sum().backward()
    return x.grad


def changed_data(t: Any) -> Any:
    x = _leaf(t, 1, 2)
    y = x * x
    x.data.mul_(10)
    y.sum().backward()
    return x.grad, x._version


def changed_through_detach(t: Any) -> Any:
    x = _leaf(t, 1, 2)
    y = x * x
    x.detach().mul_(10)
    y.sum().backward()


def copy_into_parts(t: Any) -> Any:
    x, w = _leaf(t, 1, 2, 3), _leaf(t, 4, 5)
    y = t.zeros(2, 3, dtype=t.float64)
    y[0] = x
    y[1, 1:] = w
    y[:, 0].mul_(w)
    (y * y).sum().backward()
    return y, y.grad_fn.name(), x.grad, w.grad


def view_of_a_view(t: Any) -> Any:
    x = _leaf(t, 1, 2, 3, 4)
    y = x * 1
    z = y.view(2, 2)
    row = z[1]
    row.mul_(10)
    y[0] = 7
    (z * z).sum().backward()
    return y, z, row, x.grad, row._base is y


def split_changed(t: Any) -> Any:
    return (_leaf(t, 1, 2) * 1).split(1)[0].mul_(2)


def unbind_changed(t: Any) -> Any:
    return (_leaf(t, 1, 2) * 1).unbind()[1].mul_(2)


def anomaly_nan(t: Any) -> Any:
    with t.autograd.detect_anomaly():
        (_leaf(t, -1, 0).sqrt() * 0).sum().backward()


def anomaly_no_nan_check(t: Any) -> Any:
    x = _leaf(t, -1, 4)
    with t.autograd.detect_anomaly(check_nan=False):
        x.sqrt().sum().backward()
    return x.grad, t.is_anomaly_enabled()


def anomaly_switch(t: Any) -> Any:
    with t.autograd.set_detect_anomaly(True, False):
        seen = t.is_anomaly_enabled(), t.is_anomaly_check_nan_enabled()
    return seen, t.is_anomaly_enabled()


def forward_over_reverse(t: Any) -> Any:
    forward_ad = t.autograd.forward_ad
    x = _leaf(t, 1, 2)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, t.tensor([1., 0.], dtype=t.float64))
        y = (dual ** 3).sum()
        tangent = forward_ad.unpack_dual(y).tangent
        second, = t.autograd.grad(tangent, x)
    return tangent, second


def dual_outside(t: Any) -> Any:
    return t.autograd.forward_ad.make_dual(t.ones(2), t.ones(2))


def dual_in_place(t: Any) -> Any:
    forward_ad = t.autograd.forward_ad
    with forward_ad.dual_level():
        y = t.zeros(3, dtype=t.float64)
        y[1:] = forward_ad.make_dual(t.ones(2, dtype=t.float64) * 2,
                                     t.tensor([1., 5.], dtype=t.float64))
        y.mul_(3)
        found = tuple(forward_ad.unpack_dual(y))
    return found, y, y + 1


def dual_wrong_shape(t: Any) -> Any:
    with t.autograd.forward_ad.dual_level():
        return t.autograd.forward_ad.make_dual(t.ones(2), t.ones(3))


def functional(t: Any) -> Any:
    f = t.autograd.functional
    x = t.tensor([1., 2., 3.], dtype=t.float64)
    w = t.tensor([2., 3., 4.], dtype=t.float64)

    def vector(a: Any, b: Any) -> Any:
        return a * b.sum(), (a * a * b).sum()

    def scalar(a: Any) -> Any:
        return (a ** 3).sum() * a[0]

    return (f.jacobian(vector, (x, w)), f.hessian(scalar, x), f.vjp(scalar, x),
            f.jvp(scalar, x, w), f.vhp(scalar, x, w), f.hvp(scalar, x, w),
            f.jacobian(scalar, x, vectorize=True),
            f.hessian(scalar, x, vectorize=True, outer_jacobian_strategy="forward-mode"),
            f.jacobian(scalar, x, create_graph=True).requires_grad,
            f.jacobian(lambda a: t.ones(2), x))


def functional_strict(t: Any) -> Any:
    return t.autograd.functional.jacobian(lambda a: t.ones(2), t.ones(3), strict=True)


def functional_wrong(t: Any) -> Any:
    return t.autograd.functional.vjp(lambda a: a * 2, t.ones(3))


def functional_no_tensor(t: Any) -> Any:
    return t.autograd.functional.hessian(lambda a: a, 3)


def wrong_derivative(t: Any) -> Any:
    Mine = type("Mine", (t.autograd.Function,), {
        "forward": staticmethod(lambda ctx, x: x * 2),
        "backward": staticmethod(lambda ctx, g: g * 3)})
    x = _leaf(t, 1, 2)
    seen = [t.autograd.gradcheck(Mine.apply, x, raise_exception=False),
            t.autograd.gradcheck(Mine.apply, x, raise_exception=False, fast_mode=True),
            t.autograd.gradcheck(lambda a: a * 2, x),
            t.autograd.gradgradcheck(lambda a: a ** 3, x)]
    try:
        t.autograd.gradcheck(Mine.apply, x)
    except RuntimeError as error:
        seen.append(str(error).splitlines()[0])
    return seen


def gradcheck_of_constants(t: Any) -> Any:
    return t.autograd.gradcheck(lambda a: a * 2, t.ones(2, dtype=t.float64))


CASES = [one for name, one in list(globals().items())
         if getattr(one, "__module__", "") == __name__ and not name.startswith("_")]


@pytest.mark.parity
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_as_pytorch(case: Any, torch_oracle: Any) -> None:
    assert_same(case, torch_oracle)


def test_known_results() -> None:
    t = flambeau
    flags = [True, False, True, False, False, True, False, True, False, True]
    assert [one[0] for one in nesting(t)] == flags
    y, _, x_grad, w_grad = copy_into_parts(t)
    assert y.tolist() == [[4, 2, 3], [0, 4, 5]]
    assert x_grad.tolist() == [32, 4, 6] and w_grad.tolist() == [8 + 8, 10]
    for case in (saved_changed, result_changed, leaf_changed, split_changed, anomaly_nan):
        with pytest.raises(RuntimeError):
            case(t)


def test_a_deep_graph_needs_no_recursion_and_is_freed() -> None:
    x = flambeau.ones(2, requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y + 1
    y.sum().backward()
    assert x.grad.tolist() == [1, 1]
    ref = weakref.ref(y.grad_fn)
    del y
    gc.collect()
    assert ref() is None


def test_backward_frees_what_was_saved() -> None:
    x = flambeau.ones(1000, requires_grad=True)
    middle = x * 2
    y = (middle * middle).sum()
    ref = weakref.ref(middle)
    del middle
    assert ref() is not None
    y.backward()
    assert ref() is None


def test_threads_share_leaves() -> None:
    x = flambeau.zeros(100, dtype=flambeau.float64, requires_grad=True)
    failed = []

    def work(k: int) -> None:
        try:
            assert flambeau.is_grad_enabled()
            for _ in range(100):
                ((x + k) * k).sum().backward()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in (1, 2, 3)]
    with flambeau.no_grad():
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    assert not failed
    assert x.grad.tolist() == [600.0] * 100


def test_threads_share_a_graph() -> None:
    x = flambeau.ones(10, dtype=flambeau.float64, requires_grad=True)
    y = (x * x).sin().sum()
    threads = [threading.Thread(target=lambda: y.backward(retain_graph=True)) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    once, = flambeau.autograd.grad(y, x)
    assert flambeau.allclose(x.grad, once * 8)


def test_explain() -> None:
    w = flambeau.tensor(2.0, requires_grad=True)
    b = flambeau.tensor(1.0)
    loss = w * w + b
    assert "w" in str(flambeau.autograd.explain(loss))
    assert flambeau.autograd.explain(b) != flambeau.autograd.explain(loss)
    with flambeau.no_grad():
        cut = w * 2
    assert repr(flambeau.autograd.explain(cut)) == str(flambeau.autograd.explain(cut)) != ""
    model = flambeau.nn.Linear(2, 1)
    model.bias.requires_grad_(False)
    said = flambeau.autograd.explain(model)
    assert "weight" in said and "bias" in said
    for wrong in ((), (3,)):
        with pytest.raises(TypeError):
            flambeau.autograd.explain(*wrong)
