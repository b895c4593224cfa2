"""Walking through modules, converting them, and their text."""

from __future__ import annotations

from collections import OrderedDict
from types import ModuleType
from typing import Any

import pytest

import flambeau as fl
from tests.nn.side_by_side import Record, lines_of


def shared(torch: Any) -> Any:
    """A tree in which a module and a parameter have two places."""
    nn = torch.nn
    lin = nn.Linear(2, 2)
    inner = nn.Sequential(lin, nn.ReLU())
    net = nn.Sequential(OrderedDict(a=lin, b=inner, c=nn.Linear(1, 1, bias=False)))
    net.register_buffer("buf", torch.ones(1))
    net.c.again = lin.weight
    net.c.none = None
    return net


def walking(torch: Any, show: Record) -> None:
    net = shared(torch)
    for call in (lambda: net.named_parameters(), lambda: net.named_modules(),
                 lambda: net.named_parameters(remove_duplicate=False),
                 lambda: net.named_parameters("pre", recurse=False),
                 lambda: net.named_modules(remove_duplicate=False),
                 lambda: net.named_modules(prefix="q"), lambda: net.named_children(),
                 lambda: net.named_buffers(), lambda: net.b.named_parameters("x")):
        show([name for name, _ in call()])
    for call in (lambda: net.modules(), lambda: net.modules(remove_duplicate=False),
                 lambda: net.children(), lambda: net.parameters(),
                 lambda: net.parameters(recurse=False), lambda: net.buffers(recurse=False)):
        show(len(list(call())))
    seen = []
    show(net.apply(lambda m: seen.append(type(m).__name__)) is net)
    show(seen)


def paths(torch: Any, show: Record) -> None:
    net = shared(torch)
    for path in ("b.0", "", "b.9", "buf", "a.weight", "a.nope", "c.none", "z.y"):
        show(lambda path=path: net.get_submodule(path))
        show(lambda path=path: net.get_parameter(path).shape)
        show(lambda path=path: net.get_buffer(path))
    for path, module, strict in (
            ("b.1", torch.nn.Identity(), False), ("b.new", torch.nn.ReLU(), False),
            ("b.new2", torch.nn.ReLU(), True), ("", torch.nn.ReLU(), False),
            ("buf", torch.nn.ReLU(), False), ("a", 3, False), ("z.y", torch.nn.ReLU(), False)):
        show(lambda path=path, m=module, strict=strict: net.set_submodule(path, m, strict))
    show(net)


def training(torch: Any, show: Record) -> None:
    net = shared(torch)
    show(lambda: net.train("x"))
    show((net.eval().training, net.b[0].training, net.train().b.training))
    show((net.requires_grad_(False) is net, net.a.weight.requires_grad))
    net.requires_grad_()
    (net.a(torch.ones(1, 2)).sum() + net.c.weight.sum()).backward()
    net.zero_grad(set_to_none=False)
    show((net.a.weight.grad, net.c.weight.grad))
    net.zero_grad()
    show(net.a.weight.grad)


def conversion(torch: Any, show: Record) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Conv2d(1, 1, 2))
    net.register_buffer("i", torch.ones(2, dtype=torch.int64))
    net.register_buffer("f", torch.ones(2))
    weight = net[0].weight
    net[0](torch.ones(1, 2)).sum().backward()

    def dtypes():
        return (net[0].weight.dtype, net[0].weight is weight, net[0].weight.grad.dtype,
                net.i.dtype, net.f.dtype)

    for convert in (
            lambda: net.double(), lambda: net.half(), lambda: net.bfloat16(), lambda: net.float(),
            lambda: net.to(torch.float64), lambda: net.to("cpu", torch.float16),
            lambda: net.to(torch.ones(1)), lambda: net.to(float), lambda: net.to(torch.int32),
            lambda: net.to(dtype=torch.float64), lambda: net.to("cpu", copy=True),
            lambda: net.to(foo=1), lambda: net.to(torch.float32, "cpu"), lambda: net.to(None),
            lambda: net.cpu(), lambda: net.type(torch.float32),
            lambda: net.to(memory_format=torch.channels_last)):
        show(lambda convert=convert: convert() is net)
        show(dtypes())
    show(lambda: torch.nn.Linear(1, 1).to(torch.complex64).weight.dtype)
    show(net.to_empty(device="cpu")[0].weight.shape)


def text(torch: Any, show: Record) -> None:
    nn = torch.nn

    class Told(nn.Module):
        def __init__(self, extra, inner):
            super().__init__()
            self.extra = extra
            if inner:
                self.c = nn.Linear(1, 1)
                self.add_module("none", None)

        def extra_repr(self):
            return self.extra

    class Renamed(nn.Module):
        def _get_name(self):
            return "Another"

        def __repr__(self):
            return "custom\nlines\n\nend"

    for extra in ("", "a=1", "a=1\nb=2", "\n"):
        for inner in (True, False):
            show(Told(extra, inner))
            show(nn.Sequential(Told(extra, inner)))
    show(nn.Sequential(Renamed()))
    show(nn.ModuleDict({"a": nn.ModuleList([Renamed(), Renamed(), nn.ReLU()])}))
    show(nn.Module())


PROGRAMS = [walking, paths, training, conversion, text]


@pytest.mark.parity
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_as_pytorch(program: Any, torch_oracle: ModuleType) -> None:
    assert lines_of(program, fl) == lines_of(program, torch_oracle)


def test_a_gpu_is_refused_and_nothing_moves() -> None:
    net = fl.nn.Linear(2, 2)
    before = net.weight
    with pytest.raises(AssertionError, match="Torch not compiled with CUDA enabled"):
        net.to("cuda", fl.float64)
    with pytest.raises(AssertionError, match="Torch not compiled with CUDA enabled"):
        net.cuda()
    assert net.weight is before and net.weight.dtype == fl.float32
