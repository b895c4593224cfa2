"""Less memory for more time: what a part of a model saves is computed again during backward."""

from __future__ import annotations

import contextlib
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from flambeau.amp import state as autocast_state
from flambeau.amp.autocast_mode import autocast
from flambeau.autograd.backward import backward
from flambeau.autograd.function import Function
from flambeau.autograd.graph import saved_tensors_hooks
from flambeau.autograd.modes import enable_grad, no_grad
from flambeau.base.errors import call_site, user_frame
from flambeau.base.messages import text as message
from flambeau.base.missing import missing_attribute
from flambeau.core.modes import MODES
from flambeau.core.node import Node, changed_in_place
from flambeau.core.tensor import Tensor
from flambeau.ops.random import get_rng_state, set_rng_state
from flambeau.random import fork_rng

__all__ = ["CheckpointError", "CheckpointFunction", "DefaultDeviceType", "GraphExecGroup",
           "check_backward_validity", "checkpoint", "checkpoint_sequential", "detach_variable",
           "get_device_states", "noop_context_fn", "set_checkpoint_debug_enabled",
           "set_checkpoint_early_stop", "set_device_states"]

Contexts = tuple[contextlib.AbstractContextManager, contextlib.AbstractContextManager]

_TIP = ("\nTip: To see a more detailed error message, either pass `debug=True` to\n"
        "`torch.utils.checkpoint.checkpoint(...)` or wrap the code block\n"
        "with `with torch.utils.checkpoint.set_checkpoint_debug_enabled(True):` to\n"
        "enable checkpoint‑debug mode globally.\n")
_EXPLICIT = (
    "{}: the use_reentrant parameter should be passed explicitly. {} use_reentrant=False is "
    "recommended, but if you need to preserve the current default behavior, you can pass "
    "use_reentrant=True. Refer to docs for more details on the differences between the two "
    "variants.")
_ONCE = (
    "torch.utils.checkpoint: Unpack is being triggered for a tensor that was already unpacked "
    "once. {}If you are calling ctx.saved_tensors in backward, make sure to do so only once. "
    "Otherwise please open an issue with details on your use case.")
_OVERLAP = (
    "Performing two backward calls that overlap (i.e. require the same saved activation in order "
    "to compute gradients) is not allowed while under the torch.utils.checkpoint.GraphExecGroup "
    "context. ")


class CheckpointError(RuntimeError):
    """What was computed again is not what was computed before."""


class _Settings:
    debug: bool | None = None
    early_stop: bool | None = None
    group: GraphExecGroup | None = None


@contextlib.contextmanager
def _setting(name: str, value: Any) -> Iterator[None]:
    before = getattr(_Settings, name)
    setattr(_Settings, name, value)
    try:
        yield
    finally:
        setattr(_Settings, name, before)


def set_checkpoint_debug_enabled(enabled: bool | None) -> contextlib.AbstractContextManager:
    """In this block ``debug`` of all checkpoints is ``enabled``; None leaves it to each."""
    return _setting("debug", enabled)


def set_checkpoint_early_stop(enable: bool) -> contextlib.AbstractContextManager:
    """In this block ``early_stop`` of all checkpoints is ``enable``."""
    return _setting("early_stop", enable)


class GraphExecGroup:
    """A block in which several backward calls count as one: each part is computed again once."""

    def __enter__(self) -> GraphExecGroup:
        if _Settings.group is not None:
            raise RuntimeError("GraphExecGroup contexts cannot be nested.")
        _Settings.group = self
        return self

    def __exit__(self, *error: object) -> None:
        _Settings.group = None


class DefaultDeviceType:
    """The device whose random state is kept beside the CPU's."""

    _default_device_type: str | None = None

    @staticmethod
    def set_device_type(device: str = "cuda") -> None:
        """Set the device."""
        DefaultDeviceType._default_device_type = device

    @staticmethod
    def get_device_type() -> str:
        """The device: the CPU unless another was set."""
        return DefaultDeviceType._default_device_type or "cpu"


def get_device_states(*args: Any) -> tuple[list[int], list[Tensor]]:
    """The devices of these tensors beside the CPU and the states of their generators: none."""
    return [], []


def set_device_states(devices: Sequence[int], states: Sequence[Tensor], *,
                      device_type: str | None = None) -> None:
    """Set the states of generators beside the CPU's, of which there are none."""
    if list(devices):
        raise RuntimeError(f"there is no device {list(devices)[0]} beside the CPU")


def noop_context_fn() -> Contexts:
    """Two contexts that do nothing."""
    return contextlib.nullcontext(), contextlib.nullcontext()


def detach_variable(inputs: tuple) -> tuple:
    """The tensors of a tuple detached, each requiring gradients as before."""
    if not isinstance(inputs, tuple):
        raise RuntimeError("Only tuple of tensors is supported. Got Unsupported input type: "
                           f"{type(inputs).__name__}")
    return tuple([x.detach().requires_grad_(x.requires_grad)  # type: ignore[attr-defined]
                  if isinstance(x, Tensor) else x for x in inputs])


def check_backward_validity(inputs: Iterable[Any]) -> None:
    """Warn where no tensor among ``inputs`` requires gradients."""
    if not any(x.requires_grad for x in inputs if isinstance(x, Tensor)):
        warnings.warn("None of the inputs have requires_grad=True. Gradients will be None",
                      stacklevel=2)


class _Surroundings:
    """What a function may depend on beside its arguments: the random state, and autocast."""

    def __init__(self, preserve_rng_state: bool) -> None:
        self.rng = get_rng_state() if preserve_rng_state else None
        self.autocast: dict[str, Any] = {"enabled": autocast_state.is_autocast_enabled("cpu"),
                         "dtype": autocast_state.get_autocast_dtype("cpu"),
                         "cache_enabled": autocast_state.is_autocast_cache_enabled()}

    @contextlib.contextmanager
    def again(self) -> Iterator[None]:
        """All as it was; random numbers drawn in between are drawn aside."""
        with fork_rng(enabled=self.rng is not None), autocast("cpu", **self.autocast):
            if self.rng is not None:
                set_rng_state(self.rng)
            yield


class CheckpointFunction(Function):
    """The reentrant way: forward without recording, then all again, recorded, in backward."""

    @staticmethod
    def forward(ctx: Any, run_function: Callable, preserve_rng_state: bool, *args: Any) -> Any:
        """What ``run_function(*args)`` gives, with nothing saved but the arguments."""
        check_backward_validity(args)
        ctx.run_function = run_function
        ctx.surroundings = _Surroundings(preserve_rng_state)
        ctx.places = [n for n, x in enumerate(args) if isinstance(x, Tensor)]
        ctx.others = [None if isinstance(x, Tensor) else x for x in args]
        ctx.save_for_backward(*[args[n] for n in ctx.places])
        with no_grad():
            return run_function(*args)

    @staticmethod
    def backward(ctx: Any, *args: Any) -> Any:
        """Run the function again, and backward through it."""
        task = MODES.task
        if task is not None and (task.wanted is not None or not task.accumulate):
            raise RuntimeError(
                "When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad() or "
                "passing an `inputs` parameter to .backward(). To resolve this error, you can "
                "either set use_reentrant=False, or call .backward() without passing the `inputs` "
                "argument.")
        given = list(ctx.others)
        for n, t in zip(ctx.places, ctx.saved_tensors):
            given[n] = t
        inputs = detach_variable(tuple(given))
        with ctx.surroundings.again(), enable_grad():
            outputs = ctx.run_function(*inputs)
        if isinstance(outputs, Tensor):
            outputs = (outputs,)
        pairs = [(out, g) for out, g in zip(outputs, args)
                 if isinstance(out, Tensor) and out.requires_grad]
        if not pairs:
            raise RuntimeError("none of output has requires_grad=True, this checkpoint() is not "
                               "necessary")
        backward([out for out, _ in pairs], [g for _, g in pairs])
        return (None, None, *[x.grad if isinstance(x, Tensor) else None for x in inputs])


class _Place:
    """Stands in the graph for a tensor that was not kept: which one it was."""

    __slots__ = ("number", "__weakref__")

    def __init__(self, number: int) -> None:
        self.number = number


class CheckpointBackward(Node):
    """What an error names as the node that needed an argument unchanged."""


class _Stop(Exception):
    """All that is needed has been computed again."""


class _Frame:
    """One call of a checkpointed function: how to run it again, and what it saved."""

    def __init__(self, run: Callable[[], Any], early_stop: bool, describe: Callable,
                 debug: bool) -> None:
        self.run = run
        self.early_stop = early_stop
        self.describe = describe
        self.debug = debug
        self.places: list[weakref.ref] = []
        self.described: list[Any] = []
        self.log: list[str] = []
        self.complete = False
        # for each backward pass, the tensors by number that were not asked for yet
        self.found: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()

    def hooks(self) -> saved_tensors_hooks:
        """Hooks that note what is saved and compute it again when it is needed."""
        return saved_tensors_hooks(self._note, self._fetch)

    def _note(self, t: Tensor) -> _Place:
        place = _Place(len(self.places))
        self.places.append(weakref.ref(place))
        self.described.append(self.describe(t))
        if self.debug:
            self.log.append(_line(t))
        return place

    def _fetch(self, place: _Place) -> Tensor:
        group = _Settings.group or MODES.task or _Place(-1)
        found = self.found.get(group)
        if found is None:
            found = self.found[group] = self._compute()
        value = found.pop(place.number, None)
        if value is None:
            raise CheckpointError(_ONCE.format(_OVERLAP if _Settings.group else ""))
        return value

    def _compute(self) -> dict[int, Tensor]:
        """The saved tensors by number; raises CheckpointError where they are others now."""
        found: dict[int, Tensor] = {}
        described: list[Any] = []
        log: list[str] = []
        checked = True

        def keep(t: Tensor) -> Tensor:
            nonlocal checked
            t = t.detach() if t.requires_grad else t  # type: ignore[attr-defined]
            number = len(described)
            if number >= len(self.places):
                if self.complete:
                    raise self._error("trying to save more tensors during recomputation than "
                                      "during the original forward pass.", log)
                checked = False
                return t
            described.append(self.describe(t))
            if self.debug:
                log.append(_line(t))
            if self.places[number]() is not None:
                found[number] = t
            if self.early_stop and len(described) == len(self.places):
                raise _Stop
            return t

        with contextlib.suppress(_Stop), saved_tensors_hooks(keep, lambda t: t), enable_grad():
            self.run()
        if checked:
            self._check(described, log)
        return found

    def _check(self, described: list, log: list[str]) -> None:
        if len(described) != len(self.places):
            raise self._error("A different number of tensors was saved during the original "
                              "forward and recomputation.\nNumber of tensors saved during "
                              f"forward: {len(self.places)}\nNumber of tensors saved during "
                              f"recomputation: {len(described)}.", log)
        others = [f"tensor at position {n}:\nsaved metadata: {a}\nrecomputed metadata: {b}\n"
                  for n, (a, b) in enumerate(zip(self.described, described))
                  if a != b and self.places[n]() is not None]
        if others:
            raise self._error("Recomputed values for the following tensors have different "
                              f"metadata than during the forward pass.\n{''.join(others)}.", log)

    def _error(self, text: str, log: list[str]) -> CheckpointError:
        text = f"torch.utils.checkpoint: {text}"
        if not self.debug:
            return CheckpointError(f"{text}\n{_TIP}")
        lists = [f"{title}\n" + "\n".join([f"  {n}: {line}" for n, line in enumerate(lines)])
                 for title, lines in ((message("checkpoint_forward"), self.log),
                                      (message("checkpoint_again"), log))]
        return CheckpointError("\n\n".join([text, *lists]))


def _line(t: Tensor) -> str:
    """What was saved and the line of the program that made it so."""
    where = call_site(user_frame())
    at = f"  at line {where['line']} of {where['file']}:  {where['code']}" if where else ""
    return f"{str(t.dtype).split('.')[-1]}{list(t.shape)}{at}"


def _describe(t: Tensor) -> dict[str, Any]:
    return {"shape": t.shape, "dtype": t.dtype, "device": t.device}


_CHECKS: dict[str, Callable] = {"default": _describe, "none": lambda t: None}


def checkpoint(function: Callable, *args: Any, use_reentrant: bool | None = None,
               context_fn: Callable[[], Contexts] = noop_context_fn,
               determinism_check: str = "default", debug: bool = False,
               early_stop: bool = True, **kwargs: Any) -> Any:
    """``function(*args, **kwargs)``, of which backward keeps the arguments alone.

    What it would have saved is computed again during backward: with the random numbers of the
    first time unless ``preserve_rng_state`` is False, and within autocast as it was. With
    ``use_reentrant`` False that happens when backward needs the first of it, and ends with the
    last (unless ``early_stop`` is False); shapes and dtypes are compared (``determinism_check``
    "none" does not); ``context_fn`` gives a context for each of the two runs; ``debug`` lists what
    was saved, and where, in the error. With True the function runs unrecorded first and
    recorded in backward; it takes no keywords, and ``grad`` does not go through it.

    >>> import flambeau as torch
    >>> x = torch.ones(2, requires_grad=True)
    >>> y = torch.utils.checkpoint.checkpoint(torch.exp, x, use_reentrant=False)
    >>> y.sum().backward()
    >>> x.grad
    tensor([2.7183, 2.7183])
    """
    if use_reentrant is None:
        warnings.warn(_EXPLICIT.format("torch.utils.checkpoint", "Starting in PyTorch 2.9, calling "
                                       "checkpoint without use_reentrant will raise an exception."),
                      stacklevel=2)
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if use_reentrant:
        if kwargs:
            raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
        if context_fn is not noop_context_fn or debug is not False:
            raise ValueError("Passing `context_fn` or `debug` is only supported when "
                             "use_reentrant=False.")
        return CheckpointFunction.apply(function, preserve, *args)
    debug = debug if _Settings.debug is None else _Settings.debug
    if debug and context_fn is not noop_context_fn:
        raise ValueError("debug=True is incompatible with non-default context_fn")
    if determinism_check not in _CHECKS:
        raise ValueError(f"determinism_check should be one of {list(_CHECKS)}, but got "
                         f"{determinism_check}")
    first, again = context_fn()
    if not MODES.grad:
        with first:
            return function(*args, **kwargs)
    surroundings = _Surroundings(preserve)
    check_arguments = _unchanged((*args, *kwargs.values()))

    def run() -> None:
        check_arguments()
        with surroundings.again(), again:
            function(*args, **kwargs)

    stop = early_stop if _Settings.early_stop is None else _Settings.early_stop
    frame = _Frame(run, stop, _CHECKS[determinism_check], debug)
    with frame.hooks(), first:
        result = function(*args, **kwargs)
    frame.complete = True
    return result


def _unchanged(values: Sequence[Any]) -> Callable[[], None]:
    """A function that raises where a tensor among ``values`` was changed since."""
    versions = [(t, t._version) for t in values
                if isinstance(t, Tensor) and not t.is_inference()]

    def check() -> None:
        for t, before in versions:
            if t._version != before:
                raise changed_in_place(t, CheckpointBackward(), t._version, before)

    return check


def checkpoint_sequential(functions: Any, segments: int, input: Any,
                          use_reentrant: bool | None = None, **kwargs: Any) -> Any:
    """A chain of functions (or a ``Sequential``) cut into segments, all but the last checkpointed.

    >>> import flambeau as torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
    >>> torch.utils.checkpoint.checkpoint_sequential(net, 2, torch.ones(1, 2),
    ...                                              use_reentrant=False).shape
    torch.Size([1, 1])
    """
    if use_reentrant is None:
        warnings.warn(_EXPLICIT.format("torch.utils.checkpoint.checkpoint_sequential",
                                       "In version 2.9 we will raise an exception if use_reentrant "
                                       "is not passed."), stacklevel=2)
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    chain = list(functions.children() if hasattr(functions, "children") else functions)
    size = len(chain) // segments
    start = 0
    for start in range(size, size * segments, size):
        input = checkpoint(_in_turn(chain[start - size:start]), input, use_reentrant=use_reentrant,
                           preserve_rng_state=preserve)
    return _in_turn(chain[start:])(input)


def _in_turn(functions: Sequence[Callable]) -> Callable:
    def run(input: Any) -> Any:
        for function in functions:
            input = function(input)
        return input

    return run


def __getattr__(name: str) -> Any:
    raise missing_attribute(__name__, name, globals())
