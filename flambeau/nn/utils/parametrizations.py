"""Ready-made parametrizations: orthogonal matrices, weight and spectral normalisation."""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

from flambeau.autograd.modes import no_grad
from flambeau.base.limits import finfo
from flambeau.core.face import FACES
from flambeau.core.tensor import Tensor
from flambeau.nn.modules.module import Module
from flambeau.nn.utils import parametrize
from flambeau.nn.utils.spectral_norm import default_dim
from flambeau.ops.join import cat
from flambeau.ops.weight_norm import norm_except_dim
from flambeau.ops.weight_norm import weight_norm as product

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]

torch, linalg = FACES["torch"], FACES["linalg"]
normalize = FACES["nn.functional"]["normalize"]


def _identity(like: Tensor, size: int) -> Tensor:
    return torch["eye"](size, dtype=like.dtype)


def _is_orthogonal(q: Tensor) -> bool:
    """Whether the columns are orthonormal up to rounding."""
    rows, columns = q.shape[-2:]
    eps = 10.0 * rows * finfo(q.dtype).eps
    return bool((q.mH @ q).allclose(_identity(q, columns).expand_as(q.mH @ q), atol=eps))


def _nearest_q(a: Tensor) -> Tensor:
    """The Q of a QR decomposition whose R has a positive diagonal."""
    packed, tau = torch["geqrf"](a)
    q = linalg["householder_product"](packed, tau)
    return q * packed.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


class _OrthMaps(Enum):
    matrix_exp = auto()
    cayley = auto()
    householder = auto()


class _Orthogonal(Module):
    """A matrix with orthonormal columns (or rows, if there are fewer), from any matrix.

    With trivialization the map starts from the orthogonal matrix ``base``
    (Lezcano-Casado, NeurIPS 2019), so that any orthogonal matrix can be assigned.
    """

    base: Any

    def __init__(self, weight: Tensor, orthogonal_map: _OrthMaps, *,
                 use_trivialization: bool = True) -> None:
        super().__init__()
        if weight.is_complex() and orthogonal_map == _OrthMaps.householder:
            raise ValueError("The householder parametrization does not support complex tensors.")
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, x: Tensor) -> Tensor:
        """The orthogonal matrix."""
        wide = x.size(-2) < x.size(-1)
        if wide:
            x = x.mT
        q = _by_reflections(x) if self.orthogonal_map == _OrthMaps.householder else (
            _by_skew_map(x, self.orthogonal_map))
        if hasattr(self, "base"):
            q = self.base @ q
        return q.mT if wide else q

    @no_grad()
    def right_inverse(self, q: Tensor) -> Tensor:
        """A matrix that forward maps to ``q``; ValueError for another shape."""
        if q.shape != self.shape:
            raise ValueError(f"Expected a matrix or batch of matrices of shape {self.shape}. Got a "
                             f"tensor of shape {q.shape}.")
        start = q
        wide = q.size(-2) < q.size(-1)
        if wide:
            q = q.mT
        if not hasattr(self, "base"):
            if self.orthogonal_map != _OrthMaps.householder:
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential or the Cayley "
                    "parametrizations when use_trivialization=False.")
            a, tau = torch["geqrf"](q)
            signs = a.diagonal(dim1=-2, dim2=-1)
            signs.sign_()
            signs[tau == 0.0] *= -1
            return a.mT if wide else a
        self.base = _completed(q)
        found = start.new_zeros(start.shape)
        found.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
        return found


def _by_skew_map(x: Tensor, kind: _OrthMaps) -> Tensor:
    """The first columns of the orthogonal matrix that a skew one is mapped to."""
    n, k = x.shape[-2:]
    a = x.tril()
    if n != k:
        a = cat([a, a.new_zeros(n, n - k).expand(*a.shape[:-2], -1, -1)], dim=-1)
    a = a - a.mH
    if kind == _OrthMaps.matrix_exp:
        q = torch["matrix_exp"](a)
    else:
        one = _identity(a, n)
        q = linalg["solve"](one.add(a, alpha=-0.5), one.add(a, alpha=0.5))
    return q if n == k else q[..., :k]


def _by_reflections(x: Tensor) -> Tensor:
    a = x.tril(diagonal=-1)
    tau = 2.0 / (1.0 + (a * a).sum(dim=-2))
    q = linalg["householder_product"](a, tau)
    return q * x.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)


def _completed(q: Tensor) -> Tensor:
    """A square orthogonal matrix that begins with ``q``, or with its nearest orthogonal one."""
    n, k = q.shape[-2:]
    if n == k:
        return q.clone() if _is_orthogonal(q) else _nearest_q(q)
    rest = torch["randn"](*q.shape[:-2], n, n - k, dtype=q.dtype)
    return _nearest_q(cat([q, rest], dim=-1))


def orthogonal(module: Any, name: str = "weight", orthogonal_map: str | None = None, *,
               use_trivialization: bool = True) -> Any:
    """Keep the parameter ``name`` an orthogonal (or unitary) matrix; returns ``module``.

    The map is "matrix_exp" (the default for square or complex ones), "cayley" or "householder".
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if weight.ndim < 2:
        raise ValueError("Expected a matrix or batch of matrices. Got a tensor of "
                         f"{weight.ndim} dimensions.")
    if orthogonal_map is None:
        square = weight.size(-2) == weight.size(-1)
        orthogonal_map = "matrix_exp" if square or weight.is_complex() else "householder"
    found = getattr(_OrthMaps, orthogonal_map, None)
    if found is None:
        raise ValueError('orthogonal_map has to be one of "matrix_exp", "cayley", "householder". '
                         f"Got: {orthogonal_map}")
    orth = _Orthogonal(weight, found, use_trivialization=use_trivialization)
    return parametrize.register_parametrization(module, name, orth, unsafe=True)


class _WeightNorm(Module):
    """A weight from its length and its direction (Salimans and Kingma, NeurIPS 2016)."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        """The weight."""
        return product(weight_v, weight_g, self.dim)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Length and direction."""
        return norm_except_dim(weight, 2, self.dim), weight


def weight_norm(module: Any, name: str = "weight", dim: int | None = 0) -> Any:
    """Let ``module`` learn length and direction of the parameter ``name`` apart; returns it.

    The length is one number per slice along ``dim``, or one for all with None. States that the
    older ``utils.weight_norm`` wrote can be loaded.
    """
    parametrize.register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def read_older(state_dict: Any, prefix: str, *rest: Any) -> None:
        old = [f"{prefix}{name}_{part}" for part in ("g", "v")]
        if all(key in state_dict for key in old):
            for i, key in enumerate(old):
                state_dict[f"{prefix}parametrizations.{name}.original{i}"] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(read_older)
    return module


class _SpectralNorm(Module):
    """A weight divided by its greatest singular value (Miyato and others, ICLR 2018).

    ``_u`` and ``_v`` are the singular vectors, which each call in training improves.
    """

    _u: Any
    _v: Any

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0,
                 eps: float = 1e-12) -> None:
        super().__init__()
        rank = weight.ndim
        if dim >= rank or dim < -rank:
            raise IndexError(f"Dimension out of range (expected to be in range of [-{rank}, "
                             f"{rank - 1}] but got {dim})")
        if n_power_iterations <= 0:
            raise ValueError("Expected n_power_iterations to be positive, but got "
                             f"n_power_iterations={n_power_iterations}")
        self.dim = dim if dim >= 0 else dim + rank
        self.eps = eps
        if rank > 1:
            self.n_power_iterations = n_power_iterations
            matrix = self._reshape_weight_to_matrix(weight)
            for name, size in zip(("_u", "_v"), matrix.shape):
                start = matrix.new_empty(size).normal_(0, 1)
                self.register_buffer(name, normalize(start, dim=0, eps=eps))
            self._power_method(matrix, 15)

    def _reshape_weight_to_matrix(self, weight: Tensor) -> Tensor:
        if self.dim != 0:
            weight = weight.permute(self.dim, *[d for d in range(weight.dim()) if d != self.dim])
        return weight.flatten(1)

    @no_grad()
    def _power_method(self, matrix: Tensor, n_power_iterations: int) -> None:
        for _ in range(n_power_iterations):
            self._u = normalize(matrix.mv(self._v), dim=0, eps=self.eps, out=self._u)
            self._v = normalize(matrix.H.mv(self._u), dim=0, eps=self.eps, out=self._v)

    def forward(self, weight: Tensor) -> Tensor:
        """The divided weight."""
        if weight.ndim == 1:
            return normalize(weight, dim=0, eps=self.eps)
        matrix = self._reshape_weight_to_matrix(weight)
        if self.training:
            self._power_method(matrix, self.n_power_iterations)
        # Backward of an earlier call must find the vectors that it used.
        u, v = self._u.clone(), self._v.clone()
        return weight / u.vdot(matrix.mv(v))

    def right_inverse(self, value: Tensor) -> Tensor:
        """The value itself: it is divided when it is read."""
        return value


def spectral_norm(module: Any, name: str = "weight", n_power_iterations: int = 1,
                  eps: float = 1e-12, dim: int | None = None) -> Any:
    """Divide the parameter ``name`` by its greatest singular value when it is read.

    ``dim`` is the dimension of the outputs in the weight. Returns ``module``.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    dim = default_dim(module) if dim is None else dim
    return parametrize.register_parametrization(
        module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))
