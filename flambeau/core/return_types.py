"""Named tuples of results, such as ``torch.return_types.max(values=..., indices=...)``."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from flambeau.base import naming, pytree

__all__ = ["ALL", "Results"]

ALL: dict[str, type] = {}


class Results(tuple):
    """A tuple whose items have names too; made from one sequence of all of them."""

    __slots__ = ()
    names: tuple[str, ...] = ()
    n_fields = n_sequence_fields = n_unnamed_fields = 0

    def __new__(cls, values: Sequence[Any]) -> Results:
        self = tuple.__new__(cls, values)
        if len(self) != len(cls.names):
            raise TypeError(f"{naming.prefix()}.return_types.{cls.__name__}() takes a "
                            f"{len(cls.names)}-sequence ({len(self)}-sequence given)")
        return self

    def __repr__(self) -> str:
        items = ",\n".join(f"{n}={v!r}" for n, v in zip(self.names, self))
        return f"{naming.prefix()}.return_types.{type(self).__name__}(\n{items})"

    def __reduce__(self) -> tuple:
        return type(self), (tuple(self),)


def _declare(name: str, *names: str) -> None:
    body = {n: property(itemgetter(i), doc=f"Item {i}.") for i, n in enumerate(names)}
    counts = {"n_fields": len(names), "n_sequence_fields": len(names), "n_unnamed_fields": 0}
    made = type(name, (Results,), {"__slots__": (), "names": names, "__match_args__": names,
                                   "__module__": "flambeau.return_types", **counts, **body})
    ALL[name] = made
    pytree.register(made, lambda values: (list(values), None), lambda c, _: made(c))
    globals()[name] = made


for _name in ("cummax", "cummin", "kthvalue", "max", "median", "min", "mode", "nanmedian", "sort",
              "topk"):
    _declare(_name, "values", "indices")
for _name, _fields in {
        "_lu_with_info": "LU pivots info", "aminmax": "min max",
        "frexp": "mantissa exponent", "geqrf": "a tau",
        "histogram": "hist bin_edges", "histogramdd": "hist bin_edges",
        "linalg_cholesky_ex": "L info", "linalg_eig": "eigenvalues eigenvectors",
        "linalg_eigh": "eigenvalues eigenvectors", "linalg_inv_ex": "inverse info",
        "linalg_ldl_factor": "LD pivots", "linalg_ldl_factor_ex": "LD pivots info",
        "linalg_lstsq": "solution residuals rank singular_values", "linalg_lu": "P L U",
        "linalg_lu_factor": "LU pivots", "linalg_lu_factor_ex": "LU pivots info",
        "linalg_qr": "Q R", "linalg_slogdet": "sign logabsdet", "linalg_solve_ex": "result info",
        "linalg_svd": "U S Vh", "lu_unpack": "P L U", "qr": "Q R", "slogdet": "sign logabsdet",
        "svd": "U S V", "triangular_solve": "solution cloned_coefficient"}.items():
    _declare(_name, *_fields.split())

__all__ += sorted(ALL)
