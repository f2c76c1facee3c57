"""Array-in, array-out kernels of the heavy primitives: pure NumPy, channels last, no autodiff."""
