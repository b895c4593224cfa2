"""Weight norm, spectral norm and orthogonal parametrizations, old forms and new ones."""

from __future__ import annotations

import copy
from types import ModuleType
from typing import Any

import pytest

import flambeau as fl
from tests.nn.side_by_side import Record, lines_of


def weight_norm(torch: Any, show: Record) -> None:
    utils, nn = torch.nn.utils, torch.nn
    for dim in (0, 1, None):
        m = utils.weight_norm(nn.Linear(2, 3), dim=dim)
        m(torch.ones(1, 2)).sum().backward()
        show((m, m.weight, m.state_dict(), m.weight_g.grad, m.weight_v.grad))
        other = utils.weight_norm(nn.Linear(2, 3), dim=dim)
        other.load_state_dict(m.state_dict())
        show(other(torch.ones(1, 2)))
        show(lambda m=m: utils.weight_norm(m, dim=0))
        show(utils.remove_weight_norm(m).weight)
        show(lambda m=m: utils.remove_weight_norm(m))
    show(lambda: copy.deepcopy(utils.weight_norm(nn.Linear(2, 2))))
    show(lambda: utils.weight_norm(nn.LazyLinear(2)))
    show((torch.norm_except_dim(torch.arange(24.0).reshape(2, 3, 4), 2, 1),
          utils.weight_norm(nn.Conv1d(2, 2, 2), dim=1).weight))


def spectral_norm(torch: Any, show: Record) -> None:
    utils, nn, x = torch.nn.utils, torch.nn, torch.ones(1, 2)
    m = utils.spectral_norm(nn.Linear(2, 3))
    show((m, m.weight, m.state_dict(), m.state_dict()._metadata))
    show((m(x), m(x)))
    m(x).sum().backward()
    show((m.weight_orig.grad, m.eval()(x), m.weight_u))
    other = utils.spectral_norm(nn.Linear(2, 3))
    show(other.load_state_dict(m.state_dict()))
    show(lambda: utils.spectral_norm(m))
    show(lambda: utils.spectral_norm(nn.Linear(2, 2), n_power_iterations=0))
    show(lambda: utils.spectral_norm(nn.Linear(2, 2, bias=False), "bias"))
    show((utils.remove_spectral_norm(m).weight, list(m.state_dict())))
    show(lambda: utils.remove_spectral_norm(m))
    show(utils.spectral_norm(nn.ConvTranspose2d(2, 3, 3)).weight_u.shape)


def as_parametrizations(torch: Any, show: Record) -> None:
    of, nn = torch.nn.utils.parametrizations, torch.nn
    for dim in (0, 1, None):
        m = of.weight_norm(nn.Linear(2, 3), dim=dim)
        m(torch.ones(1, 2)).sum().backward()
        show((m, m.weight, m.state_dict(), [p.grad for p in m.parameters()]))
        length = torch.ones_like(m.parametrizations.weight.original0) * 2
        old = {"bias": torch.ones(3), "weight_g": length, "weight_v": torch.ones(3, 2)}
        show((m.load_state_dict(old), m.weight))
    m = of.spectral_norm(nn.Linear(2, 3))
    show((m, m(torch.ones(1, 2)), list(m.state_dict())))
    m(torch.ones(1, 2)).sum().backward()
    show((m.parametrizations.weight.original.grad, m.eval().weight))
    m.weight = torch.eye(3, 2)
    show(m.weight)
    for options in ({"n_power_iterations": 0}, {"dim": 5}, {"name": "q"}, {"name": "bias"}):
        show(lambda options=options: of.spectral_norm(nn.Linear(2, 3), **options).bias)
    show(of.spectral_norm(nn.Conv1d(2, 3, 3))(torch.ones(1, 2, 4)).shape)


def orthogonal_errors(torch: Any, show: Record) -> None:
    of, nn = torch.nn.utils.parametrizations, torch.nn
    show(lambda: of.orthogonal(nn.Linear(2, 2), orthogonal_map="x"))
    show(lambda: of.orthogonal(nn.Linear(2, 2), "bias"))
    show(lambda: of.orthogonal(nn.Linear(2, 2), "q"))
    show(lambda: setattr(of.orthogonal(nn.Linear(2, 2)), "weight", torch.ones(3, 3)))
    m = of.orthogonal(nn.Linear(2, 2), orthogonal_map="cayley", use_trivialization=False)
    show(lambda: setattr(m, "weight", torch.eye(2)))


@pytest.mark.parity
@pytest.mark.parametrize("program", [weight_norm, spectral_norm, as_parametrizations,
                                     orthogonal_errors], ids=lambda p: p.__name__)
def test_as_pytorch(program: Any, torch_oracle: ModuleType) -> None:
    assert lines_of(program, fl) == lines_of(program, torch_oracle)


MAPS = (None, "matrix_exp", "cayley", "householder")


def orthogonal(torch: Any, shape: tuple, kind: Any, start: bool) -> Any:
    torch.manual_seed(0)
    m = torch.nn.Linear(*shape, bias=False)
    return torch.nn.utils.parametrizations.orthogonal(m, "weight", kind, use_trivialization=start)


@pytest.mark.parity
@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4)])
@pytest.mark.parametrize("kind", MAPS)
@pytest.mark.parametrize("start", [True, False])
def test_orthogonal_as_pytorch(shape: tuple, kind: Any, start: bool,
                               torch_oracle: ModuleType) -> None:
    found = []
    for torch in (fl, torch_oracle):
        m = orthogonal(torch, shape, kind, start)
        m(torch.ones(1, shape[0])).sum().backward()
        found.append((m.weight.tolist(), m.parametrizations.weight.original.grad.tolist()))
    for have, want in zip(*found):
        for row, expected in zip(have, want):
            assert row == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4)])
@pytest.mark.parametrize("kind", MAPS)
def test_orthogonal_weights_can_be_set(shape: tuple, kind: Any) -> None:
    m = orthogonal(fl, shape, kind, True)
    given = fl.linalg.qr(fl.randn(4, 4))[0][:shape[1], :shape[0]]
    if shape[0] == shape[1]:
        given = fl.linalg.qr(fl.randn(3, 3))[0]
    m.weight = given
    assert fl.allclose(m.weight, given, atol=1e-5)


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_weight_norm_derivatives(dim: int) -> None:
    fl.manual_seed(0)
    v = fl.randn(2, 3, 4, dtype=fl.float64, requires_grad=True)
    g = fl.norm_except_dim(v.detach(), 2, dim).requires_grad_()
    weigh = fl._weight_norm
    assert fl.allclose(weigh(v, g, dim), v)
    assert fl.autograd.gradcheck(lambda v, g: weigh(v, g, dim), (v, g))
    assert fl.autograd.gradgradcheck(lambda v, g: weigh(v, g, dim), (v, g))
    _, tangent = fl.func.jvp(lambda v: weigh(v, g.detach(), dim), (v.detach(),), (v.detach(),))
    assert fl.allclose(tangent, fl.zeros_like(tangent), atol=1e-12)


def test_spectral_norm_makes_the_greatest_singular_value_one() -> None:
    fl.manual_seed(0)
    m = fl.nn.utils.parametrizations.spectral_norm(fl.nn.Linear(4, 3), n_power_iterations=20)
    assert fl.linalg.svdvals(m.weight)[0].item() == pytest.approx(1.0, abs=1e-4)
