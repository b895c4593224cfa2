"""Views by generated code are what the functions in Python make, and leave nothing behind."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.backends import large
from flambeau.core import dispatch
from flambeau.core.op import OPS

NAMES = tuple(dispatch.VIEW_MAKERS)
CALLS: dict[str, Callable[[Any], Any]] = {
    "x[1]": lambda x: x[1], "x[-1]": lambda x: x[-1], "x[1, 2]": lambda x: x[1, 2],
    "x[1:3]": lambda x: x[1:3], "x[:, 1]": lambda x: x[:, 1], "x[None]": lambda x: x[None],
    "x[...]": lambda x: x[...], "x[1:3, None, ::2]": lambda x: x[1:3, None, ::2],
    "t": lambda x: x.t(), "T": lambda x: x.T, "mT": lambda x: x.mT,
    "transpose": lambda x: x.transpose(0, -1), "permute": lambda x: x.permute(1, 0),
    "view": lambda x: x.view(2, 2, -1), "view of a size": lambda x: x.view(torch.Size((12,))),
    "view of a list": lambda x: x.view([3, 4]), "reshape": lambda x: x.reshape((6, 2)),
    "reshape that copies": lambda x: x.t().reshape(12), "flatten": lambda x: x.flatten(),
    "view_as": lambda x: x.view_as(torch.ones(2, 6)), "unsqueeze": lambda x: x.unsqueeze(-1),
    "squeeze": lambda x: x[None].squeeze(), "squeeze(0)": lambda x: x[None].squeeze(0),
    "expand": lambda x: x[None].expand(3, -1, 3), "expand in front": lambda x: x.expand(2, 4, 3),
    "expand to as much": lambda x: x.expand(4, 3), "expand_as": lambda x: x.expand_as(x[None]),
    "select": lambda x: x.select(1, 0), "narrow": lambda x: x.narrow(0, 1, 2),
    "diagonal": lambda x: x.diagonal(), "diagonal 1": lambda x: x.diagonal(1),
    "movedim": lambda x: x.movedim(0, 1), "chunk": lambda x: x.chunk(3), "split": lambda x:
    x.split(2, 1), "split of sizes": lambda x: x.split([1, 3]), "unbind": lambda x: x.unbind(),
    "unbind(1)": lambda x: x.unbind(1), "iteration": list, "detach": lambda x: x.detach(),
    "view of a view": lambda x: x.view(2, 6)[0].view(3, 2).t(), "parts of a view": lambda x:
    x.view(2, 6).unbind(1), "view of a part": lambda x: x.unbind()[1].view(3, 1),
    "view as another dtype": lambda x: x.view(torch.int32), "unfold": lambda x: x.unfold(0, 2, 1),
}
ERRORS: dict[str, Callable[[Any], Any]] = {
    "index": lambda x: x[4], "indices": lambda x: x[0, 0, 0], "view": lambda x: x.view(5, -1),
    "two unknown": lambda x: x.view(-1, -1), "a size below": lambda x: x.view(-2, 6),
    "not dense": lambda x: x.t().view(12), "large": lambda x: x.view(1 << 40, 1 << 40),
    "larger": lambda x: x.reshape(1 << 70), "expand": lambda x: x.expand(4, 5),
    "expand to fewer": lambda x: x.expand(4), "expand by -1": lambda x: x.expand(-1, 4, 3),
    "permute": lambda x: x.permute(0, 0), "chunk": lambda x: x.chunk(0), "a word": lambda x:
    x.view("a"), "split": lambda x: x.split([1, 1]),
}


@pytest.fixture(scope="module")
def native() -> dict[str, Any]:
    if not large.available():
        pytest.skip("no generated code here")
    # llvmlite may be absent
    from flambeau.core.native_views import view_makers

    found = view_makers(dispatch.VIEW_MAKERS, dispatch._forget_dead)
    if not found:
        pytest.skip("this interpreter's objects are not known")
    return found


@pytest.fixture
def makers(native: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """What switches between generated code and Python."""

    def choose(generated: bool) -> None:
        found = native if generated else dispatch.VIEW_MAKERS
        for name in NAMES:
            monkeypatch.setattr(dispatch, name, found[name])

    choose(True)
    return choose


def _tensors(found: Any) -> list[Any]:
    return [found] if isinstance(found, torch.Tensor) else list(found)


def _node(node: Any) -> tuple | None:
    """All that a node says, without its number and without what it leads to."""
    if node is None:
        return None
    facts = {k: v for k, v in vars(node).items() if k not in ("next", "seq")}
    return node.name(), facts, [type(edge).__name__ for edge in node.next]


def _facts(t: Any, x: Any) -> tuple:
    a, meta = t._a, t._x
    kept: tuple = ()
    if meta is not None:
        rare = {k: v for k, v in vars(meta).items() if v is not None}
        kept = meta.base is x, meta.root is x._a, meta.replay, rare
    return (a.tolist(), a.dtype, a.shape, a.strides, a.flags.writeable, a.flags.c_contiguous,
            a.base is x._a, t._v is x._v, t.is_leaf, t.requires_grad, t.output_nr,
            _node(t.grad_fn), kept)


def _seen(call: Callable, x: Any) -> tuple:
    found = _tensors(call(x))
    after = [_facts(t, x) for t in found]
    if found[0].grad_fn is not None:
        sum((t * t.detach()).sum() for t in found).backward()
        after.append((x.grad.tolist(),))
    return tuple(after), len(dispatch.views_of(x))


def _source(kind: str) -> Any:
    x = torch.arange(12.0).reshape(4, 3).clone()
    if kind == "other memory":
        return torch.arange(24.0).reshape(4, 6)[:, :3]
    return x.requires_grad_() if kind in ("leaf", "silent", "anomaly") else x


@pytest.mark.parametrize("kind", ["plain", "leaf", "silent", "inference", "anomaly",
                                  "other memory"])
@pytest.mark.parametrize("name", CALLS)
def test_is_what_python_makes(name: str, kind: str, makers: Callable) -> None:
    def run() -> Any:
        x = _source(kind)
        if kind == "silent":
            with torch.no_grad():
                return _seen(CALLS[name], x)
        if kind == "inference":
            with torch.inference_mode():
                return _seen(CALLS[name], x)
        if kind == "anomaly":
            with torch.autograd.detect_anomaly(check_nan=False):
                found = _tensors(CALLS[name](x))
            return [t.grad_fn and t.grad_fn.name() for t in found]
        return _seen(CALLS[name], x)

    def outcome() -> Any:
        try:
            return run()
        except RuntimeError as error:
            return str(error)

    generated = outcome()
    makers(False)
    assert generated == outcome()


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_pythons_and_leave_nothing(name: str, makers: Callable) -> None:
    said = []
    for generated in (True, False):
        makers(generated)
        x = _source("leaf")
        count = sys.getrefcount(x)
        with pytest.raises((IndexError, RuntimeError, TypeError)) as caught:
            ERRORS[name](x)
        said.append((caught.type, str(caught.value).partition("\n")[0]))
        del caught
        gc.collect()
        assert sys.getrefcount(x) == count
        assert dispatch.views_of(x) == []
    assert said[0] == said[1]


def test_a_change_in_place_shows_in_views_and_base(makers: Callable) -> None:
    def run() -> list:
        w = torch.tensor(3.0, requires_grad=True)
        x = torch.ones(4, 3)
        row, flat, wide = x[1], x.view(12), x[None].expand(2, 4, 3)
        part = x.unbind()[2].view(3, 1)
        row.mul_(w)
        flat.add_(1)
        (x.sum() + wide.sum() + part.sum()).backward()
        return [w.grad.item(), x.grad_fn.name(), row.grad_fn.name(), flat.grad_fn.name(),
                wide.grad_fn.name(), part.grad_fn.name(), x._version, part._version, x.tolist()]

    found = run()
    makers(False)
    assert found == run()


def test_outputs_of_several_refuse_changes(makers: Callable) -> None:
    x = (torch.ones(4, 3, requires_grad=True) * 2).unbind()
    with pytest.raises(RuntimeError, match="Output 1 of Unbind is a view and is being modified"):
        x[1].add_(1)
    with torch.no_grad():
        y = torch.ones(4, requires_grad=True)[0]
    with pytest.raises(RuntimeError, match="created in no_grad mode"):
        y.add_(1)


def test_live_views_are_few_however_many_were_made(makers: Callable) -> None:
    x = torch.ones(8)
    for _ in range(1000):
        x[0]
    assert len(x._v) < 4
    kept = [x[i % 8] for i in range(100)]
    assert dispatch.views_of(x) == kept
    for k in range(100, 1000):
        kept[k % 100] = x[k % 8]
    assert {id(v) for v in dispatch.views_of(x)} == {id(v) for v in kept}
    assert len(x._v) <= 257


def _counted(x: Any) -> list[int]:
    ops = [OPS[name] for name in ("getitem", "view", "expand", "unbind", "transpose")]
    held = [x, x._a, x._a.dtype, x._v, dispatch.LEAF, torch.Tensor, dispatch.Meta, *ops,
            *[op.node_type for op in ops], *[op.view_plan for op in ops], list, tuple, ()]
    return [sys.getrefcount(o) for o in held]


@pytest.mark.parametrize("kind", ["plain", "leaf", "silent"])
def test_no_reference_is_lost_or_kept(kind: str, makers: Callable) -> None:
    x = _source(kind)

    def run(times: int) -> None:
        for name, call in CALLS.items():
            if name != "view as another dtype" or kind == "plain":
                for _ in range(times):
                    call(x)
        for call in ERRORS.values():
            for _ in range(times // 10):
                with pytest.raises((IndexError, RuntimeError, TypeError)):
                    call(x)
        gc.collect()

    # what is loaded, or remembered, after many calls is there then
    dispatch.load_quick_calls()
    with torch.set_grad_enabled(kind != "silent"):
        run(200)
        before, blocks, objects = _counted(x), sys.getallocatedblocks(), len(gc.get_objects())
        run(200)
        assert _counted(x) == before
        assert sys.getallocatedblocks() < blocks + 500
        assert len(gc.get_objects()) < objects + 50


def test_views_keep_their_base_and_no_longer(makers: Callable) -> None:
    x = torch.ones(4, 3, requires_grad=True)
    gone = weakref.ref(x)
    views: Any = [x[0], x.view(12), *x.unbind(), x.expand(2, 4, 3)]
    root = weakref.ref(x._a)
    del x
    assert gone() is views[0]._base
    assert root() is not None
    del views
    gc.collect()
    assert gone() is None and root() is None


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="allocations are hooked otherwise")
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("name", ["x[1]", "view", "expand", "unbind", "view of a view"])
def test_without_memory_nothing_is_half_made(name: str, grad: bool, makers: Callable) -> None:
    testing = pytest.importorskip("_testcapi")
    x = torch.arange(12.0).reshape(4, 3).clone().requires_grad_(grad)
    call, failed = CALLS[name], 0
    call(x)
    gc.collect()
    gc.disable()
    try:
        before = _counted(x)
        # every allocation in turn fails, and the one after it does not
        for start in range(60):
            found = None
            testing.set_nomemory(start, start + 1)
            try:
                found = call(x)
            except MemoryError:
                failed += 1
            finally:
                testing.remove_mem_hooks()
            if found is not None:
                assert all(t.requires_grad is grad for t in _tensors(found))
            del found
        gc.collect()
        assert _counted(x) == before
    finally:
        gc.enable()
    assert failed
    assert _seen(call, x)[0]


@pytest.mark.parametrize("generated", [True, False])
def test_threads_share_a_base(generated: bool, makers: Callable) -> None:
    makers(generated)
    x = torch.arange(12.0).reshape(4, 3).clone()
    wrong: list[Any] = []

    def work(k: int) -> None:
        kept = []
        for i in range(2000):
            view = x[k].view(3, 1) if i % 2 else x.unbind()[k]
            if view._base is not x or view._a.base is not x._a:
                wrong.append(view)
            if i % 20 == 1:
                kept.append(view)
        live = {id(v) for v in dispatch.views_of(x)}
        if not all(id(v) in live for v in kept):
            wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert wrong == []


def test_modes_are_those_of_the_thread(makers: Callable) -> None:
    x = torch.ones(3, requires_grad=True)
    found: list[Any] = []
    with torch.no_grad():
        thread = threading.Thread(target=lambda: found.append(x[0]))
        thread.start()
        thread.join()
        found.append(x[0])
    assert found[0].grad_fn is not None
    assert found[1].grad_fn is None


def test_classes_derived_from_tensor(makers: Callable) -> None:
    weight = torch.nn.Parameter(torch.ones(4, 3))
    assert weight.t().grad_fn.name() == "TBackward0"
    assert type(weight[0]) is torch.Tensor

    class Named(torch.Tensor):
        pass

    x = torch.ones(4).as_subclass(Named)
    assert type(x[1:]) is Named and type(x.view(2, 2)) is Named


def test_transforms_and_compiled_steps(makers: Callable) -> None:
    def f(x: Any) -> Any:
        return (x[0] * x.view(12)[:3] * x.t()[:, 1]).sum() + x.unbind()[2].expand(2, 3).sum()

    x = torch.arange(12.0).reshape(4, 3)
    batch = torch.stack([x, x + 1])
    found = [torch.func.vmap(f)(batch).tolist(), torch.func.grad(f)(x).tolist(),
             torch.func.jvp(f, (x,), (x,))[1].item()]
    step = torch.compile(f)
    step(x)
    found.append(step(x).item())
    makers(False)
    assert found == [torch.func.vmap(f)(batch).tolist(), torch.func.grad(f)(x).tolist(),
                     torch.func.jvp(f, (x,), (x,))[1].item(), f(x).item()]


def test_other_dtypes(makers: Callable) -> None:
    for dtype in (torch.bfloat16, torch.float16, torch.complex64, torch.bool, torch.int8):
        x = torch.ones(2, 3, dtype=dtype)
        assert x.view(3, 2).dtype is dtype and x[:, :1].expand(2, 4).dtype is dtype
        assert x.view(-1)._a.base is x._a and x.view(-1)._a.flags.aligned
    empty = torch.ones(0, 3)
    assert empty.view(3, 0).shape == (3, 0) and empty.view(0).shape == (0,)
    assert torch.tensor(1.0).view(1, 1).shape == (1, 1)
    assert torch.tensor(1.0).expand(2).tolist() == [1.0, 1.0]


def test_programs_that_make_many_get_them(native: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setattr(dispatch, name, dispatch.VIEW_MAKERS[name])
    monkeypatch.setattr(dispatch, "_views", dispatch.MANY - 3)
    x = torch.ones(3)
    assert type(dispatch.make_view) is type(test_other_dtypes)
    for _ in range(5):
        x[0]
    assert type(dispatch.make_view) is type(len)


def test_read_only_memory() -> None:
    a = np.arange(6.0)
    a.flags.writeable = False
    x = torch.from_numpy(a)
    assert not x.view(2, 3)._a.flags.writeable
    assert not x.view(2, 3).diagonal()._a.flags.writeable
