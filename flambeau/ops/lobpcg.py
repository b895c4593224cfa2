"""A few extreme eigenpairs of large symmetric matrices, by locally optimal block iterations.

A. V. Knyazev, SIAM J. Sci. Comput. 23 (2001) 517: the method ("basic"). A. Stathopoulos, K. Wu,
SIAM J. Sci. Comput. 23 (2002) 2165, and J. A. Duersch and others, SIAM J. Sci. Comput. 40 (2018)
C655: a robust choice of the basis ("ortho").
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from flambeau.base import dtypes
from flambeau.core.dispatch import apply
from flambeau.core.face import FACES, public
from flambeau.core.kinds import opaque
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.cholesky import cholesky
from flambeau.ops.eigen import eigh, gaps, off_diagonal, scaled_diagonal, wanted
from flambeau.ops.linalg import adjoint_of, solve
from flambeau.ops.matmul import matmul
from flambeau.ops.qr import qr
from flambeau.ops.random import randn
from flambeau.ops.solvers import solve_triangular

__all__ = ["LOBPCG", "lobpcg"]

EPS = {dtypes.float32: 1.2e-07, dtypes.float64: 2.23e-16}


def _times(A: Any, S: Any) -> Any:
    """A S; S where A stands for the identity."""
    return S if A is None else A @ S


def _form(A: Any, S: Any) -> Any:
    return matmul(S.mT, _times(A, S))


def _size(t: Any) -> float:
    return float(FACES["torch"]["norm"](t))


def _pairs(A: Any, largest: bool = False) -> tuple[Any, Any]:
    """Eigenvalues and eigenvectors, rising, or falling where the ``largest`` are wanted."""
    values, vectors = eigh(A, UPLO="U")
    return (values.flip(-1), vectors.flip(-1)) if largest else (values, vectors)


class LOBPCG:
    """The state of an iteration, as a tracker sees it.

    ``E``, ``X`` and ``R`` are the eigenvalues, the eigenvectors and the residuals so far; ``S`` the
    basis to search next. ``ivars`` counts steps ("istep") and converged pairs
    ("converged_count"); ``tvars["rerr"]`` has the relative residuals. A tracker that sets
    ``bvars["force_stop"]`` ends the iteration.
    """

    def __init__(self, A: Any, B: Any, X: Any, iK: Any, iparams: dict[str, int],
                 fparams: dict[str, float], bparams: dict[str, bool], method: str,
                 tracker: Callable | None) -> None:
        self.A, self.B, self.iK, self.X = A, B, iK, X
        self.iparams, self.fparams, self.bparams = iparams, fparams, bparams
        self.method, self.tracker = method, tracker
        m, n = iparams["m"], iparams["n"]
        held = X._a.dtype
        self.E: Any = wrap(np.zeros(n, held))
        self.R: Any = wrap(np.zeros((m, n), held))
        self.S: Any = wrap(np.zeros((m, 3 * n), held))
        self.tvars: dict[str, Any] = {}
        self.ivars: dict[str, int] = {"istep": 0}
        self.fvars: dict[str, float] = {}
        self.bvars: dict[str, bool] = {}

    def run(self) -> None:
        """Iterate until enough pairs have converged, no step is left, or it is told to stop."""
        self._start()
        while True:
            self.update()
            if self.tracker is not None:
                self.tracker(self)
            if self.stop_iteration():
                return

    def _start(self) -> None:
        size = _size(self.X)
        self.fvars.update(X_norm=size, A_norm=_size(_times(self.A, self.X)) / size,
                          B_norm=_size(_times(self.B, self.X)) / size)
        self.ivars.update(iterations_left=self.iparams["niter"], converged_count=0,
                          converged_end=0)

    def stop_iteration(self) -> bool:
        """Whether this was the last step."""
        return (self.bvars.get("force_stop", False) or self.ivars["iterations_left"] == 0
                or self.ivars["converged_count"] >= self.iparams["k"])

    def update(self) -> None:
        """One step."""
        step = self._step_ortho if self.method == "ortho" else self._step_basic
        step(self.ivars["istep"] == 0)
        self.ivars["iterations_left"] -= 1
        self.ivars["istep"] += 1

    def update_residual(self) -> None:
        """R = A X - B X diag(E)."""
        self.R = _times(self.A, self.X) - _times(self.B, self.X) * self.E

    def update_converged_count(self) -> int:
        """Count the leading pairs whose backward error is within the tolerance."""
        norm = FACES["torch"]["norm"]
        bound = self.fvars["A_norm"] + self.E[:self.X.shape[-1]].abs() * self.fvars["B_norm"]
        error = norm(self.R, 2, (0,)) / (norm(self.X, 2, (0,)) * bound)
        within = (error < self.fparams["tol"]).tolist()
        count = within.index(False) if False in within else len(within)
        before = self.ivars["converged_count"]
        if count < before:
            raise AssertionError(f"the number of converged eigenpairs (was {before}, got {count}) "
                                 "cannot decrease")
        self.ivars["converged_count"] = count
        self.tvars["rerr"] = error
        return count

    def _extend(self, P: Any, W: Any) -> None:
        """The next basis: the vectors, the directions they moved in, the new residuals."""
        n = self.iparams["n"]
        moved = n + (0 if P is None else P.shape[-1])
        self.S[:, :n] = self.X
        if P is not None:
            self.S[:, n:moved] = P
        self.ivars["converged_end"] = moved + W.shape[-1]
        self.S[:, moved:moved + W.shape[-1]] = W

    def _step_basic(self, first: bool) -> None:
        n, done = self.iparams["n"], self.ivars["converged_count"]
        S = self.X if first else self.S[:, done:self.ivars["converged_end"]]
        change = self._transform(S)
        values, vectors = _pairs(_form(_form(self.A, S), change),
                                 self.bparams["largest"])
        P = None
        if first:
            self.X[:] = matmul(self.X, matmul(change, vectors))
            self.E[:] = values
        else:
            self.X[:, done:] = matmul(S, matmul(change, vectors[:, :n - done]))
            self.E[done:] = values[:n - done]
            P = matmul(S, matmul(change, vectors[:, n:2 * n - done]))
        self.update_residual()
        done = self.update_converged_count()
        self._extend(P, _times(self.iK, self.R if first else self.R[:, done:]))

    def _step_ortho(self, first: bool) -> None:
        n, done = self.iparams["n"], self.ivars["converged_count"]
        largest = self.bparams["largest"]
        if first:
            change = self._transform(self.X)
            _, vectors = _pairs(_form(_form(self.A, self.X), change), largest)
            self.X = matmul(self.X, matmul(change, vectors))
            self.update_residual()
            self.update_converged_count()
            self._extend(None, self._apart(self.R, self.X))
            return
        S = self.S[:, done:self.ivars["converged_end"]]
        values, Z = _pairs(_form(self.A, S), largest)
        keep = n - done
        self.X[:, done:] = matmul(S, Z[:, :keep])
        self.E[done:] = values[:keep]
        P = matmul(S, matmul(Z[:, keep:], qr(Z[:keep, keep:].mT).Q))
        self.update_residual()
        done = self.update_converged_count()
        basis = FACES["torch"]["cat"]([self.X, P], -1)
        self._extend(P, self._apart(self.R[:, done:], basis))

    def _transform(self, S: Any) -> Any:
        """C with S C orthonormal with respect to B: the Rayleigh-Ritz change of basis."""
        gram = _form(self.B, S)
        scale = gram.diagonal() ** -0.5
        factor = cholesky(gram * scale * scale.unsqueeze(-1), upper=True)
        return solve_triangular(factor, scale.diag_embed(), upper=True, left=False)

    def _orthonormal(self, U: Any, drop: bool, tau: float) -> Any:
        """The columns of U made orthonormal with respect to B, by eigenvectors of their products.

        Eigenvalues below ``tau`` times the greatest are dropped, or raised to that.
        """
        if not U.numel():
            return U
        gram = _form(self.B, U)
        nonzero = gram.diagonal() != 0
        if not nonzero.all():
            U = U[:, nonzero]
            if not U.numel():
                return U
            gram = _form(self.B, U)
        scale = gram.diagonal() ** -0.5
        values, Z = _pairs(gram * scale * scale.unsqueeze(-1))
        least = tau * values.abs().max()
        if drop:
            kept = values > least
            values, Z = values[kept], Z[:, kept]
        else:
            values = values.clamp(min=least.item())
        return matmul(U * scale, Z * values ** -0.5)

    def _apart(self, U: Any, V: Any) -> Any:
        """The columns of U made orthonormal, and orthogonal to those of V, with respect to B."""
        limits, use_drop = self.fparams, self.bparams["ortho_use_drop"]
        size_v = _size(_times(self.B, V))
        shared = matmul(V.mT, _times(self.B, U))
        for _ in range(self.iparams["ortho_i_max"]):
            U = U - matmul(V, shared)
            for j in range(self.iparams["ortho_j_max"]):
                tau = limits["ortho_tol_replace" if j or not use_drop else "ortho_tol_drop"]
                U = self._orthonormal(U, use_drop and j > 0, tau)
                if not U.numel():
                    return U
                image = _times(self.B, U)
                product = matmul(U.mT, image)
                off = product - wrap(np.eye(product.shape[-1], dtype=product._a.dtype))
                if _size(off) / (_size(image) * _size(U)) < limits["ortho_tol"]:
                    break
            shared = matmul(V.mT, image)
            if _size(shared) / (size_v * _size(U)) < limits["ortho_tol"]:
                break
            if self.iparams["m"] < U.shape[-1] + V.shape[-1]:
                raise ValueError(f"Overdetermined shape of U: #B-cols(={self.iparams['m']}) >= "
                                 f"#U-cols(={U.shape[-1]}) + #V-cols(={V.shape[-1]}) must hold")
        return U


def _settings(A: Any, given: dict[str, Any], m: int, n: int, k: int) -> tuple[dict, dict, dict]:
    """The parameters of an iteration, in dictionaries of integers, floats and flags."""
    tol = given["tol"]
    if tol is None:
        held = A.dtype if A.dtype in (dtypes.float16, *EPS) else dtypes.float32
        tol = EPS[held] ** 0.5
    niter, largest = given["niter"], given["largest"]
    whole: dict = {"m": m, "n": n, "k": k, "niter": 1000 if niter is None else niter}
    real: dict = {"tol": tol}
    flags: dict = {"largest": True if largest is None else largest}
    if given["method"] == "ortho":
        whole.update(ortho_i_max=3, ortho_j_max=3)
        real.update(ortho_tol=tol, ortho_tol_drop=tol, ortho_tol_replace=tol)
        flags.update(ortho_use_drop=False)
        for kept, more in zip((whole, real, flags), given["ortho"]):
            kept.update(more or {})
    return whole, real, flags


def _solved(A: Any, B: Any, X: Any, iK: Any, given: dict[str, Any]) -> tuple[Any, Any]:
    """The pairs of one matrix, or of each of a batch."""
    m, batch = A.shape[-1], tuple(A.shape[:-2])
    k, n = given["k"], given["n"]
    settings = _settings(A, given, m, n, k)
    held = A.dtype if A.dtype.category >= dtypes.FLOAT else dtypes.float32
    count = prod(batch)
    values, vectors = [], []
    for at in range(count):
        one = [t if t is None or not batch else t.reshape(count, *t.shape[-2:])[at]
               for t in (A, B, X)]
        start = randn(m, n, dtype=held) if X is None else one[2]
        if tuple(start.shape) != (m, n):
            raise AssertionError(f"X shape mismatch: got {start.shape}, expected {(m, n)}")
        if batch:
            settings[0]["batch_index"] = at
        worker = LOBPCG(one[0], one[1], start, iK, *settings, given["method"], given["tracker"])
        worker.run()
        values.append(worker.E[:k])
        vectors.append(worker.X[:, :k])
    if not batch:
        return values[0], vectors[0]
    stack = FACES["torch"]["stack"]
    return stack(values).reshape(*batch, k), stack(vectors).reshape(*batch, m, k)


def _forward(a: Any, b: Any, x: Any, ik: Any, given: dict[str, Any]) -> tuple:
    A, B, X, iK = (None if t is None else wrap(t) for t in (a, b, x, ik))
    found = _solved(A, B, X, iK, given)
    return found[0]._a, found[1]._a


def _grad(g: Any, A: Any, B: Any, out: Any) -> list:
    if A._a.dtype.kind == "c" or B is not None and B._a.dtype.kind == "c":
        raise ValueError("lobpcg.backward does not support complex input yet. Note that "
                         "lobpcg.forward does though.")
    if B is not None:
        raise ValueError("lobpcg.backward does not support backward with B != I yet.")
    values, U = out
    m, k = U._a.shape[-2:]
    back = adjoint_of(U)
    inside = matmul(back, g[1])
    inner = scaled_diagonal(g[0]) + inside / gaps(values) * off_diagonal(k)
    found = matmul(U, matmul(inner, back))
    if m == k:
        return [found, None, None, None]
    # Each vector also turns towards what is orthogonal to all of them.
    projector = matmul(U, back)
    eye = wrap(np.eye(m, dtype=np.dtype(U._a.dtype.type)))
    shifted = eye * values.unsqueeze(-1).unsqueeze(-1)  # (..., k, m, m)
    whole = shifted - (A - projector).unsqueeze(-3)
    rest = (g[1] - matmul(U, inside)).mT
    turned = solve(whole, rest.unsqueeze(-1)).squeeze(-1).mT
    turned = turned - matmul(projector, turned)
    return [found + matmul(turned, back), None, None, None]


OP = opaque("lobpcg", _forward, inputs=("A", "B", "X", "iK"), joint=_grad, multiple=True,
            params=("given",))
OP.node_name = "LOBPCGAutogradFunctionBackward"


@public("torch")
def lobpcg(A: Tensor, k: int | None = None, B: Tensor | None = None, X: Tensor | None = None,
           n: int | None = None, iK: Tensor | None = None, niter: int | None = None,
           tol: float | None = None, largest: bool | None = None, method: str | None = None,
           tracker: Callable | None = None, ortho_iparams: dict[str, int] | None = None,
           ortho_fparams: dict[str, float] | None = None,
           ortho_bparams: dict[str, bool] | None = None) -> tuple[Tensor, Tensor]:
    """The ``k`` largest (or smallest) e, and the x, with A x = e B x, of symmetric A.

    ``A`` and ``B`` (the identity) are (*, m, m), ``X``, the first guess, is (*, m, n): random, with
    n = k, where it is not given; m must be at least 3 n. ``iK`` is a preconditioner. At most
    ``niter`` steps (1000; -1: no limit) until the relative residuals fall below ``tol``.
    ``tracker(state)`` is called after each step. A gradient is there for dense real A, and no B.

    >>> import flambeau as torch
    >>> A = torch.diag(torch.arange(1., 10.))
    >>> E, X = torch.lobpcg(A, k=2)
    >>> torch.allclose(E, torch.tensor([9., 8.]), atol=1e-4)
    True
    """
    if A.shape[-2] != A.shape[-1]:
        raise AssertionError(f"A must be square, got shape {A.shape}")
    if B is not None and A.shape != B.shape:
        raise AssertionError(f"A and B must have same shape, got {A.shape} vs {B.shape}")
    k = (1 if X is None else X.shape[-1]) if k is None else k
    n = (k if n is None else n) if X is None else X.shape[-1]
    if A.shape[-1] < 3 * n:
        raise ValueError(f"LOBPCG algorithm is not applicable when the number of A rows "
                         f"(={A.shape[-1]}) is smaller than 3 x the number of requested "
                         f"eigenpairs (={n})")
    given = {"k": k, "n": n, "niter": niter, "tol": tol, "largest": largest,
             "method": "ortho" if method is None else method, "tracker": tracker,
             "ortho": (ortho_iparams, ortho_fparams, ortho_bparams)}
    if any(t is not None and t.is_sparse for t in (A, B, iK)):  # type: ignore[attr-defined]
        return _solved(A, B, X, iK, given)
    pair: list[Any] = [A, B]
    if any(t is not None and wanted(t) for t in pair):
        # The gradient is not symmetric where A is not made so.
        pair = [None if t is None else (t + t.mT) / 2 for t in pair]
    return apply(OP, (*pair, X, iK), {"given": given})
