"""The functions of ONNX's operators, by family; importing this package declares them."""

import importlib
import pkgutil

# Every file of this folder is a family.
FAMILIES = tuple(
    [importlib.import_module(f"{__name__}.{each.name}") for each in pkgutil.iter_modules(__path__)]
)
