"""Checks of derivatives: `check_grads` for a function, `check_primitive` for a primitive's rules.

>>> import numpy as np
>>> from kinone.testing import check_grads
>>> check_grads(lambda x: np.sum(np.tanh(x) ** 2), (np.array([0.3, -1.0]),), order=2)
"""

from .gradients import check_grads, numeric_jvp
from .rules import check_primitive

__all__ = ["check_grads", "check_primitive", "numeric_jvp"]
