"""In-place changes of views and bases, with PyTorch's gradients; indexing's errors."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import flambeau


def _split_loop(torch: Any, x: Any) -> Any:
    y = x * 1
    for i in range(3):
        y[i] = y[i] * (i + 1)
    return y


def _chain(torch: Any, x: Any) -> Any:
    y = x * 2
    v = y[1:].transpose(0, 1)[1]
    v.mul_(3)
    return y * y


def _base_then_view(torch: Any, x: Any) -> Any:
    y = x * 2
    v = y[0]
    y.mul_(x)
    return v * v


def _view_then_base(torch: Any, x: Any) -> Any:
    y = x * 2
    v, w = y[0], y[:, 1]
    v.mul_(5)
    return y * x + w.sum() * v.sum()


def _overwritten(torch: Any, x: Any) -> Any:
    y = x * 2
    y[0] = 7.0
    y[1:, 2] = x[0, 0]
    return y * y


def _buffer(torch: Any, x: Any) -> Any:
    out = torch.zeros(3, 4, dtype=torch.float64)
    view = out[1]
    for i in range(3):
        out[i, 1:] = x[i, 1:] ** 2
    return out * x + view


def _masked(torch: Any, x: Any) -> Any:
    y = x * 3
    y[y > 3] = 0.5
    y[torch.tensor([0, 2]), torch.tensor([1, 3])] += x[0, 0]
    return y * y


def _diagonal(torch: Any, x: Any) -> Any:
    y = x * 1
    y.diagonal().mul_(x[0, :3])
    return y * y


def _detached(torch: Any, x: Any) -> Any:
    y = x * 2
    y.detach()[0] = 4.0
    return y * 3


def _strided(torch: Any, x: Any) -> Any:
    y = x * 1
    y.as_strided((2, 2), (4, 1), 1).mul_(2)
    return y * y


def _unbound(torch: Any, x: Any) -> Any:
    return torch.stack([row * i for i, row in enumerate(x)])


PROGRAMS = [_split_loop, _chain, _base_then_view, _view_then_base, _overwritten, _buffer, _masked,
            _diagonal, _detached, _strided, _unbound]


@pytest.mark.parametrize("program", PROGRAMS)
def test_gradients_through_changed_views(program: Any, torch_oracle: ModuleType) -> None:
    start = np.random.default_rng(3).uniform(0.5, 2.0, (3, 4))
    found = []
    for torch in (flambeau, torch_oracle):
        x = torch.from_numpy(start.copy()).requires_grad_()
        y = program(torch, x)
        y.sum().backward()
        found.append((y.detach().numpy(), x.grad.numpy()))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-12)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-12)


INDICES = """
x[0] x[-1] x[1:] x[..., 1] x[:, None] x[None, 0] x[0, :, [0, 1]] x[:, [2, 0]] x[[0, 1], [1, 2]]
x[[0, 1], :, [1, 2]] x[:, 0, t] x[t] x[t > 0] x[x > 9] x[x[0] > 3] x[:, x[0,:,0] > 2] x[True]
x[False] x[t[1]] x[u] x[..., t, :] x[5] x[0, 0, 0, 0] x[::-1] x[::2] x[1.5] x[[5]] x[f] x[:, [7]]
x[[True]] x[[0, 1], [0, 1, 1]] x[()] x[...] x[[]] x[None] x[range(2)] z[0] z[None] z[...] z[:]
x[n] x[:, n] x[1:1] x[True, 0] x[None, True, t] x[t[0], t] x[0:t[1]] x[t, None] x[:, None, t]
""".replace("\n", "|").split("|")
INDICES = [i for line in INDICES for i in line.replace("] ", "]#").split("#") if i.strip()]


def _names(torch: Any) -> dict:
    data = np.arange(24.0).reshape(2, 3, 4)
    return {"x": torch.from_numpy(data.copy()), "z": torch.from_numpy(np.array(3.0)),
            "t": torch.from_numpy(np.array([0, 1])), "n": np.array([1, 0]),
            "u": torch.from_numpy(np.array([1, 0], np.int32)),
            "f": torch.from_numpy(np.array([1.0])), "range": range, "torch": torch}


def _outcome(torch: Any, code: str) -> Any:
    names = _names(torch)
    try:
        if "=" in code.replace("==", ""):
            exec(code, names)
            return names["x"].numpy()
        return eval(code, names).numpy()
    except Exception as error:
        return type(error), str(error).split("\n")[0]


def _agree(code: str, torch_oracle: ModuleType) -> None:
    ours, theirs = _outcome(flambeau, code), _outcome(torch_oracle, code)
    if isinstance(theirs, tuple):
        assert ours == theirs
    else:
        np.testing.assert_array_equal(ours, theirs)
        assert ours.shape == theirs.shape


@pytest.mark.parametrize("code", INDICES)
def test_reading(code: str, torch_oracle: ModuleType) -> None:
    _agree(code, torch_oracle)


ASSIGNMENTS = [
    "x[0] = 5", "x[0] = x[1]", "x[:, 1] = x[:, 0]", "x[t] = 0.0", "x[t, t] = x[0, 0, :2, None] * 2",
    "x[x > 3] = 0", "x[x > 3] = x[0] * 2", "x[0] = [1]", "x[0] = n", "x[0] = 1j", "x[0] = x[0, :2]",
    "x[0] = x", "x[5] = 1", "x[[5]] = 1", "x[0] = x[:1]", "x[..., 0] = 3", "x[None] = 2",
    "x[True] = 2", "x[False] = 2", "x[0, 0, 0] = z", "x[t] = f", "x[t] = x[0, :2] * 2",
    "x[t] = x[0, :, :2]", "x[t] = x.int()", "x[::2] = x[1:] * 2", "x[::-1] = 1", "x[[0, 0]] += 1",
    "x[:, [0, 2]] = x[:, [2, 0]]", "x[0:1] = 9", "x[-1, ...] = 9", "z[...] = 2; x[0] = z",
    "x[0][1][2] = 99", "x[:, t > 5] = 1", "x[0, 1] = 5", "x[:, 1] = 0.5", "x[0, 9] = 1.0",
    "x[0, 0, 0, 0] = 1.0", "x[..., 0, ...] = 1.0", "x[1, 1:3] = x[0, 0:2]", "x[0, ::-1] = 1.0",
    "x[()] = 1.0", "x[None, 0] = 1.0", "x[:, 1] = x[:, 1:2]", "x[0, 1] += 1", "x[True, 0] = 1.0",
    "v = x[0]; v[1, 2] = 7.0", "v = x.view(-1); v[3:5] = v[7:9]", "x[0, n] = 1.0",
    "x[:, :, 1:2] = x[0, :, :1]", "x[1, 2, 3] = z", "x[:, :, 1:2] = x[:1, 0]",
    "x[0, 0, 0] = x[:1, :1, 0, :2]", "x[t] = x[None, :, :2]",
    "x[:, :, 1:2] = x[0, :, None]", "x[...] = x[:1, 0, :3]"]


@pytest.mark.parametrize("code", ASSIGNMENTS)
def test_writing(code: str, torch_oracle: ModuleType) -> None:
    _agree(code, torch_oracle)


@pytest.mark.parametrize("code", ["x[[0, 5]] = 1.0", "x[0] = x[0, :2]", "x[t, [0, 7]] = 1.0",
                                  "x[t] = x[0, :, :2]"])
def test_an_error_changes_nothing(code: str) -> None:
    names = _names(flambeau)
    with pytest.raises((IndexError, RuntimeError)):
        exec(code, names)
    np.testing.assert_array_equal(names["x"].numpy(), np.arange(24.0).reshape(2, 3, 4))
    assert names["x"]._version == 0


def test_outputs_of_split_refuse_a_change() -> None:
    y = flambeau.ones(4, requires_grad=True) * 1
    part = y.split(2)[0]
    with pytest.raises(RuntimeError, match="Output 0 of Split"):
        part.mul_(2)


def test_views_of_leaves_refuse_a_change() -> None:
    x = flambeau.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="a view of a leaf Variable"):
        x[0] = 1.0
    with pytest.raises(RuntimeError, match="a leaf Variable"):
        x[...] = 1.0
    with flambeau.no_grad():
        x[0] = 5.0
    assert x[0].item() == 5.0


def test_a_view_made_without_grad_refuses_a_recorded_change() -> None:
    y = flambeau.ones(3, requires_grad=True) * 1
    with flambeau.no_grad():
        view = y[0]
    with pytest.raises(RuntimeError, match="A view was created in no_grad mode"):
        view.mul_(2)


def test_views_share_memory_and_version() -> None:
    x = flambeau.zeros(2, 3)
    views = [x[0], x[:, 1:], x.t(), x.view(6), x.unsqueeze(0), x.unbind()[1], x.diagonal()]
    x[0, 0] = 4.0
    assert all(v._base is x and v._version == x._version for v in views)
    assert views[2][0, 0].item() == 4.0 and views[3].data_ptr() == x.data_ptr()
    assert x[1].storage_offset() == 3 and x.untyped_storage().nbytes() == 24


def test_names_of_nodes() -> None:
    x = flambeau.ones(3, 4, requires_grad=True)
    found = [x[0], x[1:], x[0, 1:], x[None], x[...], x[[0, 1]], x[x > 0], x.squeeze(0)]
    names = [type(t.grad_fn).__name__ for t in found]
    assert names == ["SelectBackward0", "SliceBackward0", "SliceBackward0", "UnsqueezeBackward0",
                     "AliasBackward0", "IndexBackward0", "IndexBackward0", "SqueezeBackward1"]


def test_as_strided_stays_inside_the_storage() -> None:
    x = flambeau.zeros(4)
    with pytest.raises(RuntimeError, match="out of bounds for storage of size 16"):
        x.as_strided((3,), (2,))
    assert x[2:].as_strided((4,), (1,), 0).shape == (4,)


def test_an_assignment_to_a_view_counts_for_its_base() -> None:
    x = flambeau.zeros(2, 3)
    w = flambeau.ones(2, 3, requires_grad=True)
    loss = (w * x).sum()
    x[0][1:] = 2.0
    x[:, 0] = x[:, 1]
    assert x.tolist() == [[2.0, 2.0, 2.0], [0.0, 0.0, 0.0]] and x._version == 2
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_an_assignment_to_a_view_of_a_recorded_base_is_recorded() -> None:
    w = flambeau.ones(2, 3, requires_grad=True)
    y = w * 1
    view = y[0]
    view[1:] = 0.0
    y.sum().backward()
    assert w.grad.tolist() == [[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]


def test_parts_say_how_they_are_reached() -> None:
    def f(x: Any) -> Any:
        row, piece, second = x.unbind()[1].view(3, 1), x.split([1, 2], 1)[1].t(), x.chunk(2)[1][0]
        x.mul_(2.0)
        return [row.tolist(), piece.tolist(), second.tolist(), row.grad_fn.name()]

    x = flambeau.arange(12.0).reshape(4, 3).requires_grad_() * 1
    assert f(x) == [[[6.0], [8.0], [10.0]], [[2.0, 8.0, 14.0, 20.0], [4.0, 10.0, 16.0, 22.0]],
                    [12.0, 14.0, 16.0], "ViewBackward0"]


def test_iteration_and_membership() -> None:
    x = flambeau.from_numpy(np.array([1.0, 2.0]))
    assert [t.item() for t in x] == [1.0, 2.0] and 2.0 in x and 3 not in x
    assert [t.item() for t in reversed(x)] == [2.0, 1.0]
    with pytest.raises(TypeError, match="iteration over a 0-d tensor"):
        iter(x[0])


@pytest.mark.parametrize("size, stride, start", [((2, 2), (4, 1), 0), ((3,), (1,), 2), ((), (), 5)])
def test_as_strided_scatter_gives_pytorchs_gradients(size: tuple, stride: tuple, start: int,
                                                     torch_oracle: ModuleType) -> None:
    def grads(t: Any) -> list:
        x = t.arange(12.0).reshape(3, 4).requires_grad_()
        part = t.ones(size).requires_grad_()
        out = t.as_strided_scatter(x, part, size, stride, start)
        (out * t.arange(12.0).reshape(3, 4)).sum().backward()
        return [out.tolist(), x.grad.tolist(), part.grad.tolist()]

    assert grads(flambeau) == grads(torch_oracle)
