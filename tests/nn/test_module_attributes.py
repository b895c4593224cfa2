"""Members of modules: how they are registered, found, replaced and deleted."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections import OrderedDict
from types import ModuleType
from typing import Any

import pytest

import flambeau as fl
from tests.nn.side_by_side import Record, lines_of


def small(torch: Any) -> Any:
    """A module with a member of each kind."""
    module = torch.nn.Module()
    module.lin = torch.nn.Linear(2, 2)
    module.w = torch.nn.Parameter(torch.ones(1))
    module.register_buffer("b", torch.ones(2))
    module.register_buffer("hidden", torch.ones(2), persistent=False)
    module.x = 3
    return module


def names(module: Any) -> Any:
    return (list(module._parameters), list(module._buffers), list(module._modules),
            sorted(module._non_persistent_buffers_set), list(module.__dict__))


def before_init(torch: Any, show: Record) -> None:
    class Late(torch.nn.Module):
        def __init__(self, act):
            act(self)

    one = torch.ones(1)
    for act in (
            lambda m: setattr(m, "p", torch.nn.Parameter(one)),
            lambda m: setattr(m, "m", torch.nn.ReLU()),
            lambda m: m.register_buffer("b", one), lambda m: m.register_parameter("p", None),
            lambda m: m.add_module("m", torch.nn.ReLU()), lambda m: list(m.parameters()),
            lambda m: delattr(m, "q"), lambda m: m(3), lambda m: m.missing):
        show(lambda act=act: Late(act))

    class Plain(torch.nn.Module):
        def __init__(self):
            self.t = one
            self.x = 3
            super().__init__()

    show(lambda: (Plain().x, Plain().t))


def refused(torch: Any, show: Record) -> None:
    m, one = small(torch), torch.ones(1)
    for name in ("a.b", "", 3, "forward", "x", "lin", "q"):
        show(lambda name=name: m.register_parameter(name, torch.nn.Parameter(one)))
        show(lambda name=name: m.register_buffer(name, one))
        show(lambda name=name: m.add_module(name, torch.nn.ReLU()))
    for value in (3, one, "text", torch.nn.Parameter(one) * 2):
        show(lambda value=value: m.register_parameter("n1", value))
        show(lambda value=value: m.register_buffer("n2", value))
        show(lambda value=value: m.add_module("n3", value))
    show(names(m))
    show(lambda: torch.nn.Module(3))
    show(lambda: torch.nn.Module(a=3))
    show(lambda: torch.nn.Module()(3))


def assigned(torch: Any, show: Record) -> None:
    values = {"int": lambda: 3, "none": lambda: None, "tensor": lambda: torch.ones(3),
              "parameter": lambda: torch.nn.Parameter(torch.ones(2)),
              "module": torch.nn.ReLU, "buffer": lambda: torch.nn.Buffer(torch.ones(2)),
              "passing": lambda: torch.nn.Buffer(torch.ones(2), persistent=False)}
    for name in ("lin", "w", "b", "hidden", "x", "new", "dotted.name"):
        for kind, make in values.items():
            m = small(torch)
            show(f"{name} = {kind}")
            show(lambda m=m, make=make, name=name: setattr(m, name, make()))
            show(names(m))
            show(lambda m=m, name=name: getattr(m, name))
            show(lambda m=m, name=name: delattr(m, name))
            show(lambda m=m, name=name: hasattr(m, name))


def class_attributes(torch: Any, show: Record) -> None:
    class Covered(torch.nn.Module):
        layer = None
        weight = None

        @property
        def computed(self):
            return 5

    m = Covered()
    m.layer = torch.nn.ReLU()
    show(lambda: (m.layer, list(m._modules)))
    show(lambda: setattr(m, "weight", torch.nn.Parameter(torch.ones(1))))
    show(lambda: m.register_buffer("weight", torch.ones(1)))
    show(lambda: setattr(m, "computed", 3))
    show(lambda: setattr(m, "computed", torch.nn.ReLU()))
    show(lambda: m.computed)


def own_getattr(torch: Any, show: Record) -> None:
    class Wrapper(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def __getattr__(self, name):
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(self.inner, name)

    m = Wrapper(torch.nn.Linear(2, 3))
    show(lambda: (m.in_features, m.weight.shape, m.inner, list(m._modules)))
    show(lambda: setattr(m, "bias", torch.nn.Parameter(torch.ones(1))))
    show(lambda: m.nothing)


def direct_changes(torch: Any, show: Record) -> None:
    m = small(torch)
    m._parameters["w"] = torch.nn.Parameter(torch.zeros(1))
    m._buffers["b"] = torch.zeros(3)
    m._modules["lin"] = torch.nn.ReLU()
    show((m.w, m.b, m.lin))
    m._parameters.update(u=torch.nn.Parameter(torch.ones(1)))
    show((m.u, m._parameters.pop("u")))
    show(lambda: m.u)
    show(m._parameters.popitem())
    show(lambda: m.w)
    show(m._buffers.setdefault("s", torch.ones(1)))
    show(m.s)
    m._modules.clear()
    show(lambda: m.lin)
    m._modules = OrderedDict(a=torch.nn.ReLU())
    show((m.a, m._modules == {"a": m.a}, isinstance(m._modules, dict)))
    m._modules = {}
    show(lambda: m.a)


def attribute_dict(torch: Any, show: Record) -> None:
    m = small(torch)
    show((list(m.__dict__), "w" in vars(m), len(vars(m)), m.__dict__.get("q"), m.__dict__["x"]))
    m.__dict__["lin"] = "shadow"
    show((m.lin, m._modules["lin"]))
    del m.__dict__["lin"]
    show(m.lin)
    m.__dict__.update(new=5)
    show((m.new, m.__dict__.pop("new"), hasattr(m, "new")))
    shared = type(m).__new__(type(m))
    shared.__dict__.update(m.__dict__)
    show((shared.lin is m.lin, shared._parameters is m._parameters))
    shared._parameters = shared._parameters.copy()
    shared.w = torch.nn.Parameter(torch.zeros(1))
    show((m.w, shared.w))
    other = type(m).__new__(type(m))
    other.__dict__ = m.__dict__.copy()
    other._modules = {}
    show(lambda: other.lin)
    show((other.w, m.lin, copy.deepcopy(m.__dict__)["x"]))
    show([name for name in dir(m) if name in ("lin", "w", "b", "x", "training", "_modules")])


def copies(torch: Any, show: Record) -> None:
    m = small(torch)
    shallow = copy.copy(m)
    show((shallow.lin is m.lin, shallow._modules is m._modules))
    shallow.w = torch.nn.Parameter(torch.zeros(1))
    show((m.w, shallow.w))
    deep = copy.deepcopy(m)
    show((deep.lin is m.lin, deep.w, names(deep)))
    deep.w = torch.nn.Parameter(torch.ones(1) * 8)
    show((m.w, deep.w))
    back = pickle.loads(pickle.dumps(torch.nn.Sequential(torch.nn.Linear(2, 2))))
    show((back, back[0].weight.requires_grad))
    m.me = [m]
    show(copy.deepcopy(m).me[0].w)


PROGRAMS = [before_init, refused, assigned, class_attributes, own_getattr, direct_changes,
            attribute_dict, copies]


@pytest.mark.parity
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_as_pytorch(program: Any, torch_oracle: ModuleType) -> None:
    assert lines_of(program, fl) == lines_of(program, torch_oracle)


def test_a_shallow_copy_shares_its_members() -> None:
    module = small(fl)
    fallback = copy.copy(module)
    fallback._modules["lin"] = fl.nn.ReLU()  # shared with the original
    assert module.lin is fallback.lin


def test_modules_are_freed_at_once() -> None:
    gc.disable()
    try:
        module = small(fl)
        gone = weakref.ref(module)
        del module
        assert gone() is None
    finally:
        gc.enable()


def test_a_copy_has_hooks_of_its_own() -> None:
    module = small(fl)
    copied = copy.deepcopy(module)
    copied.register_forward_hook(lambda *a: None)
    assert not module._forward_hooks


def test_hooks_that_are_set_as_a_whole_run() -> None:
    module = fl.nn.Identity()
    module._forward_hooks = OrderedDict({0: lambda m, args, out: "hooked"})
    assert module(1) == "hooked"
    other = fl.nn.Identity()
    other.__dict__["_forward_hooks"][0] = lambda m, args, out: "hooked"
    assert other(1) == "hooked"


def test_errors_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(fl.nn.Module):
        def __init__(self) -> None:
            self.p = fl.nn.Parameter(fl.ones(1))

    monkeypatch.setenv("FLAMBEAU_LANG", "en")
    with pytest.raises(AttributeError, match="super\\(\\).__init__\\(\\) as the first line"):
        Late()
    with pytest.raises(TypeError, match="no_grad\\(\\): w.copy_"):
        small(fl).w = fl.ones(1)
    with pytest.raises(NotImplementedError, match="Define forward"):
        fl.nn.Module()(1)
