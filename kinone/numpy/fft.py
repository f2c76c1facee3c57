"""NumPy's `fft`, the same functions: they take traced values as they are.

`fftfreq` and `rfftfreq` take a dtype, as in the array API standard.
"""

from typing import TYPE_CHECKING

import numpy.fft as _fft

from . import standard as _standard

if TYPE_CHECKING:
    from numpy.fft import *  # noqa: F403
else:
    globals().update({name: getattr(_fft, name) for name in _fft.__all__})
    fftfreq, rfftfreq = _standard.fftfreq, _standard.rfftfreq

__all__ = [*_fft.__all__]
