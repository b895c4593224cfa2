"""Nodes of compiled steps that index, pick, write and add at places: eager's bits, and its errors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau as torch
import flambeau.nn.functional as F
from flambeau.backends import large
from flambeau.compiler.entry import unit_of

CALLS = 20
N = 6


def _f(rng: Any, *shape: int, held: Any = np.float32) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal(shape).astype(held))


def _i(rng: Any, high: int, *shape: int, low: int = 0, held: Any = np.int64) -> torch.Tensor:
    return torch.from_numpy(np.asarray(rng.integers(low, high, shape), held))


def same(found: Any, want: Any) -> None:
    """Results are equal bit for bit, and lie alike."""
    if not isinstance(want, torch.Tensor):
        assert type(found) is type(want)
        if isinstance(want, (tuple, list)):
            for a, b in zip(found, want, strict=True):
                same(a, b)
        else:
            assert found == want
        return
    assert found.dtype is want.dtype and found.shape == want.shape
    assert all([n == 1 or a == b for n, a, b in zip(want.shape, found.stride(), want.stride())])
    assert found.detach().numpy().tobytes() == want.detach().numpy().tobytes()


def is_native(compiled: Any) -> bool:
    """Whether nothing of its program runs in Python."""
    if not large.available():
        return True
    program = unit_of(compiled).programs[0]
    return all([s.call is None for s in program.executor.segments]) and program.fast is not None


def agrees(step: Callable, make: Callable[[Any], list], native: bool = True) -> None:
    """Calls with other values each time give what eager calls give, and change what these do."""
    compiled, rng = torch.compile(step), np.random.default_rng(0)
    for _ in range(CALLS):
        given_ = make(rng)
        ours, theirs = ([t.clone() if t.is_contiguous() else t for t in given_] for _ in range(2))
        same(compiled(*ours), step(*theirs))
        same(ours, theirs)
    assert unit_of(compiled).programs
    assert not native or is_native(compiled)


def with_grads(step: Callable) -> Callable:
    """The results, and the gradients of the floating arguments."""
    def run(*tensors: Any) -> Any:
        leaves = [t.detach().requires_grad_() if t.is_floating_point() else t for t in tensors]
        out = step(*leaves)
        (out * out).sum().backward()
        return out.detach(), [t.grad for t in leaves if t.is_floating_point()]

    return run


PICKS = {
    "rows": (lambda x, i: x[i], lambda r: [_f(r, N, 5), _i(r, N, 4)]),
    "negative rows": (lambda x, i: x[i], lambda r: [_f(r, N, 5), _i(r, N, 4, low=-N)]),
    "int32": (lambda x, i: x[i], lambda r: [_f(r, N, 5), _i(r, N, 4, held=np.int32)]),
    "rows of rows": (lambda x, i: x[i], lambda r: [_f(r, N, 5), _i(r, N, 3, 4)]),
    "columns": (lambda x, i: x[:, i], lambda r: [_f(r, N, 5), _i(r, 5, 4)]),
    "pairs": (lambda x, i, j: x[i, j], lambda r: [_f(r, N, 5), _i(r, N, 4), _i(r, 5, 4)]),
    "grid": (lambda x, i, j: x[i[:, None], j], lambda r: [_f(r, N, 5), _i(r, N, 4), _i(r, 5, 3)]),
    "apart": (lambda x, i, j: x[i, :, j],
              lambda r: [_f(r, N, 3, 5), _i(r, N, 4), _i(r, 5, 4)]),
    "inside": (lambda x, i, j: x[:, i, j],
               lambda r: [_f(r, 3, N, 5), _i(r, N, 4), _i(r, 5, 4)]),
    "number": (lambda x, i: x[i] * 1, lambda r: [_f(r, N, 5), _i(r, N)]),
    "column number": (lambda x, i: x[:, i] * 1, lambda r: [_f(r, N, 5), _i(r, 5)]),
    "classes": (lambda x, i: x[torch.arange(N), i], lambda r: [_f(r, N, 5), _i(r, 5, N)]),
    "list": (lambda x: x[[0, 2, 3]], lambda r: [_f(r, N, 5)]),
    "transposed": (lambda x, i: x.t()[i], lambda r: [_f(r, N, 5), _i(r, 5, 4)]),
    "from outside": (lambda x, i: x[i], lambda r: [_f(r, 5, N).t(), _i(r, N, 4)]),
    "strided index": (lambda x, i: x[i[::2]], lambda r: [_f(r, N, 5), _i(r, N, 8)]),
    "three": (lambda x, i: x[:, i], lambda r: [_f(r, 3, N, 5), _i(r, N, 4)]),
    "index_select": (lambda x, i: x.index_select(1, i), lambda r: [_f(r, N, 5), _i(r, 5, 7)]),
    "gather": (lambda x, i: x.gather(1, i), lambda r: [_f(r, N, 5), _i(r, 5, N, 3)]),
    "gather first": (lambda x, i: x.gather(0, i), lambda r: [_f(r, N, 5), _i(r, N, 3, 4)]),
    "gather a class": (lambda x, i: x.gather(1, i.unsqueeze(1)).squeeze(1),
                       lambda r: [_f(r, N, 5), _i(r, 5, N)]),
    "gather three": (lambda x, i: x.gather(1, i), lambda r: [_f(r, 2, N, 5), _i(r, N, 2, 3, 4)]),
    "take_along_dim": (lambda x, i: torch.take_along_dim(x, i, 1),
                       lambda r: [_f(r, N, 5), _i(r, 5, N, 3, low=-5)]),
    "take": (lambda x, i: x.take(i), lambda r: [_f(r, N, 5), _i(r, 5 * N, 3, 4, low=-5 * N)]),
    "embedding": (lambda x, i: F.embedding(i, x), lambda r: [_f(r, N, 5), _i(r, N, 3, 4)]),
    "padding": (lambda x, i: F.embedding(i, x, padding_idx=1),
                lambda r: [_f(r, N, 5), _i(r, N, 3, 4)]),
}


@pytest.mark.parametrize("name", PICKS)
def test_picks(name: str) -> None:
    step, make = PICKS[name]
    agrees(step, make)


@pytest.mark.parametrize("name", PICKS)
def test_picks_go_back(name: str) -> None:
    step, make = PICKS[name]
    agrees(with_grads(step), make)


@pytest.mark.parametrize("held", [np.float64, np.int64, np.int32, np.uint8, np.bool_, np.float16])
@pytest.mark.parametrize("name", ["rows", "columns", "pairs", "gather", "take", "grid"])
def test_picks_of_dtypes(name: str, held: Any) -> None:
    step, make = PICKS[name]

    def made(rng: Any) -> list:
        first, *rest = make(rng)
        return [torch.from_numpy((first.numpy() * 3).astype(held)), *rest]

    agrees(step, made)


def _put(x: Any, i: Any, v: Any) -> None:
    x[i] = v


def _put_number(x: Any, i: Any) -> None:
    x[i] = 0.5


def _put_pairs(x: Any, i: Any, j: Any, v: Any) -> None:
    x[i, j] = v


def _put_columns(x: Any, i: Any, v: Any) -> None:
    x[:, i] = v


def _put_sliced(x: Any, i: Any, v: Any) -> None:
    x[:, 1:4][:, i] = v


def _put_of_itself(x: Any, i: Any) -> None:
    x[i] = x[0]
    x[0] = x[i[0]] * 2


def _put_twice(x: Any, i: Any, v: Any) -> Any:
    before = x.amax(1)
    x[i] = v
    x[i[:2]] += 1
    return before, x[i]


def _done(name: str, *given_: Any, **settings_: Any) -> Callable:
    def step(x: Any, *tensors: Any) -> None:
        getattr(x, name)(*[tensors[a] if type(a) is int else a[0] for a in given_], **settings_)

    return step


PUTS = {
    "rows": (_put, lambda r: [_f(r, N, 5), _i(r, N, 4, low=-N), _f(r, 4, 5)]),
    "one row": (_put, lambda r: [_f(r, N, 5), _i(r, N, 4), _f(r, 5)]),
    "int32": (_put, lambda r: [_f(r, N, 5), _i(r, N, 4, held=np.int32), _f(r, 5)]),
    "number": (_put_number, lambda r: [_f(r, N, 5), _i(r, N, 4)]),
    "pairs": (_put_pairs, lambda r: [_f(r, N, 5), _i(r, N, 4), _i(r, 5, 4), _f(r, 4)]),
    "columns": (_put_columns, lambda r: [_f(r, N, 5), _i(r, 5, 3), _f(r, N, 3)]),
    "position": (_put_columns, lambda r: [_f(r, N, 5), _i(r, 5), _f(r, N)]),
    "sliced": (_put_sliced, lambda r: [_f(r, N, 5), _i(r, 3, 2), _f(r, N, 2)]),
    "itself": (_put_of_itself, lambda r: [_f(r, N, 5), _i(r, N, 3)]),
    "twice": (_put_twice, lambda r: [_f(r, N, 5), _i(r, N, 3), _f(r, 3, 5)]),
    "added": (lambda x, i, v: (x.index_put_((i,), v, accumulate=True), None)[1],
              lambda r: [_f(r, N, 5), _i(r, N, 9), _f(r, 9, 5)]),
    "mask": (_put_number, lambda r: [_f(r, N, 5), _f(r, N, 5) > 0]),
    "mask of rows": (_put_number, lambda r: [_f(r, N, 5), _f(r, N) > 0]),
    "index_add_": (_done("index_add_", [0], 0, 1),
                   lambda r: [_f(r, N, 5), _i(r, N, 9), _f(r, 9, 5)]),
    "index_add_ 1": (_done("index_add_", [1], 0, 1),
                     lambda r: [_f(r, N, 5), _i(r, 5, 9), _f(r, N, 9)]),
    "index_copy_": (_done("index_copy_", [0], 0, 1),
                    lambda r: [_f(r, N, 5), _i(r, N, 4), _f(r, 4, 5)]),
    "index_fill_": (_done("index_fill_", [1], 0, [2.5]),
                    lambda r: [_f(r, N, 5), _i(r, 5, 3, low=-5)]),
    "scatter_": (_done("scatter_", [1], 0, 1),
                 lambda r: [_f(r, N, 5), _i(r, 5, N, 3), _f(r, N, 4)]),
    "scatter_ number": (_done("scatter_", [1], 0, [1.5]),
                        lambda r: [_f(r, N, 5), _i(r, 5, N, 1)]),
    "scatter_add_": (_done("scatter_add_", [0], 0, 1),
                     lambda r: [_f(r, N, 5), _i(r, N, 9, 4), _f(r, 9, 5)]),
    "put_": (_done("put_", 0, 1), lambda r: [_f(r, N, 5), _i(r, 5 * N, 4), _f(r, 4)]),
}


@pytest.mark.parametrize("name", PUTS)
def test_puts(name: str) -> None:
    step, make = PUTS[name]
    agrees(step, make)


FRESH = {
    "index_add": (lambda x, i, v: x.index_add(0, i, v),
                  lambda r: [_f(r, N, 5), _i(r, N, 9), _f(r, 9, 5)]),
    "scatter": (lambda x, i, v: x.scatter(1, i, v),
                lambda r: [_f(r, N, 5), torch.from_numpy(r.permuted(
                    np.tile(np.arange(5), (N, 1)), axis=1)), _f(r, N, 5)]),
    "scatter_add": (lambda x, i, v: x.scatter_add(1, i, v),
                    lambda r: [_f(r, N, 5), _i(r, 5, N, 7), _f(r, N, 7)]),
    "index_put": (lambda x, i, v: x.index_put((i,), v),
                  lambda r: [_f(r, N, 5), torch.from_numpy(r.permutation(N)[:4]), _f(r, 4, 5)]),
    "one_hot": (lambda x, i: x @ F.one_hot(i, 5).float(),
                lambda r: [_f(r, 3, N), _i(r, 5, N)]),
    "mean of rows": (lambda x, i: x[i].mean(1), lambda r: [_f(r, N, 5), _i(r, N, 4, 3)]),
}


@pytest.mark.parametrize("name", [n for n in FRESH if n not in ("mean of rows", "one_hot")])
def test_new_results_go_back(name: str) -> None:
    step, make = FRESH[name]
    agrees(with_grads(step), make)


@pytest.mark.parametrize("values", [np.float64, np.int64, np.int32])
@pytest.mark.parametrize("name", ["rows", "one row", "added", "index_add_", "scatter_add_"])
def test_puts_of_dtypes(name: str, values: Any) -> None:
    step, make = PUTS[name]

    def made(rng: Any) -> list:
        return [torch.from_numpy((t.numpy() * 3).astype(values)) if t.is_floating_point() else t
                for t in make(rng)]

    agrees(step, made)


WRONG = {
    "rows": lambda x, i: x[i], "columns": lambda x, i: x[:, i], "pairs": lambda x, i: x[i, i],
    "put": lambda x, i: _put(x, i, 1.0), "embedding": lambda x, i: F.embedding(i, x),
    "index_select": lambda x, i: x.index_select(0, i),
    "gather": lambda x, i: x.gather(1, i[:, None]), "take": lambda x, i: x.take(i * 7),
    "take_along_dim": lambda x, i: torch.take_along_dim(x[:4], i[:, None], 1),
    "index_add_": lambda x, i: x.index_add_(0, i, x[:4]) * 1,
    "index_fill_": lambda x, i: x.index_fill_(1, i, 0.0) * 1,
    "scatter_": lambda x, i: x.scatter_(1, i[:, None], 1.0) * 1,
}


@pytest.mark.parametrize("held", [np.int64, np.int32])
@pytest.mark.parametrize("wrong", [N, -N - 1, 1 << 30])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_indices_raise_as_in_eager_mode(name: str, wrong: int, held: Any) -> None:
    if held is np.int32 and name.startswith("take"):
        pytest.skip("int64 only")
    kept = torch.zeros(3)

    def step(x: Any, i: Any) -> Any:
        kept.add_(x.sum())
        x.mul_(2)
        return WRONG[name](x, i)

    compiled, right = torch.compile(step), torch.from_numpy(np.array([0, 2, 1, 0], held))
    x = torch.arange(float(N * N)).reshape(N, N)
    for _ in range(4):
        compiled(x.clone(), right)
    bad = right.clone()
    bad[2] = wrong
    with pytest.raises(Exception) as want:
        WRONG[name](x.clone(), bad)
    before = kept.clone()
    given_ = x.clone()
    with pytest.raises(type(want.value)) as found:
        compiled(given_, bad)
    assert str(found.value).splitlines()[0] == str(want.value).splitlines()[0]
    assert torch.equal(given_, x) and torch.equal(kept, before)
    ours, theirs = x.clone(), x.clone()
    kept.zero_()
    result = compiled(ours, right)
    kept.zero_()
    same(result, step(theirs, right))
    same(ours, theirs)


@pytest.mark.parametrize("shape", [(0, 5), (N, 0)])
def test_nothing_to_pick(shape: tuple[int, int]) -> None:
    agrees(lambda x, i: x[:, i], lambda r: [_f(r, *shape), _i(r, 1, 0)], False)
    agrees(lambda x, i: x[i], lambda r: [_f(r, *shape), _i(r, 1, 0)], False)
    agrees(_put_number, lambda r: [_f(r, *shape), _i(r, 1, 0)], False)


def test_a_cache_is_written_in_place() -> None:
    def step(cache: Any, k: Any, at: Any) -> Any:
        cache[:, at] = k
        return (cache * cache).amax(-1)

    agrees(step, lambda r: [_f(r, 2, N, 4), _f(r, 2, 4), _i(r, N)])


def _change_row(x: Any, i: Any) -> None:
    x[i].add_(1)


def _read_row_late(x: Any, i: Any) -> Any:
    row = x[i]
    x.mul_(2)
    return row + 1


def _read_row_early(x: Any, i: Any) -> Any:
    row = x[i] * 1
    x.mul_(2)
    x[i] = row
    return row + x[i]


@pytest.mark.parametrize("step", [_change_row, _read_row_late, _read_row_early,
                                  lambda x, i: x[i], lambda x, i: x[i, i], lambda x, i: x[:, i]])
def test_numbers_that_are_tensors_give_views(step: Any) -> None:
    compiled, rng = torch.compile(step), np.random.default_rng(0)
    for _ in range(5):
        x, i = _f(rng, N, 5), _i(rng, 5)
        ours, theirs = x.clone(), x.clone()
        found, want = compiled(ours, i), step(theirs, i)
        same(found, want)
        same(ours, theirs)
        if want is not None and want._base is theirs:
            found.fill_(7)
            want.fill_(7)
            same(ours, theirs)


SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@given(shape=SHAPES, data=st.data())
@settings(max_examples=30, deadline=None)
def test_any_index_tensors(shape: list[int], data: Any) -> None:
    count = data.draw(st.integers(1, len(shape)))
    dims = sorted(data.draw(st.permutations(range(len(shape))))[:count])
    own = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=2))
    turned = data.draw(st.booleans())
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = _f(rng, *shape[::-1]).permute(*range(len(shape))[::-1]) if turned else _f(rng, *shape)
    index = [_i(rng, shape[d], *own, low=-shape[d]) for d in dims]
    at: list[Any] = [slice(None)] * len(shape)
    for d, i in zip(dims, index):
        at[d] = i

    def step(x: Any, *index: Any) -> Any:
        key = tuple([index[dims.index(d)] if d in dims else slice(None)
                     for d in range(len(shape))])
        part = x[key]
        new = x.clone()
        new[key] = part * 2
        return part * 1, new.index_put(
            [i.reshape(-1)[:1] for i in index], torch.ones(()), accumulate=True) if (
                dims == list(range(count))) else new

    compiled = torch.compile(step)
    for _ in range(3):
        same(compiled(x, *index), step(x, *index))
