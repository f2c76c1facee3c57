"""NumPy's namespace, for those who like one: every function takes arrays and traced values.

`import kinone.numpy as np` instead of `import numpy as np` changes one thing: nested lists may hold
traced values, `np.array([x, 1.0])`. Nearly every other name *is* NumPy's own object, which asks a
traced value what to do; so plain `numpy` does as well, and results have NumPy's dtypes.

    >>> import numpy, kinone, kinone.numpy as np
    >>> np.tanh is numpy.tanh
    True
    >>> kinone.grad(lambda x: np.sum(np.array([x, 4.0]) ** 2))(3.0)
    np.float64(6.0)

It is also the namespace of the Python array API standard, 2024.12, as NumPy's is, and what
`x.__array_namespace__()` gives for a traced `x`. docs/numpy.md lists what every name does on traced
values; a name without a rule raises `MissingRuleError`, which tells the nearest one that has one.
"""

from typing import TYPE_CHECKING, Any

import numpy as _numpy

if TYPE_CHECKING:
    from numpy import *  # noqa: F403  # type checkers read NumPy's own annotations
else:
    from . import concatenators as _concatenators
    from . import fft, linalg, random
    from . import lists as _lists
    from . import standard as _standard

    _own = {
        **{k: v for k, v in vars(_numpy).items() if k in _numpy.__all__},
        **_lists.NEWER,
        **_lists.OF_ARRAYS,
        **_lists.OF_LISTS,
        **_lists.OF_VALUES,
        **{name: getattr(_lists, name) for name in _lists.MAKERS},
        **_concatenators.NAMES,
        **_standard.NAMES,
        "fft": fft,
        "linalg": linalg,
        "random": random,
    }
    globals().update(_own)
    __version__ = _numpy.__version__
    __array_api_version__ = "2024.12"
    __all__ = sorted({*_numpy.__all__, *_own} - {"__version__"})


def __getattr__(name: str) -> Any:
    if name in _numpy.__all__:  # a part of NumPy that is loaded when it is first asked for
        return getattr(_numpy, name)
    raise AttributeError(f"module 'kinone.numpy' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals()["__all__"], "__array_api_version__", "__version__"]
