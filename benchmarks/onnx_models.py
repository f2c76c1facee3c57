"""Imported models beside ONNX Runtime: time and memory of real ones and of the `onnx` package's.

`python -m benchmarks.onnx_models [NAME …]`, one thread each. Real models are looked for in the
folder `KINONE_DATA`, or in `shared/data` beside the repository, and left out where there are none.
"""

from __future__ import annotations

import ast
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

import kinone as kn
import kinone.onnx

from .harness import Row, compare, milliseconds, python, show

ROOT = Path(__file__).parents[1]
REAL = ("ppocr_cls_mobilenetv3", "magika_v3_3", "silero_vad_16k_sequence")
LIGHT = ("light_shufflenet", "light_squeezenet", "light_densenet121", "light_resnet50")

# The most memory that a process of its own takes, in megabytes, beyond the model's file. (Linux.)
_MEMORY = """
import re
from benchmarks.onnx_models import found, model_and_inputs
import kinone as kn, kinone.onnx, onnxruntime
model, inputs = model_and_inputs(found({name!r}))
def kept(): return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
before = kept()
if {runtime}:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    feed = dict(zip([port.name for port in session.get_inputs()], inputs))
    session.run(None, feed)
else:
    fn, params = kn.onnx.load(model)
    fn(params, *inputs)
print(kept() - before)
"""


def found(name: str) -> Path | None:
    """Where a model's file is."""
    if name in REAL:
        data = Path(os.environ.get("KINONE_DATA", ROOT.parent / "shared" / "data"))
        path = data / "onnx" / f"{name}.onnx"
    else:
        path = Path(onnx.__file__).parent / "backend/test/data/light" / f"{name}.onnx"
    return path if path.exists() else None


def model_and_inputs(path: Path | None) -> tuple[Any, list[Any]]:
    """The model, with random weights where it has weights of one number, and inputs for it."""
    assert path is not None
    model, rng = onnx.load(path), np.random.default_rng(0)
    initial = {each.name: each for each in model.graph.initializer}
    ports = [each for each in model.graph.input if each.name not in initial]
    stored = path.with_name(f"{path.stem}_io.npz")
    if stored.exists():
        arrays = np.load(stored)
        return model, [arrays[f"in_{port.name}"] for port in ports]
    nodes = [node for node in model.graph.node if node.op_type != "ConstantOfShape"]
    for node in model.graph.node:
        if node.op_type == "ConstantOfShape":
            shape = tuple(numpy_helper.to_array(initial[node.input[0]]))
            weight = rng.normal(size=shape) * np.sqrt(2 / max(1, np.prod(shape[1:])))
            weight = weight if len(shape) > 1 else rng.uniform(0.5, 1.5, shape)
            tensor = numpy_helper.from_array(weight.astype(np.float32), node.output[0])
            model.graph.initializer.append(tensor)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    sizes = [[d.dim_value for d in port.type.tensor_type.shape.dim] for port in ports]
    return model, [rng.normal(size=shape).astype(np.float32) for shape in sizes]


def main(names: tuple[str, ...] = ()) -> list[Row]:
    rows = []
    for name in names or (*REAL, *LIGHT):
        path = found(name)
        if path is None:
            continue
        model, inputs = model_and_inputs(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        feed = dict(zip([port.name for port in session.get_inputs()], inputs, strict=True))
        fn, params = kn.onnx.load(model)
        timings = compare(
            {
                "eager": partial(fn, params, *inputs),
                "jit": partial(kn.jit(fn), params, *inputs),
                "ONNX Runtime": partial(session.run, None, feed),
            },
            turns=10,
            pause=0.005,
        )
        show(name, timings)
        ours, theirs = (
            float(ast.literal_eval(python(_MEMORY.format(name=name, runtime=runtime))))
            for runtime in (False, True)
        )
        print(f"  memory {ours:.0f} MB, of ONNX Runtime {theirs:.0f} MB")
        rows.append(
            Row(
                name,
                milliseconds(timings["jit"].seconds),
                f"ONNX Runtime {milliseconds(timings['ONNX Runtime'].seconds)}",
                timings["jit"].ratio,
            )
        )
    return rows


if __name__ == "__main__":
    main(tuple(sys.argv[1:]))
