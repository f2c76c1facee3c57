"""What scripts written for HIPS autograd import from `autograd.misc`, under the same names."""

from .flatten import flatten

__all__ = ["flatten"]
