"""Fused batch norms, memory formats, modules without first values, calls as functions."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

import flambeau as fl
from tests.nn.side_by_side import Record, lines_of


def fused(torch: Any, show: Record) -> None:
    nn, utils = torch.nn, torch.nn.utils
    bn = nn.BatchNorm2d(3).eval()
    bn.running_mean.uniform_()
    bn.running_var.uniform_(0.5, 1.5)
    x = torch.randn(1, 2, 5, 5)
    for make, transpose in ((lambda: nn.Conv2d(2, 3, 3), False),
                            (lambda: nn.Conv2d(2, 3, 3, bias=False), False),
                            (lambda: nn.ConvTranspose2d(2, 3, 3), True)):
        conv = make().eval()
        found = utils.fuse_conv_bn_eval(conv, bn, transpose=transpose)
        show((torch.allclose(found(x), bn(conv(x)), atol=1e-5), found.bias, found))
    linear, one = nn.Linear(4, 3).eval(), nn.BatchNorm1d(3).eval()
    y = torch.randn(2, 4)
    found = utils.fuse_linear_bn_eval(linear, one)
    show((torch.allclose(found(y), one(linear(y)), atol=1e-5), found.weight))
    show(lambda: utils.fuse_conv_bn_eval(nn.Conv2d(2, 3, 3), bn))
    show(lambda: utils.fuse_linear_bn_eval(nn.Linear(2, 2).eval(), one))
    show(lambda: utils.fuse_conv_bn_eval(conv, nn.BatchNorm2d(3, track_running_stats=False).eval()))


def memory(torch: Any, show: Record) -> None:
    nn, utils = torch.nn, torch.nn.utils
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.ConvTranspose2d(3, 2, 3))
    before = net[0].weight.clone()
    show(utils.convert_conv2d_weight_memory_format(net, torch.channels_last) is net)
    show((net[0].weight.stride(), net[2].weight.stride(), torch.equal(before, net[0].weight)))
    volume = nn.Conv3d(2, 3, 2)
    utils.convert_conv3d_weight_memory_format(volume, torch.channels_last_3d)
    show(volume.weight.stride())


def skipped(torch: Any, show: Record) -> None:
    nn, utils = torch.nn, torch.nn.utils
    m = utils.skip_init(nn.Linear, 2, 3, dtype=torch.float64)
    show((m, m.weight.dtype, m.weight.requires_grad, torch.rand(1)))
    utils.skip_init(nn.Conv2d, 1, 2, 3)
    utils.skip_init(nn.Embedding, 5, 2)
    utils.skip_init(nn.MultiheadAttention, 4, 2)
    show(torch.rand(1))
    show(lambda: utils.skip_init(nn.ReLU))
    show(lambda: utils.skip_init(int))
    for given in (None, {"device": "cpu", "factory_kwargs": {"dtype": 1}}, {"x": 1},
                  {"dtype": 1, "factory_kwargs": {"dtype": 1}}):
        show(lambda given=given: sorted(nn.factory_kwargs(given).items()))


def functional(torch: Any, show: Record) -> None:
    call, nn = torch.nn.utils.stateless.functional_call, torch.nn
    m, x = nn.Linear(2, 1), torch.ones(1, 2)
    given = {"weight": torch.ones(1, 2), "bias": torch.zeros(1)}
    show(lambda: call(m, given, x))
    show(lambda: call(nn.DataParallel(m), given, x))
    show(lambda: torch.func.functional_call(m, {"weight": torch.ones(1, 2)}, (x,), strict=True))
    show(lambda: torch.func.functional_call(m, {"w": torch.ones(1, 2)}, (x,), strict=True))
    before = m.weight
    show(lambda: torch.func.functional_call(m, {"weight": torch.ones(3, 5)}, (x,)))
    show(m.weight is before)
    m.scale = 2.0
    m.plain = torch.ones(1)
    net = nn.Sequential(m, nn.BatchNorm1d(1)).eval()
    params = {k: v.detach() for k, v in net.named_parameters()}
    show(torch.func.grad(lambda p: torch.func.functional_call(
        net, p, (torch.eye(2),)).pow(2).sum())(params)["0.weight"].shape)
    tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    show(torch.func.functional_call(tied, {"0.weight": torch.zeros(2, 2)}, (x,)).shape)
    models = [nn.Linear(2, 1) for _ in range(3)]
    params, buffers = torch.func.stack_module_state(models)
    show((params["weight"].shape, params["weight"].requires_grad, buffers))


def parallel(torch: Any, show: Record) -> None:
    nn, x = torch.nn, torch.ones(1, 2)
    net = nn.DataParallel(nn.Linear(2, 3))
    show((net, list(net.state_dict()), net.device_ids, net(x)))
    show(lambda: nn.DataParallel(net.module, device_ids=[0]).device_ids)
    show(lambda: nn.parallel.data_parallel(net.module, x))
    show(lambda: nn.parallel.replicate(net.module, [0]))
    show(lambda: nn.parallel.replicate(net.module, ["cpu"]))
    show(lambda: nn.parallel.replicate(net.module, []))
    show(lambda: nn.parallel.gather([x, x], 0))
    show(lambda: nn.parallel.parallel_apply([net], [(x,)]))
    show(lambda: nn.parallel.parallel_apply([net], []))


@pytest.mark.parity
@pytest.mark.parametrize("program", [fused, memory, skipped, functional, parallel],
                         ids=lambda p: p.__name__)
def test_as_pytorch(program: Any, torch_oracle: ModuleType) -> None:
    assert lines_of(program, fl) == lines_of(program, torch_oracle)


def test_filling_goes_on_after_a_failure() -> None:
    with pytest.raises(RuntimeError), fl.nn.init.skipped():
        raise RuntimeError
    assert fl.nn.init.ones_(fl.zeros(2)).tolist() == [1.0, 1.0]


def test_hooks_of_tensors_warn_before_they_are_lost() -> None:
    hooks = fl.utils.hooks
    x = fl.ones(1, requires_grad=True)
    hooks.warn_if_has_hooks(x)
    x.register_hook(hooks.unserializable_hook(lambda g: g))
    hooks.warn_if_has_hooks(x)
    x.register_hook(print)
    with pytest.warns(UserWarning, match="will not be serialized"):
        hooks.warn_if_has_hooks(x)
