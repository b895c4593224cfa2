"""Operators that few programs use: a file of theirs is imported when a name in it is asked for."""

from __future__ import annotations

from flambeau.core.face import show_later

__all__ = ["FILES"]

TORCH, TENSOR, LINALG = ("torch",), ("Tensor",), ("linalg",)
FFT, WINDOWS = ("fft",), ("signal.windows",)
BOTH, ALL = ("torch", "Tensor"), ("torch", "Tensor", "linalg")
AUTOCAST = ("autocast autocast_decrement_nesting autocast_increment_nesting clear_autocast_cache "
            "get_autocast_cpu_dtype get_autocast_dtype get_autocast_gpu_dtype "
            "is_autocast_cache_enabled is_autocast_cpu_enabled is_autocast_enabled "
            "set_autocast_cache_enabled set_autocast_cpu_dtype set_autocast_cpu_enabled "
            "set_autocast_dtype set_autocast_enabled set_autocast_gpu_dtype")
STORAGES = ("BFloat16Storage BoolStorage ByteStorage CharStorage ComplexDoubleStorage "
            "ComplexFloatStorage DoubleStorage FloatStorage HalfStorage IntStorage LongStorage "
            "ShortStorage")
SPARSE = ("ccol_indices_copy col_indices_copy crow_indices_copy indices_copy row_indices_copy "
          "sparse_bsc_tensor sparse_bsr_tensor sparse_compressed_tensor sparse_coo_tensor "
          "sparse_csc_tensor sparse_csr_tensor values_copy")
SPARSE_PARTS = ("_coalesced_ _dimI _dimV _indices _nnz _values ccol_indices coalesce col_indices "
                "crow_indices dense_dim indices is_coalesced row_indices sparse_dim sparse_mask "
                "sparse_resize_ sparse_resize_and_clear_ to_dense to_sparse to_sparse_bsc "
                "to_sparse_bsr to_sparse_coo to_sparse_csc to_sparse_csr values")
# Per file of this folder (or module elsewhere): the names it shows, and where.
FILES: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "by_element": (("apply_ fill_diagonal_ map2_ map_", TENSOR),),
    "cholesky": (("cholesky", ALL), ("cholesky_inverse cholesky_solve", BOTH),
                 ("cholesky_ex", LINALG)),
    "eigen": (("eig eigh eigvals eigvalsh", LINALG),),
    "facts": (
        ("get_device is_distributed is_inference is_nonzero is_signed result_type", TORCH),
        ("addmv_ as_strided_ detach_ square_ xlogy_", TORCH), ("is_same_size", BOTH),
        ("__delitem__ __idiv__ __long__ __nonzero__ as_subclass const_data_ptr cuda", TENSOR),
        ("_make_subclass", TENSOR),
        ("dim_order is_nonzero is_pinned is_set_to module_load pin_memory", TENSOR)),
    "files": (("from_file", TORCH),),
    "flambeau.accelerator.streams": (("AcceleratorError Event OutOfMemoryError Stream", TORCH),),
    "flambeau.compiler.entry": (("compile", TORCH),),
    "flambeau.amp.autocast_mode": ((AUTOCAST, TORCH),),
    "flambeau.amp.grad_scaler": (("GradScaler", TORCH),),
    "flambeau.serialization": (("load save", TORCH),),
    "flambeau.ops.sparse": (
        (SPARSE, TORCH), (SPARSE_PARTS, TENSOR), ("resize_as_sparse_", BOTH),
        ("_embedding _embedding_bag _gather", ("sparse",))),
    "flambeau.storage": (("is_storage TypedStorage", TORCH), (STORAGES, TORCH),
                         ("storage", TENSOR)),
    "fft": (("fft fft2 fftfreq fftn fftshift hfft hfft2 hfftn ifft ifft2 ifftn ifftshift", FFT),
            ("ihfft ihfft2 ihfftn irfft irfft2 irfftn rfft rfft2 rfftfreq rfftn", FFT)),
    "hash": (("hash_tensor", BOTH),),
    "histogram": (("histogram", BOTH), ("histogramdd", TORCH)),
    "ldl": (("ldl_factor ldl_factor_ex ldl_solve", LINALG),),
    "linalg": (("det slogdet", ALL), ("logdet inverse", BOTH),
               ("LinAlgError inv inv_ex solve solve_ex", LINALG)),
    "lobpcg": (("lobpcg", TORCH),),
    "lowrank": (("pca_lowrank svd_lowrank", TORCH),),
    "lstsq": (("lstsq", LINALG),),
    "lu": (("lu lu_solve", ALL), ("lu_unpack", TORCH), ("lu_factor lu_factor_ex", LINALG)),
    "matrix_functions": (("matrix_exp matrix_power", ALL), ("diagonal vander vecdot", LINALG)),
    "old_names": (
        ("frobenius_norm nuclear_norm set_default_tensor_type to_dlpack vander", TORCH),),
    "qr": (("qr", ALL), ("geqrf orgqr ormqr", BOTH), ("householder_product", LINALG)),
    "matrix_norms": (("cond matrix_norm norm", LINALG),),
    "segments": (("segment_reduce _segment_reduce", TORCH),),
    "solvers": (("triangular_solve", BOTH), ("solve_triangular tensorinv tensorsolve", LINALG)),
    "stft": (("istft stft", BOTH),),
    "weight_norm": (("_weight_norm norm_except_dim", TORCH),),
    "windows": (("bartlett_window blackman_window hamming_window hann_window kaiser_window", TORCH),
                ("bartlett blackman cosine exponential gaussian general_cosine", WINDOWS),
                ("general_hamming hamming hann kaiser nuttall", WINDOWS)),
    "spectral": (("svd", ALL), ("pinverse", BOTH),
                 ("matrix_rank pinv svdvals", LINALG)),
}

for _file, _shown in FILES.items():
    for _names, _places in _shown:
        show_later(_file if "." in _file else f"{__package__}.{_file}", _names, *_places)
