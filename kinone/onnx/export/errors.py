"""What export raises."""

from __future__ import annotations

from ...errors import KinoneError


class ExportError(KinoneError, ValueError):
    """A program that cannot be written as ONNX; the message names the line, the primitive and why.

    It is raised before anything is written.
    """


class NoRuleError(ExportError):
    """A primitive that has no ONNX rule, or none for these operands, whatever the sizes are."""


class VerificationError(ExportError):
    """An exported model that does not compute what the function computes; the message is a table.

    It is raised before the model is written to its file.
    """
