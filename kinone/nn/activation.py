"""Activation functions as layers, for a `Sequential`; as functions they are in `kinone.ops`."""

from __future__ import annotations

from collections.abc import Callable

from .. import ops, source
from ..core import Array, ShapeDtype, shape_error, shape_of
from ..ops.spatial import channels_first
from ..random import Key
from .initializers import constant
from .layer import (
    Layer,
    Params,
    State,
    describe,
    entries,
    parameter_dtype,
    real_number,
    stateless,
)


def Activation(function: Callable[[Array], Array]) -> Layer:
    """Any function of one array as a layer without parameters.

    >>> import numpy as np
    >>> Activation(np.square).apply({}, {}, np.array([3.0]))
    (array([9.]), {})
    """
    exact = any(function is each for each in (ops.relu, ops.relu6))
    return stateless(
        function,
        f"Activation({getattr(function, '__name__', 'function')})",
        "exact" if exact else "general",
    )


def Relu() -> Layer:
    """max(x, 0); its derivative at 0 is 0.

    >>> import numpy as np
    >>> Relu().apply({}, {}, np.array([-1.0, 2.0]))[0]
    array([0., 2.])
    """
    return stateless(ops.relu, "Relu()", "exact")


def Sigmoid() -> Layer:
    """1 / (1 + e⁻ˣ), between 0 and 1.

    >>> import numpy as np
    >>> Sigmoid().apply({}, {}, np.array([0.0]))[0]
    array([0.5])
    """
    return stateless(ops.sigmoid, "Sigmoid()")


def Tanh() -> Layer:
    """tanh x, between -1 and 1.

    >>> import numpy as np
    >>> Tanh().apply({}, {}, np.array([0.0, 1.0]))[0]
    array([0.        , 0.76159416])
    """
    return stateless(ops.tanh, "Tanh()")


def Swish() -> Layer:
    """x · sigmoid(x), smooth, and slightly negative on the left; also called SiLU
    (Ramachandran et al. 2017, arXiv:1710.05941).

    >>> import numpy as np
    >>> Swish().apply({}, {}, np.array([0.0, 1.0]))[0]
    array([0.        , 0.73105858])
    """
    return stateless(ops.swish, "Swish()")


Silu = Swish


def HardSigmoid() -> Layer:
    """min(max(x + 3, 0), 6) / 6: the sigmoid in three straight pieces, made for small devices.

    >>> import numpy as np
    >>> HardSigmoid().apply({}, {}, np.array([0.0, 3.0]))[0]
    array([0.5, 1. ])
    """
    return stateless(ops.hard_sigmoid, "HardSigmoid()")


def HardSwish() -> Layer:
    """x · hard_sigmoid(x) (Howard et al. 2019, arXiv:1905.02244).

    >>> import numpy as np
    >>> HardSwish().apply({}, {}, np.array([0.0, 3.0]))[0]
    array([0., 3.])
    """
    return stateless(ops.hard_swish, "HardSwish()")


def Softmax(axis: int = -1) -> Layer:
    """exp(xᵢ) / Σⱼ exp(xⱼ): probabilities along an axis. The losses take logits, without this.

    >>> import numpy as np
    >>> Softmax().apply({}, {}, np.array([0.0, 0.0]))[0]
    array([0.5, 0.5])
    """
    return stateless(lambda x: ops.softmax(x, axis=axis), f"Softmax({axis})")


def Relu6() -> Layer:
    """min(max(x, 0), 6); its derivative at 0 and at 6 is 0.

    >>> import numpy as np
    >>> Relu6().apply({}, {}, np.array([-1.0, 2.0, 8.0]))[0]
    array([0., 2., 6.])
    """
    return stateless(ops.relu6, "Relu6()", "exact")


def LeakyRelu(negative_slope: float = 0.01) -> Layer:
    """x where x > 0, else negative_slope · x.

    >>> import numpy as np
    >>> LeakyRelu(0.1).apply({}, {}, np.array([-10.0, 2.0]))[0]
    array([-1.,  2.])
    """
    negative_slope = real_number(negative_slope, "negative_slope")
    return stateless(
        lambda x: ops.leaky_relu(x, negative_slope),
        describe("LeakyRelu", negative_slope=(negative_slope, 0.01)),
    )


def PRelu(*, negative_slope_init: float = 0.25, shared: bool = True, layout: str = "NHWC") -> Layer:
    """x where x > 0, else slope · x, with a slope that is learned.

    `params["negative_slope"]` has one number, or with `shared=False` one for each channel, (C,);
    it starts at `negative_slope_init`. Any shape; channels are last, or second with
    `layout="NCHW"`.

    Raises `ShapeError` when the channels do not fit.

    Source: He et al. 2015, arXiv:1502.01852.

        >>> import numpy as np
        >>> from kinone import random
        >>> params, state = PRelu().init(random.key(0), (1, 2))
        >>> PRelu().apply(params, state, np.array([[-4.0, 2.0]]))[0]
        array([[-1.,  2.]])
    """
    name = describe(
        "PRelu",
        negative_slope_init=(negative_slope_init, 0.25),
        shared=(shared, True),
        layout=(layout, "NHWC"),
    )
    place = 1 if channels_first(layout) else -1

    def init(key: Key, x: ShapeDtype) -> tuple[Params, State]:
        if not shared and x.ndim < 2:
            raise shape_error(name, "PRelu wants an axis of examples and one of channels", x)
        shape = (1,) if shared else (x.shape[place],)
        start = constant(negative_slope_init)
        return {"negative_slope": start(key["negative_slope"], shape, parameter_dtype(x))}, {}

    def apply(
        params: Params, state: State, x: Array, train: bool, key: Key | None
    ) -> tuple[Array, State]:
        (slope,) = entries(params, name, negative_slope=(None,))
        shape = shape_of(x)
        if shape_of(slope) != ((1,) if shared else shape[place:][:1]):
            raise shape_error(name, "the slopes are not those of the input's channels", x, slope)
        if shared:
            slope = slope.reshape(())
        elif place == 1:
            slope = slope.reshape(-1, *[1] * (len(shape) - 2))
        return ops.leaky_relu(x, slope), state

    return Layer(init, apply, name)


def Elu(alpha: float = 1.0) -> Layer:
    """x where x > 0, else alpha · (eˣ - 1) (Clevert et al. 2015, arXiv:1511.07289).

    >>> import numpy as np
    >>> Elu().apply({}, {}, np.array([-1e4, 2.0]))[0]
    array([-1.,  2.])
    """
    alpha = real_number(alpha, "alpha")
    return stateless(lambda x: ops.elu(x, alpha), describe("Elu", alpha=(alpha, 1.0)))


def Celu(alpha: float = 1.0) -> Layer:
    """x where x > 0, else alpha · (e^(x/alpha) - 1), smooth for every alpha (Barron 2017,
    arXiv:1704.07483).

    >>> import numpy as np
    >>> Celu(2.0).apply({}, {}, np.array([-1e4, 2.0]))[0]
    array([-2.,  2.])
    """
    if (alpha := real_number(alpha, "alpha")) == 0:
        raise ValueError(f"alpha=0 divides by zero: Relu() is the limit, at {source.here()}")
    return stateless(lambda x: ops.celu(x, alpha), describe("Celu", alpha=(alpha, 1.0)))


def Gelu(approximate: bool = False) -> Layer:
    """x Φ(x), Φ the share of a normal distribution below x; `approximate` is GPT-2's form with tanh
    (Hendrycks & Gimpel 2016, arXiv:1606.08415).

    >>> import numpy as np
    >>> Gelu().apply({}, {}, np.array([0.0, 1.0]))[0].round(6)
    array([0.      , 0.841345])
    """
    return stateless(
        lambda x: ops.gelu(x, approximate), describe("Gelu", approximate=(approximate, False))
    )


def Softplus(beta: float = 1.0) -> Layer:
    """ln(1 + e^(beta x)) / beta: relu with a rounded corner, the sharper the larger beta is.

    >>> import numpy as np
    >>> Softplus().apply({}, {}, np.array([0.0, 1e4]))[0].round(4)
    array([6.931e-01, 1.000e+04])
    """
    if (beta := real_number(beta, "beta")) == 0:
        raise ValueError(
            f"beta=0 divides by zero: a softplus wants a positive beta, at {source.here()}"
        )
    if beta == 1:
        return stateless(ops.softplus, "Softplus()")
    return stateless(lambda x: ops.softplus(x * beta) / beta, f"Softplus(beta={beta!r})")


def HardTanh(minimum: float = -1.0, maximum: float = 1.0) -> Layer:
    """x kept between two bounds; beyond and at them the slope is 0.

    >>> import numpy as np
    >>> HardTanh().apply({}, {}, np.array([-4.0, 0.5]))[0]
    array([-1. ,  0.5])
    """
    minimum, maximum = real_number(minimum, "minimum"), real_number(maximum, "maximum")
    if minimum >= maximum:
        raise ValueError(f"minimum={minimum} is not below maximum={maximum}, at {source.here()}")
    return stateless(
        lambda x: ops.hard_tanh(x, minimum, maximum),
        describe("HardTanh", minimum=(minimum, -1.0), maximum=(maximum, 1.0)),
        "exact",
    )


def LogSoftmax(axis: int = -1) -> Layer:
    """ln softmax(x) along an axis.

    >>> import numpy as np
    >>> LogSoftmax().apply({}, {}, np.array([0.0, 1000.0]))[0]
    array([-1000.,     0.])
    """
    return stateless(lambda x: ops.log_softmax(x, axis=axis), f"LogSoftmax({axis})")


def Glu(axis: int = -1) -> Layer:
    """a · sigmoid(b), where a and b are the halves of x along an axis (Dauphin et al. 2017,
    arXiv:1612.08083).

    >>> import numpy as np
    >>> Glu().apply({}, {}, np.array([3.0, 0.0]))[0]
    array([1.5])
    """
    return stateless(lambda x: ops.glu(x, axis=axis), f"Glu({axis})")


def Selu() -> Layer:
    """1.0507 · elu(x, 1.6733), which keeps mean 0 and variance 1 (Klambauer et al. 2017,
    arXiv:1706.02515).

    >>> import numpy as np
    >>> Selu().apply({}, {}, np.array([-1e4, 1.0]))[0].round(4)
    array([-1.7581,  1.0507])
    """
    return stateless(ops.selu, "Selu()")


def Mish() -> Layer:
    """x · tanh(softplus(x)) (Misra 2019, arXiv:1908.08681).

    >>> import numpy as np
    >>> Mish().apply({}, {}, np.array([0.0, 1.0]))[0].round(4)
    array([0.    , 0.8651])
    """
    return stateless(ops.mish, "Mish()")


def Softsign() -> Layer:
    """x / (1 + |x|).

    >>> import numpy as np
    >>> Softsign().apply({}, {}, np.array([-1.0, 3.0]))[0]
    array([-0.5 ,  0.75])
    """
    return stateless(ops.softsign, "Softsign()")


def LogSigmoid() -> Layer:
    """ln sigmoid(x), with all digits where the sigmoid underflows.

    >>> import numpy as np
    >>> LogSigmoid().apply({}, {}, np.array([-1e4, 0.0]))[0].round(4)
    array([-1.000e+04, -6.931e-01])
    """
    return stateless(ops.log_sigmoid, "LogSigmoid()")
