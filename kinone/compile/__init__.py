"""What `jit` does with a program: passes, a memory plan, NumPy source."""

from .jit import Jitted, jit
from .program import Compiled

__all__ = ["Compiled", "Jitted", "jit"]
