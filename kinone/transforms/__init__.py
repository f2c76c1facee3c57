"""The transformations: functions of functions."""

from .batch import vmap
from .forward import jvp
from .gradient import grad, value_and_grad, vjp

__all__ = ["grad", "jvp", "value_and_grad", "vjp", "vmap"]
