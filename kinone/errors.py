"""Every error type of Kinone, each with the text that explains it.

An error keeps the exception type that NumPy or Python would have raised (a shape error *is a*
`ValueError`, an integer passed to `grad` *is a* `TypeError`), so existing `except` clauses go on
working. Its message names the user's file and line, the leaf's path in its tree, and the fix.
"""

from __future__ import annotations


class KinoneError(Exception):
    """Base class of Kinone's own error types.

    Where NumPy's or Python's type says it all (`IndexError`, `ValueError`), that one is raised.
    """


class ShapeError(KinoneError, ValueError):
    """Operands whose shapes do not fit together, such as `(32, 784) @ (10, 784)`."""


class TreeError(KinoneError, ValueError):
    """Two trees that ought to have the same structure and have not; the message is their diff."""


class LeafError(KinoneError, TypeError):
    """A leaf of a tree that is neither an array nor a number, such as a string or a function."""


class GradientError(KinoneError, TypeError):
    """A question that has no derivative: a loss that is not a scalar, an integer argument."""


class TracerConversionError(KinoneError, TypeError):
    """A traced value that was asked for its number: `float(x)`, `x.item()`, `np.asarray(x)`.

    Under differentiation the number would be a constant, and the gradient would be cut without a
    word. Under graph tracing there is no number yet.
    """


class TracerAssignmentError(KinoneError, TypeError):
    """An assignment into a traced value; `x = x.at[i].set(v)` is the functional form."""


class LeakedTracerError(KinoneError, RuntimeError):
    """A traced value used after the transformation that made it had returned."""


class MissingRuleError(KinoneError, TypeError, NotImplementedError):
    """A NumPy function, or a derivative, for which Kinone has no rule."""


class BatchError(KinoneError, ValueError):
    """Axes that `vmap` cannot map over: of different lengths, not there, or not said."""


class ControlFlowError(KinoneError, TypeError):
    """A loop or branch whose parts do not fit: a carry that changes, branches that differ."""


class RetraceError(KinoneError, RuntimeError):
    """A jitted function that would be traced more often than allowed, or for other arguments."""


class StaticArgumentError(KinoneError, ValueError):
    """A static argument that cannot be part of a signature, or that the function does not have."""


class CheckpointError(KinoneError, ValueError):
    """A checkpoint that is damaged, of another model, or not a checkpoint at all."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint whose bytes are not those that were saved; an older one may still be whole."""


class WeightsError(CheckpointError):
    """Weights of another library that do not fit a model, or stand in a file that is not read."""


class CheckpointWarning(UserWarning):
    """A checkpoint that was passed over, since it is damaged."""


class KeyReuseWarning(UserWarning):
    """A random key consumed twice: the two draws are the same numbers, not independent ones."""


class BatchLoopWarning(UserWarning):
    """A primitive without a batching rule, which `vmap` calls once for each example."""


class UndefinedMetricWarning(UserWarning):
    """A metric, or a class of it, that the data do not define: an AUC without a positive example.

    The message names the classes that were left out, or what stands in their place.
    """
