"""One pass over a DataLoader: in this process, or through workers, in PyTorch's order."""

from __future__ import annotations

import sys
import warnings
from itertools import cycle
from typing import TYPE_CHECKING, Any, NoReturn

from flambeau.utils.data._utils.failure import ExceptionWrapper
from flambeau.utils.data._utils.fetch import fetcher
from flambeau.utils.data._utils.seeds import draw_seed

if TYPE_CHECKING:
    from flambeau.utils.data.dataloader import DataLoader

__all__ = ["_BaseDataLoaderIter", "_DatasetKind", "_MultiProcessingDataLoaderIter",
           "_SingleProcessDataLoaderIter"]

_NO_PINNING = ("'pin_memory' argument is set as true but no accelerator is found, "
               "then device pinned memory won't be used.")
_PIN_DEVICE = ("pin_memory_device is deprecated, the current accelerator will be used as the "
               "device,ignore pin_memory_device='{}'.")
_TOO_LONG = ("Length of IterableDataset {} was reported to be {}(when accessing len(dataloader)), "
             "but {} samples have been fetched. ")
_TOO_LONG_WORKERS = (
    "For multiprocessing data-loading, this could be caused by not properly configuring the "
    "IterableDataset replica at each worker. Please see "
    "https://pytorch.org/docs/stable/data.html#torch.utils.data.IterableDataset for examples.")


class _DatasetKind:
    """Whether a dataset gives samples by key or in the order that they come."""

    Map = 0
    Iterable = 1


class _BaseDataLoaderIter:
    """What both ways share: the sampler's iterator, the base seed, counting and warnings."""

    def __init__(self, loader: DataLoader) -> None:
        self._dataset = loader.dataset
        self._dataset_kind = loader._dataset_kind
        self._auto_collation = loader._auto_collation
        self._drop_last = loader.drop_last
        self._index_sampler = loader._index_sampler
        self._num_workers = loader.num_workers
        self._timeout = loader.timeout
        self._collate_fn = loader.collate_fn
        self._persistent_workers = loader.persistent_workers
        if loader.pin_memory:
            if loader.pin_memory_device:
                warnings.warn(_PIN_DEVICE.format(loader.pin_memory_device), stacklevel=2)
            warnings.warn(_NO_PINNING, stacklevel=2)
        self._sampler_iter = iter(self._index_sampler)
        self._base_seed = draw_seed(loader.generator)
        self._start(loader)

    def _start(self, loader: DataLoader) -> None:
        self._num_yielded = 0
        length = loader._IterableDataset_len_called
        iterable = self._dataset_kind == _DatasetKind.Iterable
        self._most = length if iterable and length is not None else sys.maxsize

    def _reset(self, loader: DataLoader) -> None:
        """Begin a new pass over the same dataset."""
        self._sampler_iter = iter(self._index_sampler)
        self._start(loader)

    def __iter__(self) -> _BaseDataLoaderIter:
        return self

    def __next__(self) -> Any:
        data = self._next_data()
        self._num_yielded += 1
        if self._num_yielded > self._most:
            text = _TOO_LONG.format(self._dataset, self._most, self._num_yielded)
            warnings.warn(text + _TOO_LONG_WORKERS if self._num_workers else text, stacklevel=2)
        return data

    def _next_data(self) -> Any:
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self._index_sampler)  # type: ignore[arg-type]

    def __getstate__(self) -> NoReturn:
        raise NotImplementedError("{} cannot be pickled", type(self).__name__)


class _SingleProcessDataLoaderIter(_BaseDataLoaderIter):
    """Batches fetched where they are asked for."""

    def __init__(self, loader: DataLoader) -> None:
        super().__init__(loader)
        if self._timeout != 0:
            raise AssertionError("_SingleProcessDataLoaderIter requires timeout == 0")
        self._fetch = fetcher(self._dataset, self._dataset_kind == _DatasetKind.Iterable,
                              self._auto_collation, self._collate_fn, self._drop_last)

    def _next_data(self) -> Any:
        return self._fetch(next(self._sampler_iter))


class _MultiProcessingDataLoaderIter(_BaseDataLoaderIter):
    """Batches fetched by worker processes, ahead of time.

    Task n goes to the next worker in turn that is still active. ``_tasks`` has the worker of every
    task sent and not yet yielded, ``_arrived`` the batches whose turn has not come.
    """

    _crew: Any = None

    def __init__(self, loader: DataLoader) -> None:
        super().__init__(loader)
        self._prefetch_factor = loader.prefetch_factor
        self._in_order = loader.in_order
        if self._prefetch_factor is None or self._prefetch_factor <= 0:
            raise AssertionError("prefetch_factor must be greater than 0 for "
                                 "MultiProcessingDataLoaderIter")
        # Programs that load in one process need not pay for the import.
        from flambeau.utils.data._utils import crew, worker

        self._ended_type, self._resume_type = worker.Ended, worker.Resume
        inline = crew.inline_limit(self._prefetch_factor)
        follow = crew.follows_parent()

        def plan_of(number: int) -> Any:
            return worker.Plan(
                self._dataset, self._dataset_kind == _DatasetKind.Iterable, self._auto_collation,
                self._collate_fn, self._drop_last, self._base_seed, loader.worker_init_fn, number,
                self._num_workers, inline, follow)

        self._crew = crew.Crew(self._num_workers, loader.multiprocessing_context, plan_of)
        self._begin()

    @property
    def _failed(self) -> bool:
        """Whether a worker has died: nothing more can come."""
        return self._crew.failed

    @property
    def _workers(self) -> list:
        """The worker processes."""
        return self._crew.processes

    def _begin(self) -> None:
        self._sent = self._yielded = 0
        self._tasks: dict[int, int] = {}
        self._arrived: dict[int, Any] = {}
        self._going = list(self._crew.active)
        self._load = [0] * self._num_workers
        self._turns = cycle(range(self._num_workers))
        for _ in range(self._prefetch_factor * self._num_workers):  # type: ignore[operator]
            self._send_next()

    def _reset(self, loader: DataLoader) -> None:
        super()._reset(loader)
        for worker in range(self._num_workers):
            self._crew.send(worker, -1, self._resume_type())
        # What is left of the last pass comes first.
        for worker in range(self._num_workers):
            while self._receive(worker)[0] >= 0:
                pass
        self._begin()

    def _receive(self, wanted: int | None) -> tuple[int, Any]:
        try:
            return self._crew.receive(wanted, self._timeout if self._timeout > 0 else None)
        except TimeoutError:
            raise RuntimeError(f"DataLoader timed out after {self._timeout} seconds") from None

    def _send_next(self) -> None:
        """Give the next keys of the sampler, if there are any, to a worker."""
        if not any(self._going):
            # Also then PyTorch takes keys from the sampler, which nobody will fetch.
            next(self._sampler_iter, None)
            return
        try:
            keys = next(self._sampler_iter)
        except StopIteration:
            return
        worker = self._next_worker()
        if worker is None:
            return
        self._crew.send(worker, self._sent, keys)
        self._tasks[self._sent] = worker
        self._load[worker] += 1
        self._sent += 1

    def _next_worker(self) -> int | None:
        """The next in turn; where order does not matter, one with less than its share to do."""
        most = self._prefetch_factor * self._num_workers  # type: ignore[operator]
        for _ in range(self._num_workers):
            worker = next(self._turns)
            if not self._going[worker]:
                continue
            if self._in_order or self._load[worker] < most // sum(self._going):
                return worker
        return None

    def _next_data(self) -> Any:
        while True:
            wanted = self._next_wanted()
            if self._yielded in self._arrived:
                return self._yield(self._yielded, self._arrived.pop(self._yielded))
            number, batch = self._receive(wanted if self._in_order else None)
            if isinstance(batch, self._ended_type):
                self._stop_worker(batch.worker)
                self._send_next()
            elif number == self._yielded or not self._in_order:
                return self._yield(number, batch)
            else:
                self._arrived[number] = batch

    def _next_wanted(self) -> int:
        """The worker that has the first task not yielded; StopIteration where all are."""
        while self._yielded < self._sent:
            worker = self._tasks.get(self._yielded)
            if worker is not None:
                if self._yielded in self._arrived or self._going[worker]:
                    return worker
                # Its worker has come to the end of its data.
                del self._tasks[self._yielded]
            self._yielded += 1
        if not self._persistent_workers:
            self._shutdown_workers()
        raise StopIteration

    def _stop_worker(self, worker: int) -> None:
        self._going[worker] = False
        if not self._persistent_workers:
            self._crew.let_go(worker)

    def _yield(self, number: int, batch: Any) -> Any:
        self._load[self._tasks.pop(number)] -= 1
        if number == self._yielded:
            self._yielded += 1
        self._send_next()
        if isinstance(batch, ExceptionWrapper):
            batch.reraise()
        return batch

    def _shutdown_workers(self) -> None:
        if self._crew is not None:
            self._crew.close()

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self._shutdown_workers()


# Their names in PyTorch, which the text of an iterator shows.
for _kind in (_BaseDataLoaderIter, _SingleProcessDataLoaderIter, _MultiProcessingDataLoaderIter):
    _kind.__module__ = "flambeau.utils.data.dataloader"
