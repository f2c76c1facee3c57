"""NumPy's `random`, the same functions, for scripts that were written with them.

What they draw is a constant to every transformation, and they refuse a traced value: write
`mean + scale * random.normal(size=n)`. They keep their state out of sight, which a compiled
function cannot follow; `kinone.random` draws from explicit keys and has neither of these limits.
"""

from typing import TYPE_CHECKING

import numpy.random as _random

if TYPE_CHECKING:
    from numpy.random import *  # noqa: F403
else:
    globals().update({name: getattr(_random, name) for name in _random.__all__})

__all__ = [*_random.__all__]
