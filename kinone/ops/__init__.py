"""Every primitive with its rules, by family; and the functions that apply them.

All functions take arrays, numbers and traced values alike, under NumPy's names where NumPy has
one. On plain arrays `ops.tanh(x)` is `np.tanh(x)`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ..core.protocol import load_all as load_all
from ..core.protocol import waiting
from . import refused as refused
from . import ufunc_methods as ufunc_methods
from .activation import (
    celu,
    elu,
    gelu,
    glu,
    hard_sigmoid,
    hard_swish,
    hard_tanh,
    leaky_relu,
    log_sigmoid,
    mish,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    softplus,
    softsign,
    swish,
)
from .adaptive import adaptive_avg_pool, adaptive_max_pool, global_max_pool
from .arithmetic import (
    absolute,
    add,
    ceil,
    clip,
    divide,
    divmod,
    equal,
    fabs,
    float_power,
    floor,
    floor_divide,
    fmax,
    fmin,
    fmod,
    greater,
    greater_equal,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    multiply,
    negative,
    not_equal,
    positive,
    power,
    remainder,
    rint,
    round,
    sign,
    square,
    stop_gradient,
    subtract,
    trunc,
)
from .attributes import full, full_like, geomspace, linspace, logspace, result_type
from .barrier import barrier
from .complex import (
    angle,
    conj,
    imag,
    iscomplex,
    iscomplexobj,
    isreal,
    isrealobj,
    real,
    real_if_close,
)
from .contract import matmul
from .conv import conv, conv_transpose
from .cumulative import cumprod, cumsum, cumulative_prod, cumulative_sum, diff, ediff1d
from .diagonal import diag, diagflat, diagonal, trace, tril, triu, vander
from .einsum import einsum
from .erf import erf, erfc
from .extrema import all, any, argmax, argmin, count_nonzero, max, min, ptp
from .floats import (
    allclose,
    array_equal,
    array_equiv,
    copysign,
    frexp,
    heaviside,
    isclose,
    isneginf,
    isposinf,
    ldexp,
    modf,
    nan_to_num,
    nextafter,
    signbit,
    spacing,
)
from .index import getitem, take, take_along_axis
from .integers import (
    bitwise_and,
    bitwise_count,
    bitwise_or,
    bitwise_xor,
    gcd,
    invert,
    lcm,
    left_shift,
    right_shift,
)
from .join import array, asarray, block, column_stack, dstack, hstack, vstack
from .joining import concatenate, stack
from .lengths import append, delete, insert, repeat, resize, tile, trim_zeros
from .moments import average, corrcoef, cov, mean, std, var
from .normalize import batch_norm, batch_norm_inference, log_softmax, softmax
from .padding import pad
from .pool import avg_pool, global_avg_pool, max_pool
from .products import (
    cross,
    dot,
    inner,
    kron,
    matvec,
    outer,
    tensordot,
    vdot,
    vecdot,
    vecmat,
)
from .random_bits import random_bits
from .rearrange import (
    apply_along_axis,
    apply_over_axes,
    atleast_1d,
    atleast_2d,
    atleast_3d,
    copy,
    flip,
    fliplr,
    flipud,
    matrix_transpose,
    roll,
    rollaxis,
    rot90,
    sliding_window_view,
)
from .reduce import logsumexp, prod, sum
from .select import (
    argwhere,
    choose,
    compress,
    extract,
    flatnonzero,
    ix_,
    meshgrid,
    nonzero,
    piecewise,
    ravel_multi_index,
    select,
    unravel_index,
    where,
)
from .shape import (
    astype,
    broadcast_arrays,
    broadcast_to,
    expand_dims,
    moveaxis,
    ravel,
    reshape,
    squeeze,
    swapaxes,
    transpose,
)
from .sort import (
    argpartition,
    argsort,
    digitize,
    lexsort,
    partition,
    searchsorted,
    sort,
    sort_complex,
)
from .split import array_split, dsplit, hsplit, split, unstack, vsplit
from .standardize import group_norm, layer_norm, rms_norm, standardize
from .transcendental import (
    arccos,
    arccosh,
    arcsin,
    arcsinh,
    arctan,
    arctan2,
    arctanh,
    cbrt,
    cos,
    cosh,
    deg2rad,
    exp,
    exp2,
    expm1,
    hypot,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
    logaddexp2,
    rad2deg,
    reciprocal,
    sin,
    sinh,
    sqrt,
    tan,
    tanh,
)
from .update import add_at, at, set_at
from .upsample import resize_images

abs = absolute

# The families that ordinary networks do not touch, and which of the names here are theirs. A family
# is loaded when one of its names is asked for, when NumPy calls a function on a traced value that
# no loaded family knows, or by `load_all`.
# fmt: off
FAMILIES: dict[str, tuple[str, ...]] = {
    "calculus": ("convolve", "correlate", "gradient", "interp", "trapezoid"),
    "distinct": (
        "intersect1d", "isin", "setdiff1d", "setxor1d", "union1d", "unique", "unique_all",
        "unique_counts", "unique_inverse", "unique_values",
    ),
    "effects": (),
    "fourier": (),
    "histograms": ("bincount", "histogram", "histogram2d", "histogram_bin_edges", "histogramdd"),
    "linalg": (),
    "nan": (
        "nanargmax", "nanargmin", "nancumprod", "nancumsum", "nanmax", "nanmean", "nanmin",
        "nanprod", "nanstd", "nansum", "nanvar",
    ),
    "polynomial": (),
    "quantiles": ("median", "nanmedian", "nanpercentile", "nanquantile", "percentile", "quantile"),
    "special": ("i0", "sinc", "unwrap"),
}
# fmt: on
waiting += [f"{__name__}.{family}" for family in FAMILIES]

if TYPE_CHECKING:
    from . import effects as effects
    from . import fourier as fourier
    from . import linalg as linalg
    from . import polynomial as polynomial
    from .calculus import convolve, correlate, gradient, interp, trapezoid
    from .distinct import (
        intersect1d,
        isin,
        setdiff1d,
        setxor1d,
        union1d,
        unique,
        unique_all,
        unique_counts,
        unique_inverse,
        unique_values,
    )
    from .histograms import bincount, histogram, histogram2d, histogram_bin_edges, histogramdd
    from .nan import (
        nanargmax,
        nanargmin,
        nancumprod,
        nancumsum,
        nanmax,
        nanmean,
        nanmin,
        nanprod,
        nanstd,
        nansum,
        nanvar,
    )
    from .quantiles import median, nanmedian, nanpercentile, nanquantile, percentile, quantile
    from .special import i0, sinc, unwrap
else:  # a type checker would take any name for one of these
    _homes = {name: family for family, names in FAMILIES.items() for name in names}

    def __getattr__(name: str) -> Any:
        if name in FAMILIES:
            return importlib.import_module(f".{name}", __name__)
        if name not in _homes:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        family = importlib.import_module(f".{_homes[name]}", __name__)
        globals()[name] = value = getattr(family, name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *FAMILIES, *_homes})


# fmt: off
__all__ = [  # noqa: RUF022 (whose fix gives each name a line of its own)
    "abs", "absolute", "adaptive_avg_pool", "adaptive_max_pool", "add", "add_at", "all", "allclose",
    "angle", "any", "append", "apply_along_axis", "apply_over_axes", "arccos", "arccosh", "arcsin",
    "arcsinh", "arctan", "arctan2", "arctanh", "argmax", "argmin", "argpartition", "argsort",
    "argwhere", "array", "array_equal", "array_equiv", "array_split", "asarray", "astype", "at",
    "atleast_1d", "atleast_2d", "atleast_3d", "average", "avg_pool", "barrier", "batch_norm",
    "batch_norm_inference", "bincount", "bitwise_and", "bitwise_count", "bitwise_or", "bitwise_xor",
    "block", "broadcast_arrays", "broadcast_to", "cbrt", "ceil", "celu", "choose", "clip",
    "column_stack", "compress", "concatenate", "conj", "conv", "conv_transpose", "convolve", "copy",
    "copysign", "corrcoef", "correlate", "cos", "cosh", "count_nonzero", "cov", "cross", "cumprod",
    "cumsum", "cumulative_prod", "cumulative_sum", "deg2rad", "delete", "diag", "diagflat",
    "diagonal", "diff", "digitize", "divide", "divmod", "dot", "dsplit", "dstack", "ediff1d",
    "einsum", "elu", "equal", "erf", "erfc", "exp", "exp2", "expand_dims", "expm1", "extract",
    "fabs", "flatnonzero", "flip", "fliplr", "flipud", "float_power", "floor", "floor_divide",
    "fmax", "fmin", "fmod", "frexp", "full", "full_like", "gcd", "gelu", "geomspace", "getitem",
    "global_avg_pool", "global_max_pool", "glu", "gradient", "greater", "greater_equal",
    "group_norm", "hard_sigmoid", "hard_swish", "hard_tanh", "heaviside", "histogram",
    "histogram2d", "histogram_bin_edges", "histogramdd", "hsplit", "hstack", "hypot", "i0", "imag",
    "inner", "insert", "interp", "intersect1d", "invert", "isclose", "iscomplex", "iscomplexobj",
    "isfinite", "isin", "isinf", "isnan", "isneginf", "isposinf", "isreal", "isrealobj", "ix_",
    "kron", "layer_norm", "lcm", "ldexp", "leaky_relu", "left_shift",
    "less", "less_equal", "lexsort", "linspace", "log", "log10", "log1p", "log2", "log_sigmoid",
    "log_softmax", "logaddexp", "logaddexp2", "logical_and", "logical_not", "logical_or",
    "logical_xor", "logspace", "logsumexp", "matmul", "matrix_transpose", "matvec", "max",
    "max_pool", "maximum", "mean", "median", "meshgrid", "min", "minimum", "mish", "modf",
    "moveaxis", "multiply", "nan_to_num", "nanargmax", "nanargmin", "nancumprod", "nancumsum",
    "nanmax", "nanmean", "nanmedian", "nanmin", "nanpercentile", "nanprod", "nanquantile", "nanstd",
    "nansum", "nanvar", "negative", "nextafter", "nonzero", "not_equal", "outer", "pad",
    "partition", "percentile", "piecewise", "positive", "power", "prod", "ptp", "quantile",
    "rad2deg", "random_bits", "ravel", "ravel_multi_index", "real", "real_if_close", "reciprocal",
    "relu", "relu6", "remainder", "repeat", "reshape", "resize", "resize_images", "result_type",
    "right_shift", "rint", "rms_norm", "roll", "rollaxis", "rot90", "round", "searchsorted",
    "select", "selu", "set_at", "setdiff1d", "setxor1d", "sigmoid", "sign", "signbit", "silu",
    "sin", "sinc", "sinh", "sliding_window_view", "softmax", "softplus", "softsign", "sort",
    "sort_complex", "spacing", "split", "sqrt", "square", "squeeze", "stack", "standardize", "std",
    "stop_gradient", "subtract", "sum", "swapaxes", "swish", "take", "take_along_axis", "tan",
    "tanh", "tensordot", "tile", "trace", "transpose", "trapezoid", "tril", "trim_zeros", "triu",
    "trunc", "union1d", "unique", "unique_all", "unique_counts", "unique_inverse", "unique_values",
    "unravel_index", "unstack", "unwrap", "vander", "var", "vdot", "vecdot", "vecmat", "vsplit",
    "vstack", "where",
]
# fmt: on
