"""ONNX both ways: `export` any function that can be traced, `load` any model as a function.

Needs the extra `kinone[onnx]`.
"""

try:
    import onnx as _onnx
except ImportError as error:
    raise ImportError('kinone.onnx needs onnx: pip install "kinone[onnx]"') from error

from .export.api import export
from .export.errors import ExportError, VerificationError
from .load.api import Model, load
from .load.registry import LoadError, operator
from .verify import Deviation, Verification, verify

__all__ = [
    "Deviation",
    "ExportError",
    "LoadError",
    "Model",
    "Verification",
    "VerificationError",
    "export",
    "load",
    "operator",
    "verify",
]

assert _onnx is not None
