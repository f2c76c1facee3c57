"""The ONNX rules of every primitive, by family; importing this package fills them in."""

import importlib

from ... import ops

ops.load_all()  # families that load on first use have primitives, too

_NAMES = (
    "activation",
    "calls",
    "choice",
    "complex",
    "complex_choice",
    "contract",
    "control",
    "elementwise",
    "floats",
    "fourier",
    "index",
    "integers",
    "join",
    "linalg",
    "norm",
    "places",
    "pools",
    "random",
    "recurrent",
    "reduce",
    "running",
    "shape",
    "sort",
    "special",
    "windows",
)
FAMILIES = tuple([importlib.import_module(f"{__name__}.{name}") for name in _NAMES])
