"""``torch.random``: the state of the default generator."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from flambeau.base.device import device
from flambeau.core.generator import Generator, default_generator
from flambeau.ops.random import get_rng_state, initial_seed, manual_seed, seed, set_rng_state

__all__ = ["Generator", "default_generator", "fork_rng", "get_rng_state", "initial_seed",
           "manual_seed", "seed", "set_rng_state", "thread_safe_generator"]


@contextlib.contextmanager
def fork_rng(devices: Iterable[device] | None = None, enabled: bool = True,
             _caller: str = "fork_rng", _devices_kw: str = "devices",
             device_type: str | None = None) -> Iterator[None]:
    """What is drawn in the block does not move the default generator; nothing if not ``enabled``.

    ``devices`` are devices beside the CPU whose generators to keep: there are none.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> with torch.random.fork_rng():
    ...     a = torch.rand(2)
    >>> bool((torch.rand(2) == a).all())
    True
    """
    if not enabled or device_type == "meta":
        yield
        return
    others = [device(d) for d in devices or ()]
    if others:
        raise RuntimeError(f"fork_rng: no generator of {others[0]}: flambeau draws on the CPU")
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)


def thread_safe_generator() -> Generator | None:
    """The generator of a DataLoader's worker thread; None elsewhere, which means the default one.

    >>> import flambeau as torch
    >>> torch.random.thread_safe_generator() is None
    True
    """
    # Here, for only workers need what loads data.
    from flambeau.utils.data import get_worker_info
    info = get_worker_info()
    if info is None or info.worker_method != "thread" or info.rng is None:
        return None
    return info.rng.torch_generator
