"""Messages between a loader and a worker: pickled objects over a socket, arrays beside them.

A result travels as a head, a table of its arrays, the bytes of the small ones, and a pickle that
refers to them by number. Large ones lie in shared segments, whose descriptors go along once.
"""

from __future__ import annotations

import contextlib
import copyreg
import io
import os
import pickle
import socket
import struct
from array import array
from collections import deque
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np

from flambeau.base.dtypes import BY_NAME, FROM_NUMPY
from flambeau.core.node import LEAF
from flambeau.core.tensor import Tensor, new_tensor
from flambeau.utils.data._utils.leases import Incoming, Outgoing

__all__ = ["LoaderEnd", "WorkerEnd"]

LENGTH = struct.Struct("<Q")
# Bytes of the pickle, bytes of arrays sent along, arrays, new segments.
HEAD = struct.Struct("<QQII")
# The segment's number (-1: sent along), the first byte in it, bytes.
ENTRY = struct.Struct("<qQQ")
# A new segment's number and size.
SEGMENT = struct.Struct("<QQ")
ALIGNMENT = 64
CHUNK = 1 << 16
# What the kernel passes on in one message, at most; and the pieces that one call may have.
MOST_FDS = 253
MOST_PIECES = 512
TOO_MANY_FILES = (
    "Too many open files. Communication with the workers is no longer possible. Please increase "
    "the limit using `ulimit -n` in the shell or change the sharing strategy by calling "
    "`torch.multiprocessing.set_sharing_strategy('file_system')` at the beginning of your code")


def _rebuild_tensor(memory: Any, name: str, shape: tuple, strides: tuple | None,
                    requires_grad: bool) -> Tensor:
    t = new_tensor(Tensor)
    t._a = np.ndarray(shape, BY_NAME[name].np, memory, 0, strides)
    t._node = LEAF if requires_grad else None
    t._v = None
    t._x = None
    return t


def _reduce_tensor(t: Tensor) -> Any:
    """Dtype, shape and strides of a tensor, and its memory as a buffer to be sent beside."""
    a: Any = t._a
    if type(a) is not np.ndarray or t._node is not None and t._node is not LEAF:
        return t.__reduce_ex__(5)  # says why this cannot be
    memory, strides = (a, None) if a.flags.c_contiguous else _packed(a)
    flat: Any = memory.reshape(-1).view(np.uint8) if memory.size else np.empty(0, np.uint8)
    return _rebuild_tensor, (pickle.PickleBuffer(flat), FROM_NUMPY[a.dtype].name, a.shape, strides,
                             t._node is LEAF)


def _packed(a: np.ndarray) -> tuple[np.ndarray, tuple]:
    """The elements of ``a`` without gaps, in the order of memory, and its strides over it."""
    # Dimensions that repeat elements are cut to one.
    core = a[tuple([slice(0, 1) if n > 1 and s == 0 else slice(None)
                    for n, s in zip(a.shape, a.strides)])]
    order = sorted(range(a.ndim), key=lambda d: -abs(core.strides[d]))
    memory = np.ascontiguousarray(core.transpose(order))
    back = np.argsort(order)
    return memory, tuple([s and memory.strides[b] for b, s in zip(back, a.strides)])


def _dispatch_table() -> dict:
    shared: dict = ForkingPickler._extra_reducers  # type: ignore[attr-defined]
    return {**copyreg.dispatch_table, **shared, Tensor: _reduce_tensor}


class WorkerEnd:
    """The worker's end: it receives tasks and sends results."""

    def __init__(self, sock: socket.socket, outgoing: Outgoing, inline: int) -> None:
        self.sock = sock
        self.outgoing = outgoing
        self.inline = inline
        self._table = _dispatch_table()
        self._stash = bytearray()

    def receive(self) -> Any:
        """The next task; TimeoutError where none comes for the socket's timeout, else EOFError."""
        while True:
            end = self._end_of_first()
            if end:
                task = pickle.loads(memoryview(self._stash)[LENGTH.size:end])
                del self._stash[:end]
                return task
            read = self.sock.recv(CHUNK)
            if not read:
                raise EOFError
            self._stash += read

    def _end_of_first(self) -> int:
        if len(self._stash) < LENGTH.size:
            return 0
        end = LENGTH.size + LENGTH.unpack_from(self._stash)[0]
        return end if len(self._stash) >= end else 0

    def pack(self, result: Any) -> tuple[list, list]:
        """The pieces of a message, and the segments that the loader does not know yet."""
        buffers: list[np.ndarray] = []
        file = io.BytesIO()
        pickler = pickle.Pickler(
            file, 5, buffer_callback=lambda buffer: buffers.append(_flat(buffer)))
        pickler.dispatch_table = self._table
        pickler.dump((result, self.outgoing.dropped))
        text = file.getbuffer()
        entries, sent, fresh = self._place(buffers)
        self.outgoing.dropped = []
        head = HEAD.pack(len(text), sum(len(piece) for piece in sent), len(buffers), len(fresh))
        known = b"".join([SEGMENT.pack(held.number, held.memory.size) for held in fresh])
        # The arrays come first: so they are aligned.
        return [head + known + b"".join(entries), *sent, text], fresh

    def send(self, result: Any, alive: Callable[[], bool]) -> None:
        """Send a result; EOFError where the loader is gone, which ``alive`` says."""
        pieces, fresh = self.pack(result)
        views = [memoryview(piece) for piece in pieces if len(piece)]
        while views:
            part = views[:MOST_PIECES]
            try:
                sent = self._send_some(part, fresh)
            except TimeoutError:
                if not alive():
                    raise EOFError from None
                continue
            fresh = []
            while views and sent >= len(views[0]):
                sent -= len(views.pop(0))
            if sent:
                views[0] = views[0][sent:]

    def _send_some(self, views: list[memoryview], fresh: list) -> int:
        if not fresh:
            return self.sock.sendmsg(views) if hasattr(self.sock, "sendmsg") else \
                self.sock.send(views[0])
        fds = array("i", [held.segment.fd for held in fresh])
        sent = self.sock.sendmsg(views, [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        for held in fresh:
            self.outgoing.sent(held)
        return sent

    def _place(self, buffers: list[np.ndarray]) -> tuple[list, list, list]:
        """Where each buffer goes: table entries, bytes to send along, segments not yet known."""
        places: list[Any] = [self.outgoing.find(b) for b in buffers]
        loose = [at for at, place in enumerate(places) if place is None]
        total = sum([_aligned(len(buffers[at])) for at in loose])
        entries: list[bytes] = []
        sent: list[Any] = []
        used: dict[int, Any] = {}
        if total > self.inline and self.outgoing.enabled:
            arena, start = self.outgoing.take(total), 0
            for at in loose:
                n = len(buffers[at])
                arena.memory[start:start + n] = buffers[at]
                places[at] = arena, start
                start += _aligned(n)
        offset = 0
        for place, b in zip(places, buffers):
            n = len(b)
            if place is None:
                entries.append(ENTRY.pack(-1, offset, n))
                sent.append(b)
                if n % ALIGNMENT:
                    sent.append(bytes(-n % ALIGNMENT))
                offset += _aligned(n)
            else:
                held, start = place
                used[held.number] = held
                entries.append(ENTRY.pack(held.number, start, n))
        for held in used.values():
            self.outgoing.lease(held)
        return entries, sent, [held for held in used.values() if held.fresh]



class LoaderEnd:
    """The loader's end: it sends tasks, and receives results without ever waiting."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.incoming = Incoming()
        self.unsent = bytearray()
        self._results: deque[tuple] = deque()
        self._fds: deque[int] = deque()
        self._stash = bytearray(CHUNK)
        self._have = 0
        # The message that is longer than the stash: its table, its memory, how much is there.
        self._long: Any = None

    def send(self, task: Any) -> None:
        """Queue a task, and send as much as the socket takes."""
        text = pickle.dumps(task, 5)
        self.unsent += LENGTH.pack(len(text)) + text
        self.flush()

    def flush(self) -> None:
        """Send what is still queued, as far as the socket takes it."""
        try:
            while self.unsent:
                del self.unsent[:self.sock.send(self.unsent)]
        except BlockingIOError:
            pass
        except OSError:
            # The worker is gone; reading from it says so.
            self.unsent.clear()

    def take(self) -> tuple | None:
        """The next result, alone in a tuple; None where none has arrived. EOFError at the end."""
        if not self._results:
            self.read()
        return (self._decode(*self._results.popleft()),) if self._results else None

    def read(self) -> None:
        """Take in what has arrived; EOFError where the worker has closed its end."""
        while True:
            place, start = (self._long[1:] if self._long else (self._stash, self._have))
            try:
                with memoryview(place) as whole, whole[start:] as room:
                    read = self._read_into(room)
            except BlockingIOError:
                return
            except ConnectionError:
                read = 0
            if not read:
                if self._results:
                    return
                raise EOFError
            if self._long is None:
                self._have += read
                self._split()
            else:
                self._long[2] += read
                if self._long[2] == len(self._long[1]):
                    self._results.append((self._long[0], self._long[1]))
                    self._long = None

    def _read_into(self, room: memoryview) -> int:
        if not hasattr(socket, "SCM_RIGHTS"):
            return self.sock.recv_into(room)
        read, extra, flags, _ = self.sock.recvmsg_into([room], socket.CMSG_SPACE(4 * MOST_FDS),
                                                       getattr(socket, "MSG_CMSG_CLOEXEC", 0))
        for _, kind, data in extra:
            if kind == socket.SCM_RIGHTS:
                fds = array("i")
                fds.frombytes(data[:len(data) - len(data) % fds.itemsize])
                self._fds.extend(fds)
        if flags & socket.MSG_CTRUNC:
            raise RuntimeError(TOO_MANY_FILES)
        return read

    def _split(self) -> None:
        """Take the messages out of the stash; of a long one the rest is read into its place."""
        start = 0
        while self._have - start >= HEAD.size:
            text, sent, arrays, segments = HEAD.unpack_from(self._stash, start)
            body = start + HEAD.size + segments * SEGMENT.size + arrays * ENTRY.size
            if body > self._have:
                if body - start > len(self._stash):
                    self._stash += bytes(body - start - len(self._stash))
                break
            head = (sent, bytes(memoryview(self._stash)[start:body]))
            self._attach(segments, head[1])
            end = body + text + sent
            if end > self._have:
                memory: Any = np.empty(text + sent, np.uint8)
                filled = self._have - body
                memoryview(memory)[:filled] = memoryview(self._stash)[body:self._have]
                self._long = [head, memory, filled]
                start = self._have
                break
            self._results.append((head, bytearray(memoryview(self._stash)[body:end])))
            start = end
        rest = self._have - start
        if rest and start:
            self._stash[:rest] = self._stash[start:self._have]
        self._have = rest

    def _attach(self, segments: int, table: bytes) -> None:
        for at in range(segments):
            number, size = SEGMENT.unpack_from(table, HEAD.size + at * SEGMENT.size)
            self.incoming.attach(number, size, self._fds.popleft())

    def _decode(self, head: tuple, body: Any) -> Any:
        sent, table = head
        _, _, arrays, segments = HEAD.unpack_from(table)
        at = HEAD.size + segments * SEGMENT.size
        view = memoryview(body)
        leases: dict[int, np.ndarray] = {}
        buffers: list[Any] = []
        for number, start, n in ENTRY.iter_unpack(table[at:at + arrays * ENTRY.size]):
            if number < 0:
                buffers.append(view[start:start + n])
                continue
            if number not in leases:
                leases[number] = self.incoming.lease(number)
            buffers.append(leases[number][start:start + n])
        result, dropped = pickle.loads(view[sent:], buffers=buffers)
        self.incoming.drop(dropped)
        return result

    def close(self) -> None:
        """Let the worker know that nothing more comes, and nothing more is read."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        while self._fds:
            os.close(self._fds.popleft())


def _flat(buffer: pickle.PickleBuffer) -> np.ndarray:
    """The bytes of a buffer; where it is over an array, as a view that still leads to it."""
    raw = buffer.raw()
    if isinstance(raw.obj, np.ndarray) and raw.obj.dtype == np.uint8 and raw.obj.ndim == 1:
        return raw.obj
    return np.frombuffer(raw, np.uint8)


def _aligned(n: int) -> int:
    return -(-n // ALIGNMENT) * ALIGNMENT
