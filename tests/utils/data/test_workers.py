"""DataLoader with worker processes: PyTorch's order and seeds, shared memory, start methods."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import flambeau as fl
from flambeau.utils.data import DataLoader, Dataset, TensorDataset, get_worker_info
from flambeau.utils.data._utils import leases
from tests.utils.data.both import Run, assert_same
from tests.utils.data.sources import draws, images, numbers, stream

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create",
                                        "ignore:.*multi-threaded.*fork")
FORK = {"multiprocessing_context": "fork"} if sys.platform == "linux" else {}


def _batches(t: Any, dataset: Any, **options: Any) -> list:
    return list(t.utils.data.DataLoader(dataset, **{"num_workers": 2, **FORK, **options}))


def _persistent(t: Any, dataset: Any, stop: int) -> list:
    loader = t.utils.data.DataLoader(dataset, batch_size=3, shuffle=isinstance(len(dataset), int),
                                     num_workers=2, persistent_workers=True, **FORK)
    seen = []
    for epoch in range(3):
        for at, batch in enumerate(loader):
            seen.append(batch)
            if epoch == 1 and at == stop:
                break
    return seen


def _going_on(t: Any) -> list:
    batches = iter(t.utils.data.DataLoader(numbers(t, bad=4), batch_size=2, num_workers=2, **FORK))
    seen = []
    for _ in range(5):
        try:
            seen.append(next(batches)[1])
        except ValueError as error:
            seen.append(str(error).splitlines()[0])
    return seen


def _information(t: Any) -> list:
    found: list = [t.utils.data.get_worker_info() is None]

    class Asking(t.utils.data.Dataset):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> Any:
            info = t.utils.data.get_worker_info()
            return (info.id, info.num_workers, info.seed, info.dataset is self,
                    t.initial_seed(), t.get_num_threads(), info.worker_method)

    return found + _batches(t, Asking())


RUNS: dict[str, Run] = {
    "in order": lambda t: _batches(t, numbers(t), batch_size=3),
    "shuffled, dropped": lambda t: _batches(t, numbers(t), batch_size=3, shuffle=True,
                                            drop_last=True),
    "one worker": lambda t: _batches(t, numbers(t), batch_size=3, shuffle=True, num_workers=1),
    "more workers than batches": lambda t: _batches(t, numbers(t, 3), num_workers=5),
    "prefetched": lambda t: _batches(t, numbers(t, 20), prefetch_factor=7),
    "not batched": lambda t: _batches(t, numbers(t), batch_size=None),
    "seeds": lambda t: _batches(t, draws(t), batch_size=2),
    "seeds of a generator": lambda t: _batches(t, draws(t), batch_size=2, shuffle=True,
                                               generator=t.Generator().manual_seed(3)),
    "images": lambda t: [(x.mean((1, 2, 3)), y) for x, y in _batches(t, images(t), batch_size=5)],
    "tensors": lambda t: _batches(t, t.utils.data.TensorDataset(t.arange(10)), batch_size=4,
                                  shuffle=True),
    "stream": lambda t: _batches(t, stream(t), batch_size=3),
    "stream, split": lambda t: _batches(t, stream(t, split=True), batch_size=2, num_workers=3),
    "stream, dropped": lambda t: _batches(t, stream(t), batch_size=3, drop_last=True),
    "stream, not batched": lambda t: _batches(t, stream(t, 4), batch_size=None),
    "stream, longer than claimed": lambda t: _batches(t, stream(t, 4, 5), batch_size=None),
    "persistent": lambda t: _persistent(t, numbers(t), 1),
    "failing": lambda t: _batches(t, numbers(t, bad=4), batch_size=3),
    "failing, key": lambda t: _batches(t, numbers(t, bad=4, error=KeyError), batch_size=3),
    "going on": _going_on,
    "information": _information,
    "pinned": lambda t: _batches(t, range(4), pin_memory=True),
    "no prefetch": lambda t: _batches(t, range(4), prefetch_factor=0),
    "empty": lambda t: _batches(t, [], batch_size=2),
}


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", RUNS)
def test_same_as_torch(name: str, torch_oracle: ModuleType) -> None:
    assert_same(torch_oracle, RUNS[name])


def test_the_length_of_a_stream_that_every_worker_repeats() -> None:
    loader = DataLoader(stream(fl, 3, 3), num_workers=2, batch_size=None, **FORK)
    assert len(loader) == 3
    with pytest.warns(UserWarning, match="not properly configuring"):
        assert list(loader) == [0, 0, 1, 1, 2, 2]


class Values(Dataset):
    """Things of many types, all of them twice as large as what a socket holds in the largest."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        n = self.size
        base = fl.arange(2 * n).reshape(2, n) + index
        return {
            "long": base, "column": base.t(), "step": base[:, ::2], "wide": base[:1].expand(3, n),
            "half": base.to(fl.bfloat16), "complex": base * 1j, "empty": fl.zeros(0, n),
            "single": fl.tensor(index), "leaf": fl.ones(n, requires_grad=True), "text": "x" * n,
            "array": np.arange(n) + index, "fortran": np.asfortranarray(np.ones((3, n))),
            "parameter": fl.nn.Parameter(fl.ones(n)), "twice": [base, base], "none": None}


@pytest.mark.parametrize("size", [3, 1000, 60_000])
def test_what_workers_send_arrives(size: int) -> None:
    data = Values(size)
    loader = DataLoader(data, batch_size=None, num_workers=2, collate_fn=_same, **FORK)
    for index, got in enumerate(loader):
        want = data[index]
        assert list(got) == list(want)
        for name, value in want.items():
            if isinstance(value, fl.Tensor):
                assert type(got[name]) is type(value)
                assert got[name].dtype == value.dtype
                assert got[name].requires_grad == value.requires_grad
                assert fl.equal(got[name], value), name
            elif isinstance(value, np.ndarray):
                np.testing.assert_array_equal(got[name], value)
        assert got["wide"].stride() == want["wide"].stride()
        assert got["column"].stride() == want["column"].stride()
        assert got["twice"][0] is got["twice"][1]
        got["long"] += 1
        got["array"] += 1


def _same(value: Any) -> Any:
    return value


def test_batches_that_are_kept_stay_as_they_are() -> None:
    loader = DataLoader(images(fl, 600, 60), batch_size=3, num_workers=2, **FORK)
    kept = list(loader)
    for at, (batch, numbers_of) in enumerate(kept):
        assert numbers_of.tolist() == [3 * at, 3 * at + 1, 3 * at + 2]
        assert batch[:, 0, 0, 0].tolist() == numbers_of.tolist()
        assert bool((batch == batch[:, :1, :1, :1]).all())


def test_memory_is_used_again() -> None:
    loader = DataLoader(images(fl, 200, 60), batch_size=2, num_workers=1, **FORK)
    places = set()
    for batch, _ in loader:
        assert batch.is_shared()
        places.add(batch.data_ptr())
    assert len(places) < 10


def test_memory_that_a_fork_may_read_is_not_used_again() -> None:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    batches = iter(DataLoader(images(fl, 200, 60), batch_size=2, num_workers=1, **FORK))
    held = next(batches)[0]

    def watch(tensor: fl.Tensor) -> None:
        theirs.recv()
        theirs.send(tensor.unique().tolist())

    process = context.Process(target=watch, args=(held,))
    process.start()
    # The process object holds its arguments.
    process._args = ()  # type: ignore[attr-defined]
    del held
    for batch in batches:
        del batch
    ours.send("look")
    assert ours.recv() == [0.0, 1.0]
    process.join()


def test_any_order() -> None:
    loader = DataLoader(Waiting(), num_workers=2, in_order=False, **FORK)
    seen = [int(x) for x in loader]
    assert sorted(seen) == list(range(6))
    assert seen[0] == 1


class Waiting(Dataset):
    """Its first sample takes its time."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> int:
        time.sleep(0.3 if index == 0 else 0)
        return index


def test_large_lists_of_keys() -> None:
    keys = [list(range(start, start + 100_000)) for start in range(8)]
    loader = DataLoader(range(200_000), batch_sampler=keys, num_workers=2, collate_fn=len,
                        prefetch_factor=4, **FORK)
    assert list(loader) == [100_000] * 8


class Scaled(Dataset):
    """Importable, so that it can be sent to processes that inherit nothing."""

    def __init__(self) -> None:
        self.values = fl.arange(12.0)
        self.scale = 1

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Any:
        return self.scale * self.values[index]


def double(worker: int) -> None:
    """Change a worker's copy of the dataset."""
    info = get_worker_info()
    assert info is not None and info.id == worker
    info.dataset.scale = 2


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_other_start_methods(method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("not on this platform")
    loader = DataLoader(Scaled(), batch_size=4, num_workers=2, worker_init_fn=double,
                        multiprocessing_context=method)
    assert [x.tolist() for x in loader] == [[0, 2, 4, 6], [8, 10, 12, 14], [16, 18, 20, 22]]


def test_what_cannot_be_sent_to_a_worker_is_said() -> None:
    local = numbers(fl)
    loader = DataLoader(local, num_workers=1, multiprocessing_context="spawn")
    with pytest.warns(UserWarning, match="Got pickle error"), pytest.raises(AttributeError):
        iter(loader)
    assert multiprocessing.active_children() == []


def test_worker_memory_is_filled_by_collating() -> None:
    loader = DataLoader(TensorDataset(fl.rand(64, 4000)), batch_size=32, num_workers=1, **FORK)
    for (batch,) in loader:
        assert batch.is_shared()
        assert batch.is_contiguous()


def test_without_shared_memory_all_goes_through_the_socket(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "is_available", lambda: False)
    for batch, at in DataLoader(images(fl), batch_size=2, num_workers=2, **FORK):
        assert not batch.is_shared()
        assert batch[:, 1, 2, 3].tolist() == at.tolist()


def test_an_exhausted_iterator_stays_so() -> None:
    batches: Iterator = iter(DataLoader(range(3), num_workers=1, **FORK))
    assert len(list(batches)) == 3
    assert list(batches) == []
    assert multiprocessing.active_children() == []
