"""Programs inside of programs that run once: composites, checkpoints, functions with own rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...transforms import collectives
from ...transforms.custom_reverse import custom_vjp_call
from ..export.builder import Builder
from ..export.merge import Step
from ..export.rules import Lowered, cannot, composites, lowers, write


@lowers("composite")
def _composite(b: Builder, step: Step, *operands: Lowered) -> Sequence[Any]:
    rule = composites.get(step.params["name"])
    if rule is not None and not step.params["captured"]:
        found = rule(b, step, *operands)
        if found is not None:
            return found if isinstance(found, tuple) else (found,)
    return write(b, step.params["program"], operands)


@lowers("custom_jvp", "checkpoint")
def _call(b: Builder, step: Step, *operands: Lowered) -> Sequence[Any]:
    return write(b, step.params["program"], operands)


custom_vjp_call.onnx = _call  # which is not in the registry, as its rules are the user's


@lowers("barrier")
def _barrier(b: Builder, step: Step, *operands: Lowered) -> Sequence[Any]:
    """In a graph there is no order but that of needing."""
    return operands


@lowers("print", "check")
def _effect(b: Builder, step: Step, *operands: Lowered) -> Sequence[Any]:
    b.note(f"kinone.debug.{step.primitive.name} is left out")
    return ()


for _primitive in (collectives.psum_p, collectives.pmax_p, collectives.ppermute_p):
    cannot("it wants an axis that vmap names; export the function with its vmap", _primitive.name)
