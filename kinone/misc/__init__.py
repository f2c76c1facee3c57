"""What scripts written for HIPS autograd import from `autograd.misc`, under the same names."""

from .fixed_points import fixed_point
from .flatten import flatten
from .tracers import const_graph

__all__ = ["const_graph", "fixed_point", "flatten"]
