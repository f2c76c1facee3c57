"""NumPy's `linalg`, the same functions: they take traced values as they are.

`norm` takes lists that hold traced values, too.
"""

from typing import TYPE_CHECKING

import numpy.linalg as _linalg

from . import lists as _lists

if TYPE_CHECKING:
    from numpy.linalg import *  # noqa: F403
else:
    globals().update({name: getattr(_linalg, name) for name in _linalg.__all__})
    norm = _lists.trying_again(_linalg.norm, _lists.gathered)

__all__ = [*_linalg.__all__]
