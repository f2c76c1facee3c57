"""What is said beside the function: checked before anything is traced."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx

from ... import source
from .errors import ExportError

DEFAULT_OPSET = 21  # the newest that ONNX Runtime 1.19 loads
OPSETS = range(17, onnx.defs.onnx_opset_version() + 1)


def check_options(
    *,
    path: Any,
    fold: Any,
    names: Any,
    dynamic: Any,
    input_layout: Any,
    opset: Any,
    metadata: Any,
    external_data: Any,
) -> None:
    """Raises `ExportError` for an option of another form than its own."""

    def is_not(option: str, value: object, form: str) -> ExportError:
        return ExportError(f"{option}={value!r:.80} is not {form}, at {source.here()}")

    if type(opset) is not int or opset not in OPSETS:
        raise ExportError(
            f"opset={opset!r} is not among {OPSETS[0]} … {OPSETS[-1]}, at {source.here()}"
        )
    if not isinstance(fold, (str, list, tuple, set, frozenset)) or not all(
        isinstance(each, str) for each in fold
    ):
        raise is_not("fold", fold, 'a name or several: ("params", "state")')
    if names is not None and not isinstance(names, Mapping):
        raise is_not("names", names, 'a dict: {"x": "image", "output": "logits"}')
    if metadata is not None and not isinstance(metadata, Mapping):
        raise is_not("metadata", metadata, "a dict")
    if input_layout is not None and not isinstance(input_layout, (str, Mapping)):
        raise is_not("input_layout", input_layout, '"NCHW", or a dict: {"x": "NCHW"}')
    if dynamic is not None:
        form = 'a dict of axes by input: {"x": {0: "batch"}} or {"x": ("batch", None)}'
        if not isinstance(dynamic, Mapping):
            raise is_not("dynamic", dynamic, form)
        for axes in dynamic.values():
            indices = list(axes) if isinstance(axes, Mapping) else [0]
            if not isinstance(axes, (Mapping, list, tuple)) or any(
                type(axis) is not int for axis in indices
            ):
                raise is_not("dynamic", dynamic, form)
    if external_data and path is None:
        raise ExportError(
            f"external_data stands in a file beside the model's: give path=…, at {source.here()}"
        )


def cases_of(verify: Any, args: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """The tuples of arguments on which the model is to be verified."""
    if verify is None or verify is False:
        return []
    if verify is True:
        return [args]
    cases = [verify] if isinstance(verify, tuple) else verify
    if not isinstance(cases, list) or not all(isinstance(case, tuple) for case in cases):
        raise ExportError(
            f"verify is a tuple of arguments, a list of such tuples, or True, and not "
            f"{type(verify).__name__}, at {source.here()}"
        )
    return cases


def check_function(fun: Any) -> None:
    """Raises `ExportError` unless there is a function to export."""
    if not callable(fun):
        raise ExportError(
            f"onnx.export wants a function, and got a {type(fun).__name__}, at {source.here()}\n"
            "  Write onnx.export(f, x), not onnx.export(f(x)); of a layer, export a function "
            "that calls its apply."
        )


def properties_of(
    normalization: Mapping[str, Any] | None, metadata: Mapping[str, Any] | None
) -> dict[str, str]:
    """The user's own metadata, as texts."""
    found = {}
    if normalization is not None:
        found["kinone.normalization"] = json.dumps(dict(_normalization(normalization)))
    for key, value in (metadata or {}).items():
        if not str(key) == key or key.startswith("kinone."):
            raise ExportError(
                f"metadata has the key {key!r}; keys are texts, and those that begin with "
                f"'kinone.' are Kinone's own, at {source.here()}"
            )
        try:
            found[key] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        except (TypeError, ValueError) as error:
            raise ExportError(
                f"metadata[{key!r}] is no text: {error}, at {source.here()}"
            ) from None
    return found


def _normalization(given: Any) -> Iterator[tuple[str, list[float]]]:
    if not isinstance(given, Mapping) or set(given) != {"mean", "std"}:
        has = sorted(map(str, given)) if isinstance(given, Mapping) else repr(given)[:60]
        raise ExportError(
            f"normalization wants 'mean' and 'std', a dict, and has {has}, at {source.here()}"
        )
    for key in ("mean", "std"):
        numbers = np.atleast_1d(np.asarray(given[key], np.float64))
        if (
            numbers.ndim != 1
            or not np.isfinite(numbers).all()
            or (key == "std" and (numbers <= 0).any())
        ):
            raise ExportError(
                f"normalization[{key!r}] is {given[key]!r:.60}; it is a number or one for each "
                f"channel{', above 0' if key == 'std' else ''}, at {source.here()}"
            )
        yield key, [float(number) for number in numbers]
