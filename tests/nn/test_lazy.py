"""Lazy modules: shapes from the first input, or from a state."""

from __future__ import annotations

import copy
import pickle
from types import ModuleType
from typing import Any

import pytest

import flambeau as fl
from tests.nn.side_by_side import Record, lines_of

INPUTS = {
    "Linear": (2, 3), "Conv1d": (2, 3, 6), "Conv2d": (2, 3, 6, 6), "Conv3d": (1, 3, 4, 4, 4),
    "ConvTranspose1d": (2, 3, 6), "ConvTranspose2d": (2, 3, 6, 6),
    "ConvTranspose3d": (1, 3, 4, 4, 4), "BatchNorm1d": (4, 3), "BatchNorm2d": (2, 3, 6, 6),
    "BatchNorm3d": (1, 3, 4, 4, 4), "InstanceNorm1d": (2, 3, 6), "InstanceNorm2d": (2, 3, 6, 6),
    "InstanceNorm3d": (1, 3, 4, 4, 4)}


def arguments(name: str) -> tuple:
    return () if "Norm" in name else (4,) if name == "Linear" else (4, 2)


def each(torch: Any, show: Record) -> None:
    for name, shape in INPUTS.items():
        make = getattr(torch.nn, f"Lazy{name}")
        m = make(*arguments(name))
        show((m, type(m), m.state_dict(), m.cls_to_become))
        show(lambda m=m: sum(p.numel() for p in m.parameters()))
        torch.manual_seed(3)
        m = make(*arguments(name))
        out = m(torch.ones(shape))
        show((m, type(m), out.shape, m.state_dict()))
        show((len(m._forward_pre_hooks), len(m._load_state_dict_pre_hooks)))


def from_a_state(torch: Any, show: Record) -> None:
    nn = torch.nn
    m = nn.LazyLinear(3)
    show(m.load_state_dict(nn.Linear(2, 3).state_dict()))
    show((type(m), m.weight, m))
    show(lambda: m(torch.ones(1, 5)))
    show((m(torch.ones(1, 2)).shape, type(m), m))
    show(lambda: nn.Linear(2, 3).load_state_dict(nn.LazyLinear(3).state_dict()))
    show(nn.LazyLinear(3).load_state_dict(nn.LazyLinear(3).state_dict()))


def before_the_first_call(torch: Any, show: Record) -> None:
    nn = torch.nn
    m = nn.LazyLinear(3)
    copied = copy.deepcopy(m)
    show((copied(torch.ones(1, 4)).shape, m.weight))
    show(lambda: pickle.loads(pickle.dumps(nn.LazyConv1d(2, 1)))(torch.ones(1, 3, 4)).shape)
    show((m.double().weight, m.weight.dtype, m(torch.ones(1, 4, dtype=torch.float64)).dtype))
    norm = nn.LazyBatchNorm1d().double()
    show((norm.state_dict(), norm(torch.ones(2, 3, dtype=torch.float64)).dtype, norm))
    for act in (lambda m: m.share_memory(), lambda m: m.requires_grad_(False),
                lambda m: m.to("cpu"), lambda m: m.zero_grad(), lambda m: m.eval().training):
        show(lambda act=act: act(nn.LazyLinear(3)))
    net = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.LazyBatchNorm2d(), nn.Flatten(),
                        nn.LazyLinear(2))
    show(net)
    show((net(torch.ones(2, 3, 6, 6)).shape, net))


def options(torch: Any, show: Record) -> None:
    nn = torch.nn
    show(lambda: nn.LazyConv2d(4, 3, groups=2)(torch.ones(1, 3, 4, 4)))
    show(lambda: nn.LazyConv2d(4, 3)(torch.ones(1, 3, 4, 4, 4)))
    show((nn.LazyConv2d(4, 3, bias=False), nn.LazyBatchNorm1d(affine=False),
          nn.LazyLinear(3, bias=False, dtype=torch.float64).weight.dtype))
    show(nn.LazyBatchNorm1d(track_running_stats=False)(torch.ones(2, 2)).shape)

    class Unfinished(nn.modules.lazy.LazyModuleMixin, nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.parameter.UninitializedParameter()

    show(lambda: Unfinished()(1))
    Unfinished.initialize_parameters = lambda self, x: None
    show(lambda: Unfinished()(1))


PROGRAMS = [each, from_a_state, before_the_first_call, options]


@pytest.mark.parity
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_as_pytorch(program: Any, torch_oracle: ModuleType) -> None:
    assert lines_of(program, fl) == lines_of(program, torch_oracle)


@pytest.mark.parametrize("name", INPUTS)
def test_becomes_the_plain_module(name: str) -> None:
    lazy = getattr(fl.nn, f"Lazy{name}")(*arguments(name))
    lazy(fl.ones(INPUTS[name]))
    assert type(lazy) is getattr(fl.nn, name)
    assert not any(fl.nn.parameter.is_lazy(p) for p in lazy.parameters())
