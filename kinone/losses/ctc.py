"""Connectionist temporal classification: labels without their places in time."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import source
from ..core import Array, Tracer, shape_dtype
from ..errors import ShapeError
from ..ops import (
    astype,
    broadcast_to,
    concatenate,
    log_softmax,
    logaddexp,
    reshape,
    take_along_axis,
)
from ..transforms import scan
from .checks import checked_classes, integers, kept, reduced, require_floating


def ctc_loss(
    logits: Array,
    logit_paddings: Array,
    labels: Array,
    label_paddings: Array,
    *,
    blank_id: int = 0,
    log_epsilon: float = -1e5,
    reduction: str = "none",
) -> Array:
    """-ln of the probability that the frames spell the labels, over all alignments, per sequence.

    An alignment says one class, or the blank, in each frame; repeats are merged and blanks dropped,
    so that equal neighbours among the labels need a blank between them.

    - `logits`: floats `[batch, frames, classes]`, blank included; `logit_paddings`
      `[batch, frames]`: 1 (or true) for a frame that is padding, 0 for one that counts;
    - `labels`: integers `[batch, length]`; `label_paddings` likewise. Padding stands at the end.
      A sequence may have no labels: all blanks;
    - labels that do not fit into the frames are impossible. Their loss is about -`log_epsilon`
      (the stand-in for ln 0), not infinite, with finite gradients, as in optax;
    - `reduction="mean"` is the mean over sequences; it does not divide by the labels' lengths.

    In the log domain, O(frames · length) for each sequence.

        >>> import numpy as np
        >>> logits = np.log(np.array([[[0.4, 0.6], [0.4, 0.6]]]))      # two frames; blank, class 1
        >>> loss = ctc_loss(logits, np.zeros((1, 2)), np.array([[1]]), np.zeros((1, 1)))
        >>> np.exp(-loss).round(4)                                     # 11, 1_ or _1
        array([0.84])

    Source: Graves et al. 2006. Raises `ShapeError` when the shapes do not fit, `TypeError` for
    labels that are no integers, `IndexError` for a label that is no class.
    """
    name = "ctc_loss"
    inputs = (logits, logit_paddings, labels, label_paddings)
    loss, _ = _forward(name, *inputs, blank_id, log_epsilon, keep=False)
    return reduced(name, loss, reduction)


def ctc_loss_with_forward_probs(
    logits: Array,
    logit_paddings: Array,
    labels: Array,
    label_paddings: Array,
    *,
    blank_id: int = 0,
    log_epsilon: float = -1e5,
) -> tuple[Array, Array, Array]:
    """`ctc_loss` per sequence, and the forward probabilities that it comes from, as logarithms.

    Arguments as for `ctc_loss`. Second: `[frames, batch, length + 1]`, the probability that after
    so many frames n labels are done and a blank was last (in the last frame: whatever was last).
    Third: `[frames, batch, length]`, that label n was last.

        >>> import numpy as np
        >>> logits = np.log(np.array([[[0.4, 0.6], [0.4, 0.6]]]))
        >>> label, none = np.array([[1]]), np.zeros((1, 1))
        >>> loss, blank, last = ctc_loss_with_forward_probs(logits, np.zeros((1, 2)), label, none)
        >>> np.exp(last[:, 0, 0]).round(4)                             # _1 and 11, after two
        array([0.6, 0.6])

    Source: Graves et al. 2006. Raises what `ctc_loss` raises.
    """
    name = "ctc_loss_with_forward_probs"
    inputs = (logits, logit_paddings, labels, label_paddings)
    loss, (blanks, labelled) = _forward(name, *inputs, blank_id, log_epsilon, keep=True)
    ended = _joined(blanks[-1], labelled[-1])
    return loss, concatenate([blanks[:-1], ended[None]], axis=0), labelled


def _forward(
    name: str,
    logits: Array,
    logit_paddings: Array,
    labels: Array,
    label_paddings: Array,
    blank_id: int,
    log_epsilon: float,
    *,
    keep: bool,
) -> tuple[Array, Any]:
    """The losses, and after each frame what the recursion carries, if it is to be kept."""
    known = require_floating(name, "logits", logits)
    labels = integers(name, labels, "Write labels.astype(np.int64).")
    if len(known.shape) != 3 or len(labels.shape) != 2 or labels.shape[0] != known.shape[0]:
        raise ShapeError(
            f"{name}: logits {known} must be [batch, frames, classes] and labels "
            f"{shape_dtype(labels)} [batch, length], at {source.here()}"
        )
    batch, _, classes = known.shape
    length = labels.shape[1]
    if not 0 <= blank_id < classes:
        raise IndexError(f"{name}: blank_id={blank_id} is none of {classes}, at {source.here()}")
    frame_is_padding = _padding(name, "logit_paddings", logit_paddings, known.shape[:2])
    label_is_padding = _padding(name, "label_paddings", label_paddings, labels.shape)
    labels = checked_classes(name, kept(~label_is_padding, labels), classes)

    scores = log_softmax(logits, axis=-1)
    index = broadcast_to(labels[:, None, :], (batch, known.shape[1], length))
    says = take_along_axis(scores, astype(index, np.int64), axis=2)
    blank = scores[:, :, blank_id : blank_id + 1]
    impossible = np.asarray(log_epsilon, known.dtype)
    # Equal neighbours: the next label may not follow at once, only after a blank.
    repeats = np.concatenate(
        [labels[:, :-1] == labels[:, 1:], np.zeros((batch, min(length, 1)), bool)], axis=1
    )
    at_once = np.where(repeats, impossible, np.zeros_like(impossible))
    after_blank = np.where(repeats, np.zeros_like(impossible), impossible)

    # blanks[n]: n labels done and a blank last; labelled[n]: label n was the last.
    def frame(carry: Any, x: Any) -> Any:
        blanks, labelled = carry
        says_label, says_blank, is_padding = x
        ready = _joined(blanks, labelled + at_once)
        next_labelled = logaddexp(ready[:, :-1], labelled) + says_label
        next_blanks = _joined(ready + says_blank, labelled + says_blank + after_blank)
        still = is_padding[:, None]
        carry = np.where(still, blanks, next_blanks), np.where(still, labelled, next_labelled)
        return carry, carry if keep else ()

    start = np.full((batch, length + 1), impossible)
    start[:, 0] = 0
    frames = (
        np.transpose(says, (1, 0, 2)),
        np.transpose(blank, (1, 0, 2)),
        np.transpose(frame_is_padding),
    )
    (blanks, labelled), every = scan(frame, (start, np.full((batch, length), impossible)), frames)
    done = np.sum(astype(~label_is_padding, np.int64), axis=1)
    last = take_along_axis(_joined(blanks, labelled), done[:, None], axis=1)
    return -reshape(last, (batch,)), every


def _joined(before: Array, emitted: Array) -> Array:
    """Label n was the last: so many labels are done."""
    return concatenate([before[:, :1], logaddexp(before[:, 1:], emitted)], axis=1)


def _padding(name: str, what: str, paddings: Array, shape: tuple[int, ...]) -> Array:
    if np.shape(paddings) != tuple(shape):
        raise ShapeError(
            f"{name}: {what} has shape {np.shape(paddings)} and must have {tuple(shape)}, "
            f"at {source.here()}"
        )
    paddings = paddings if isinstance(paddings, Tracer) else np.asarray(paddings)
    return paddings != 0
