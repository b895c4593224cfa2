"""Which functions want ``out=`` of exactly the result's dtype, and what they say of another."""

from __future__ import annotations

from flambeau.base.dtypes import dtype

__all__ = ["C_NAMES", "OUT_SAYS_DTYPE", "wrong_out"]

_EXPECTED = """
addmm addmv alias_copy aminmax argmax argmin as_strided_copy avg_pool2d avg_pool3d baddbmm bmm
cholesky_ex cross cumprod cumsum det diag diagonal_copy eigh eigvalsh expand_copy gather index_add
index_copy index_reduce inv inv_ex isin linear log_softmax mm msort permute_copy prod qr renorm
scatter scatter_add scatter_reduce slice_scatter slogdet softmax solve solve_ex sort
split_with_sizes_copy squeeze_copy sum svd svdvals t_copy take_along_dim topk transpose_copy tril
triu unbind_copy unfold_copy unsqueeze_copy vector_norm view_copy
"""
_FOUND = """
abs absolute ceil conj_physical floor frac gelu hardshrink neg negative round sgn sign softplus
softshrink trunc fix
"""
_PARAMETER = "arange empty eye full linspace logspace ones zeros"
# Where no dtype is given these compute in that of ``out=``.
OUT_SAYS_DTYPE = frozenset([*_PARAMETER.split(), "sum", "prod", "nansum", "cumsum", "cumprod"])
_SCALAR_TYPE = "cummax cummin diff logcumsumexp"
_INPUT = "dot matmul vdot"
_SELF = "index_select masked_select"
_PLACES = "bucketize searchsorted"

_MUST = "Expected out tensor to have dtype {want_c}, but got {have_c} instead"
_SAYS: dict[str, str] = {
    **dict.fromkeys(_EXPECTED.split(), _MUST),
    **dict.fromkeys(_FOUND.split(), "Found dtype {have} but expected {want}"),
    **dict.fromkeys(_PARAMETER.split(), "dtype {want} does not match dtype of out parameter "
                                        "({have})"),
    **dict.fromkeys(_SCALAR_TYPE.split(), "expected scalar_type {want} but found {have}"),
    **dict.fromkeys(_INPUT.split(), "result dtype {have} does not match input dtype {want}"),
    **dict.fromkeys(_SELF.split(), "{name}(): self and result must have the same scalar type"),
    **dict.fromkeys(_PLACES.split(), "torch.searchsorted(): output tensor's dtype is wrong, it can "
                                     "only be Int(int32) or Long(int64) depending on whether "
                                     "out_int32 flag is True, but we got output tensor's dtype "
                                     "{have} and out_int32 flag is {flag}"),
    "float_power": "the output given to float_power has dtype {have} but the operation's result "
                   "requires dtype {want}",
    "vecdot": "linalg.vecdot: Expected out of dtype{want} but found {have}",
    "amax": "Expected the dtype for input and out to match, but got {want} for input's dtype and "
            "{have} for out's dtype.",
    "quantile": "quantile() out tensor must be same dtype as the input tensor",
    "take": "take(): self and out expected to have the same dtype, but got self.dtype = {want} "
            "and out.dtype = {have}",
    "nan_to_num": "nan_to_num: dtype of out: {have} should be same as input: {want}",
    "nonzero": "nonzero: Expected out tensor to have scalar type {want} but got scalar type{have}",
    "tensordot": "tensordot: Expected the output tensor to have dtype {want}, but got an output "
                 "tensor with dtype {have}",
    "ormqr": "torch.ormqr: Expected input and result to have the same dtype, but input has "
             "dtype{want} and result has dtype {have}",
    "solve_triangular": "expected scalar type {want} but found {have}",
    "matrix_norm": "linalg.matrix_norm expected out tensor dtype {want} but got: {have}",
    "histogram": "torch.histogram: input tensor and its results should have the same dtype, but "
                 "got input {want_c} and {have_c}",
    **dict.fromkeys("inverse ldl_factor ldl_factor_ex ldl_solve lu lu_factor lu_factor_ex lu_solve "
                    "lu_unpack matrix_power triangular_solve".split(), _MUST),
    "hash_tensor": "Expected result to be of dtype uint64, but got {have}",
    "signbit": "signbit does not support non-boolean outputs.",
    "isposinf": "isposinf does not support non-boolean outputs.",
    "isneginf": "isneginf does not support non-boolean outputs.",
}
_SAYS.update(amin=_SAYS["amax"], nanquantile=_SAYS["quantile"], inner=_SAYS["tensordot"])

# The transforms cast within a kind.
_COMPLEX = frozenset("fft ifft rfft ihfft fftn ifftn rfftn ihfftn fft2 ifft2 rfft2 ihfft2".split())
_REAL = frozenset("irfft hfft irfftn hfftn irfft2 hfft2".split())

C_NAMES = {
    "float16": "c10::Half", "bfloat16": "c10::BFloat16", "float32": "float", "float64": "double",
    "complex64": "c10::complex<float>", "complex128": "c10::complex<double>",
    "uint8": "unsigned char", "int8": "signed char", "int16": "short int", "int32": "int",
    "int64": "long int", "uint16": "short unsigned int", "uint32": "unsigned int",
    "uint64": "long unsigned int", "bool": "bool",
}


def wrong_out(name: str, have: dtype, want: dtype) -> str | None:
    """What ``name`` says of an ``out=`` of dtype ``have`` for a result of another, ``want``.

    None where it casts.

    >>> from flambeau.base.dtypes import float32, float64
    >>> wrong_out("mm", float64, float32)
    'Expected out tensor to have dtype float, but got double instead'
    >>> wrong_out("add", float64, float32)
    """
    says = _SAYS.get(name)
    if name in _COMPLEX and not have.is_complex or name in _REAL and not have.is_floating_point:
        kind = "complex" if name in _COMPLEX else "floating point"
        says = f"{name.replace('2', 'n')} expects a {kind} output tensor, but got {{have}}"
    if says is None:
        return None
    return says.format(name=name, have=have.title, want=want.title,
                       flag=str(want.itemsize == 4), have_c=C_NAMES.get(have.name, have.title),
                       want_c=C_NAMES.get(want.name, want.title))
