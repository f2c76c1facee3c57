"""Activation functions as layers, for a `Sequential`; as functions they are in `kinone.ops`."""

from __future__ import annotations

from collections.abc import Callable

from .. import ops
from ..core import Array
from .layer import Layer, stateless


def Activation(function: Callable[[Array], Array]) -> Layer:
    """Any function of one array as a layer without parameters.

    >>> import numpy as np
    >>> Activation(np.square).apply({}, {}, np.array([3.0]))
    (array([9.]), {})
    """
    return stateless(function, f"Activation({getattr(function, '__name__', 'function')})")


def Relu() -> Layer:
    """max(x, 0); its derivative at 0 is 0.

    >>> import numpy as np
    >>> Relu().apply({}, {}, np.array([-1.0, 2.0]))[0]
    array([0., 2.])
    """
    return stateless(ops.relu, "Relu()")


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
