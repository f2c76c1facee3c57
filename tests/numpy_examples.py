"""Example calls for every name of `kinone.numpy`, and what the name does on traced values.

`tests/test_numpy_namespace.py` runs them, and makes docs/numpy.md of them. Arrays of floating and
complex numbers among the arguments, in lists too, are traced; everything else is a constant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Call:
    """One call of a function: its arguments."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)


def call(*args: Any, **kwargs: Any) -> Call:
    return Call(args, kwargs)


Table = dict[str, list[Call]]


def each(names: str, *calls: Call) -> Table:
    return {name: list(calls) for name in names.split()}


# No two elements, and no element and a kink, are nearer than the steps of the finite differences.
A = np.array([[0.3, -1.2, 2.5, 0.9], [1.7, 0.4, -0.6, -2.2], [0.8, 1.1, -1.9, 2.1]])
B = np.array([[1.3, 0.2, -0.5, 0.7], [0.6, -1.4, 0.55, 1.2], [-0.3, 2.15, 0.95, 1.5]])
V = np.array([0.5, -1.5, 2.4, 3.5])
W = np.array([1.1, 0.35, -0.7, 0.15])
T3 = np.array([0.2, -0.9, 1.6])
P = np.abs(A) + 0.5  # positive
U = A / 3.0  # between -1 and 1
S = np.array([[2.0, 0.3, -0.4], [0.1, 1.5, 0.6], [-0.7, 0.2, 1.8]])  # a regular matrix
R = np.array([[0.3, -2.0, 0.1], [1.5, 0.2, 0.4], [-0.2, 0.6, 1.9]])  # two complex eigenvalues
H = S @ S.T  # symmetric, positive
Z = A[:, :3] + 1j * B[:, :3]  # complex
M = A[:, :3]
I = np.array([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]])  # noqa: E741
J = np.array([3, 0, 2])
F = A > 0
N = np.where(A > 2, np.nan, A)
GRID = np.array([0.0, 1.0, 2.5, 4.0])

UNARY = call(A)
BINARY = (call(A, B), call(A, V), call(A, 1.5))
REDUCING = (call(A), call(A, axis=0), call(A, axis=-1, keepdims=True))

DIFFERENTIABLE: Table = {
    **each("sin cos tan arctan atan arcsinh asinh sinh cosh tanh", UNARY, call(Z)),
    **each("exp exp2 expm1 negative positive square conj conjugate", UNARY, call(Z)),
    **each("log log2 log10 log1p sqrt", call(P), call(Z)),
    **each("reciprocal", UNARY, call(Z)),
    **each("abs absolute", UNARY, call(Z)),
    **each("sign", call(Z)),
    **each("fabs cbrt sinc i0 deg2rad rad2deg degrees radians", UNARY),
    **each("arcsin asin arccos acos arctanh atanh", call(U)),
    **each("arccosh acosh", call(P + 1.0)),
    **each("add subtract multiply divide true_divide", *BINARY, call(Z, S)),
    **each("maximum minimum fmax fmin arctan2 atan2 hypot logaddexp logaddexp2", *BINARY),
    **each("power pow float_power", call(P, B), call(A, 3), call(P, 1.5)),
    **each("remainder mod fmod", call(A, P)),
    **each("divmod", call(A, P)),
    **each("copysign", call(A, B)),
    **each("nextafter", call(A, B)),
    **each("ldexp", call(A, I)),
    **each("modf frexp", UNARY),
    **each("matmul", call(A, A.T @ B), call(S, Z), call(V, W)),
    **each("vecdot inner", call(A, B), call(A, V)),
    **each("matvec", call(A, V)),
    **each("vecmat", call(T3, A)),
    **each("dot", call(A, V), call(S, M), call(A, 2.0)),
    **each("vdot", call(A, B), call(Z, S)),
    **each("outer", call(V, T3)),
    **each("kron", call(S, T3)),
    **each("cross", call(M, S)),
    **each("tensordot", call(A, B, 2), call(A, B, ([1], [1]))),
    **each("einsum", call("ij,kj->ik", A, B), call("ii", S), call("ij,j", A, V)),
    **each("sum prod max min amax amin", *REDUCING, call(A, where=F, initial=1.5)),
    **each("mean", *REDUCING, call(A, where=F)),
    **each("var std", *REDUCING, call(A, axis=1, ddof=1), call(Z)),
    **each("ptp median", call(A), call(A, axis=1)),
    **each("average", call(A), call(A, axis=0), call(A, weights=P, returned=True)),
    **each("nansum nanprod nanmean nanmax nanmin nanvar nanstd", call(A), call(N, axis=0)),
    **each("nanmedian nancumsum nancumprod", call(A), call(A, axis=1)),
    **each("percentile nanpercentile", call(A, 30.0), call(A, [10, 75], axis=1)),
    **each("quantile nanquantile", call(A, 0.3), call(A, [0.1, 0.75], axis=1)),
    **each("cov corrcoef", call(A), call(V, W)),
    **each("cumsum cumprod", call(A), call(A, axis=1)),
    **each("cumulative_sum cumulative_prod", call(A, axis=1, include_initial=True)),
    **each("diff", call(A), call(A, n=2, axis=0, prepend=B[:1])),
    **each("ediff1d", call(V), call(V, to_begin=W)),
    **each("gradient", call(V), call(A, 0.5, axis=1), call(V, GRID)),
    **each("trapezoid", call(A), call(V, GRID)),
    **each("interp", call(T3 + 1.2, GRID, V)),
    **each("convolve correlate", call(V, T3), call(V, T3, "same")),
    **each("unwrap", call(3.0 * V)),
    **each("angle", call(Z)),
    **each("real imag real_if_close", call(Z)),
    **each("nan_to_num", call(A)),
    **each("clip", call(A, -1.0, 1.5)),
    **each("where", call(F, A, B), call(F, A, 0.0)),
    **each("select", call([F, ~F], [A, B])),
    **each("choose", call(np.array([0, 1, 1, 0]), [V, W])),
    **each("piecewise", call(V, [V > 0], [np.sin, np.cos])),
    **each("reshape", call(A, (4, 3)), call(A, -1, order="F")),
    **each("ravel copy matrix_transpose flip fliplr flipud rot90", UNARY),
    **each("transpose permute_dims", call(A, (1, 0))),
    **each("moveaxis swapaxes rollaxis", call(A, 1, 0)),
    **each("squeeze", call(A[:1], 0)),
    **each("expand_dims", call(A, (0, -1))),
    **each("broadcast_to", call(V, (3, 4))),
    **each("broadcast_arrays", call(A, V)),
    **each("atleast_1d atleast_2d atleast_3d", call(V)),
    **each("roll", call(A, (1, 2), (0, 1))),
    **each("tile", call(A, (2, 1))),
    **each("repeat", call(A, 2, axis=1), call(V, np.array([1, 0, 2, 1]))),
    **each("resize", call(A, (2, 7))),
    **each("trim_zeros", call(V)),
    **each("pad", call(A, 1), call(A, ((0, 1), (2, 0)), "reflect")),
    **each("append", call(A, B), call(A, B, axis=0), call([V, W], V)),
    **each("insert", call(A, 1, V[:3], axis=1)),
    **each("delete", call(A, [0, 2], axis=1)),
    **each("concatenate concat stack", call([A, B]), call([A, B], axis=1)),
    **each("vstack hstack dstack column_stack row_stack", call([A, B]), call([V, W])),
    **each("block", call([[A, B], [B, A]])),
    **each("split array_split", call(A, 2, axis=1)),
    **each("hsplit", call(A, 2)),
    **each("vsplit", call(A, 3)),
    **each("dsplit", call(A.reshape(1, 3, 4), 2)),
    **each("unstack", call(A), call(A, axis=1)),
    **each("diag", call(V), call(A)),
    **each("diagflat make_diagonal", call(V)),
    **each("diagonal trace tril triu", UNARY, call(A, 1)),
    **each("vander", call(V, 3)),
    **each("meshgrid", call(V, W)),
    **each("take", call(A, J, axis=1)),
    **each("take_along_axis", call(A, np.argsort(A, axis=1), 1)),
    **each("compress", call([True, False, True], A, axis=0)),
    **each("extract", call(F, A)),
    **each("sort", call(A), call(A, axis=0), call(A, axis=None)),
    **each("sort_complex", call(V)),
    **each("partition", call(V, 2)),
    **each("unique unique_values", call(V)),
    **each("unique_all unique_counts unique_inverse", call(V)),
    **each("union1d setxor1d", call(V, W)),
    **each("setdiff1d", call(V, GRID)),
    **each("bincount", call(np.array([0, 1, 1, 3]), V)),
    **each("poly polyder polyint", call(V)),
    **each("roots", call(np.array([1.0, 0.5, 2.0, -0.7]))),
    **each("polyadd polysub polymul polyval", call(V, W)),
    **each("polydiv", call(V, W[:2])),
    **each("polyfit", call(V, W, 1)),
    **each("linspace", call(V, W, 5)),
    **each("logspace", call(U[0], U[1], 4)),
    **each("geomspace", call(P[0], P[1], 4)),
    **each("full", call((2, 4), V)),
    **each("full_like", call(A, V)),
    **each("astype", call(A, np.float64)),
    **each("array asarray asanyarray", call(A), call([V, W]), call([[V[0:2]], [[1.0, 2.0]]])),
    **each("ascontiguousarray asfortranarray asarray_chkfinite require", call(A)),
    **each("from_dlpack", call(A)),
    **each("apply_along_axis", call(np.cumsum, 0, A)),
    **each("apply_over_axes", call(np.sum, A, [0, 1])),
    **each("r_", call(V, 1.0, W)),
    **each("c_", call(V, W)),
    **each("linalg.matrix_power", call(S, 3), call(S, -2)),
    **each("linalg.solve", call(S, T3), call(S, M)),
    **each("linalg.tensorsolve", call(S, T3)),
    **each("linalg.tensorinv", call(S.reshape(3, 3), ind=1)),
    **each("linalg.inv linalg.det linalg.slogdet linalg.cond", call(S)),
    **each("linalg.pinv", call(S), call(A)),
    **each("linalg.eigvals", call(R)),
    **each("linalg.qr", call(S), call(A.T)),
    **each("linalg.svdvals", call(A)),
    **each("linalg.norm", call(A), call(V, 3), call(A, axis=1), call(S, "nuc")),
    **each("linalg.vector_norm", call(A), call(A, axis=0, ord=1)),
    **each("linalg.matrix_norm", call(A), call(A, ord=1)),
    **each("linalg.multi_dot", call([A, B.T, S])),
    **each("linalg.trace linalg.diagonal", call(S)),
    **each("linalg.cross", call(M, S)),
    **each("linalg.outer", call(V, W)),
    **each("linalg.tensordot", call(A, B, axes=2)),
    **each("linalg.matmul", call(S, M)),
    **each("linalg.matrix_transpose", call(A)),
    **each("linalg.vecdot", call(A, B)),
    **each("fft.fft fft.ifft fft.rfft", call(A), call(A, 5, axis=0, norm="ortho")),
    **each("fft.irfft fft.hfft", call(A), call(Z, 5)),
    **each("fft.ihfft", call(A)),
    **each("fft.fft2 fft.ifft2 fft.rfft2 fft.irfft2 fft.fftn fft.ifftn", call(A)),
    **each("fft.rfftn fft.irfftn", call(A)),
    **each("fft.fftshift fft.ifftshift", call(A)),
}
# A function whose own result is not unique, so that the difference needs a function of it that is.
OF_RESULT: dict[str, tuple[list[Call], Callable[..., Any]]] = {
    "linalg.eigvalsh": ([call(H), call(H, "U")], lambda w: w),
    "linalg.eigh": ([call(H)], lambda result: np.abs(result[1])),
    "linalg.eig": ([call(S)], lambda result: np.abs(result[1])),
    "linalg.cholesky": ([call(H), call(H, upper=True)], lambda result: result),
    "linalg.svd": ([call(A, full_matrices=False)], lambda result: np.abs(result[0])),
    "linalg.lstsq": ([call(A.T, V)], lambda result: result[0]),
}
# The elements that meet come from the first array; one step of a difference, and none meets.
MEETING = {"intersect1d": [call(V, [0.5, 2.4])]}
# Those of them that read one triangle: they are checked on what is symmetric at every step.
SYMMETRIC = {"linalg.eigvalsh", "linalg.eigh", "linalg.cholesky"}

FLAT = "piecewise constant"
WHOLE = "integers or booleans"
CONSTANT: dict[str, Table] = {
    FLAT: {
        **each("ceil floor rint trunc fix round around", UNARY),
        **each("floor_divide", call(A, P)),
        **each("heaviside", call(A, P)),
        **each("spacing", UNARY),
    },
    WHOLE: {
        **each("equal not_equal less less_equal greater greater_equal", call(A, B)),
        **each("logical_and logical_or logical_xor", call(A, B), call(F, ~F)),
        **each("logical_not isfinite isinf isnan signbit", UNARY),
        **each("isneginf isposinf isreal iscomplex", UNARY),
        **each("isclose allclose array_equal array_equiv", call(A, B), call(A, A)),
        **each("linalg.matrix_rank", call(S)),
        **each("all any argmax argmin", call(A), call(A, axis=0)),
        **each("count_nonzero", call(A), call(A, axis=1)),
        **each("nanargmax nanargmin", call(A), call(A, axis=1)),
        **each("argsort", call(V), call(A, axis=0)),
        **each("argpartition", call(V, 2)),
        **each("lexsort", call([V, W])),
        **each("argwhere nonzero flatnonzero", call(A)),
        **each("searchsorted", call(GRID, V)),
        **each("digitize", call(V, GRID)),
        **each("isin", call(A, V)),
        **each("histogram", call(V, 3)),
        **each("histogram_bin_edges", call(V, 3)),
        **each("histogram2d", call(V, W, 2)),
        **each("histogramdd", call(A, 2)),
    },
    "answered by shape and dtype": {
        **each("shape ndim size iscomplexobj isrealobj isfortran", UNARY),
        **each("isscalar iterable", UNARY),
        **each("common_type result_type", call(A, V)),
        **each("can_cast", call(np.float32, np.float64)),
        **each("min_scalar_type", call(I)),
        **each("zeros_like ones_like", UNARY),
        **each("may_share_memory shares_memory", call(A, B)),
        **each("tril_indices_from triu_indices_from diag_indices_from", call(S)),
        **each("einsum_path", call("ij,jk->ik", A, B.T)),
    },
    "of integers alone": {
        **each("bitwise_and bitwise_or bitwise_xor gcd lcm", call(I, 6)),
        **each("bitwise_left_shift left_shift bitwise_right_shift right_shift", call(I, 1)),
        **each("bitwise_count bitwise_invert bitwise_not invert", call(I)),
        **each("ix_", call(J, J)),
        **each("ravel_multi_index", call((J, J), (4, 4))),
        **each("unravel_index", call(J, (2, 2))),
        **each("packbits unpackbits", call(I.astype(np.uint8))),
    },
}

# What is worth knowing of some names, for the page.
NOTES = {
    "sign": "of complex numbers; constant for real ones",
    "intersect1d": "the elements come from the first array",
    "linalg.eig": "always complex, where NumPy's dtype depends on the values",
    "linalg.eigvals": "always complex, where NumPy's dtype depends on the values",
}

# What the name would need a number for, and what to write instead.
REFUSED: dict[str, Table] = {
    "writes into an array": {
        **each("copyto", call(A, B)),
        **each("place putmask", call(A, F, V)),
        **each("put", call(A, J, T3)),
        **each("put_along_axis", call(A, J[:, None], 1.0, 1)),
        **each("fill_diagonal", call(A, 1.0)),
    },
    "its length or grid would depend on values": {
        **each("arange", call(V[0])),
        **each("fromiter", call(V, np.float64)),
    },
    "traced values are arrays, not matrices": {
        **each("asmatrix", call(A)),
        **each("bmat", call([[A, A]])),
    },
    "leaves the program": {
        **each("save", call("x.npy", A)),
        **each("savetxt", call("x.txt", A)),
        **each("savez savez_compressed", call("x.npz", A)),
        **each("format_float_positional format_float_scientific", call(V[0])),
    },
}

# Names that take no array whose values matter: NumPy's own object, on traced values or not.
PLAIN: dict[str, str] = {
    "windows, grids and constants": "bartlett blackman hamming hanning kaiser diag_indices indices "
    "tri tril_indices triu_indices mask_indices zeros ones empty empty_like eye identity "
    "fft.fftfreq fft.rfftfreq fromfunction broadcast_shapes mgrid ogrid s_ index_exp pi e "
    "euler_gamma inf nan newaxis True_ False_",
    "dtypes and their questions": "isdtype issubdtype promote_types mintypecode typename finfo "
    "iinfo dtype ScalarType sctypeDict typecodes little_endian bool bool_ byte bytes_ cdouble "
    "character clongdouble complex128 complex256 complex64 complexfloating csingle datetime64 "
    "double flexible float128 float16 float32 float64 floating generic half inexact int16 int32 "
    "int64 int8 int_ intc integer intp long longdouble longlong number object_ short signedinteger "
    "single str_ timedelta64 ubyte uint uint16 uint32 uint64 uint8 uintc uintp ulong ulonglong "
    "unsignedinteger ushort void",
    "classes of arrays and of loops over them": "ndarray matrix memmap recarray record flatiter "
    "broadcast ndenumerate ndindex nditer nested_iters ufunc poly1d vectorize frompyfunc",
    "files, bytes and text": "frombuffer fromfile fromregex fromstring genfromtxt load loadtxt "
    "array2string array_repr array_str base_repr binary_repr printoptions get_printoptions "
    "set_printoptions",
    "dates": "isnat busday_count busday_offset is_busday busdaycalendar datetime_as_string "
    "datetime_data",
    "settings and information": "errstate geterr geterrcall seterr seterrcall getbufsize "
    "setbufsize get_include info show_config show_runtime test __array_namespace_info__ "
    "linalg.LinAlgError",
    "parts of NumPy": "char core ctypeslib dtypes emath exceptions f2py fft lib linalg ma "
    "polynomial random rec strings testing typing",
}
