"""How a state dict fits a model: what was loaded, and a message that says all that was not."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import NamedTuple


class Mismatch(NamedTuple):
    """A tensor of another shape or kind than its place has; both sides in PyTorch's layout."""

    path: str
    tensor: str
    found: str
    wanted: str


class Report(NamedTuple):
    """What `load_state_dict(…, strict=False)` did; printed, one line for each name.

    `loaded` and `skipped` are paths of leaves, `missing` pairs of a path and the name that was
    looked for, `unexpected` names of the state dict that have no place. What is missing or
    mismatched kept its value.
    """

    loaded: tuple[str, ...]
    missing: tuple[tuple[str, str], ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[Mismatch, ...]
    skipped: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether everything had its place."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        lines = [f"{len(self.loaded)} loaded"]
        if self.skipped:
            lines.append(f"{len(self.skipped)} skipped: {', '.join(self.skipped)}")
        absent = [name for _, name in self.missing]
        groups = {
            "of another shape or dtype": [
                f"{path}: {tensor} is {found}, expected {wanted}"
                for path, tensor, found, wanted in self.mismatched
            ],
            "missing": [
                f"{path}: no {name}{_nearest(name, self.unexpected)}" for path, name in self.missing
            ],
            "unexpected": [f"{name}{_nearest(name, absent)}" for name in self.unexpected],
        }
        for title, entries in groups.items():
            if entries:
                lines.append(f"{len(entries)} {title}:")
                lines += [f"  {each}" for each in entries]
        return "\n".join(lines)


def _nearest(name: str, others: Sequence[str]) -> str:
    """The name that may have been meant. Many odd names are another model, not a slip."""
    found = difflib.get_close_matches(name, set(others), 1, 0.8) if len(others) <= 20 else []
    return f" (is it {found[0]}?)" if found else ""
