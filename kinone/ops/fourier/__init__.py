"""Fourier transforms: `np.fft` on traced values.

Three primitives, each along one axis; all are linear. The discrete Fourier transform, both ways, is
a symmetric matrix and its own transpose. `rfft` keeps the first half of the spectrum of real
numbers, for the second mirrors it; so the transpose of `irfft` counts what is mirrored twice, and
that of `rfft` halves it. The transforms over several axes go axis by axis, as NumPy's do.
"""

from .transforms import (
    fft,
    fft2,
    fftn,
    fftshift,
    hfft,
    ifft,
    ifft2,
    ifftn,
    ifftshift,
    ihfft,
    irfft,
    irfft2,
    irfftn,
    rfft,
    rfft2,
    rfftn,
)

__all__ = [
    "fft",
    "fft2",
    "fftn",
    "fftshift",
    "hfft",
    "ifft",
    "ifft2",
    "ifftn",
    "ifftshift",
    "ihfft",
    "irfft",
    "irfft2",
    "irfftn",
    "rfft",
    "rfft2",
    "rfftn",
]
