"""Patterns of paths: `*` is any text within one name, `**` any names.

They select the leaves of an optimiser's mask and rename the leaves of a checkpoint.
"""

from __future__ import annotations

import functools
import re


def matches(pattern: str, path: str) -> bool:
    """Whether a leaf's path fits a pattern: `*` is any text within one name, `**` any names.

    >>> matches("**/kernel", "layers/0/kernel"), matches("**/kernel", "kernel")
    (True, True)
    >>> matches("layers/*", "layers/0/kernel"), matches("layers/**", "layers/0/kernel")
    (False, True)
    """
    return _compiled(pattern).fullmatch(path) is not None


def renamed(old: str, new: str, path: str) -> str | None:
    """The path with what fits `old` written as in `new`, or None where it does not fit.

    The wildcards of `new` stand, in their order, for what those of `old` met.

        >>> renamed("encoder/**", "body/**", "encoder/0/kernel")
        'body/0/kernel'
        >>> renamed("layers.*.weight", "layers/*/kernel", "layers.3.weight")
        'layers/3/kernel'

    Raises `ValueError` when the two have not the same wildcards in the same order.
    """
    if wildcards(old) != wildcards(new):
        raise ValueError(f"{old!r} and {new!r} have not the same wildcards in the same order")
    found = _compiled(old).fullmatch(path)
    if found is None:
        return None
    met = iter(found.groups())
    # A `**` may have met no name at all; then its slash goes with it.
    names = [re.sub(r"\*\*?", lambda _: next(met).strip("/"), name) for name in new.split("/")]
    return "/".join(
        name for name, written in zip(names, new.split("/"), strict=True) if name or written != "**"
    )


def wildcards(pattern: str) -> list[str]:
    """The wildcards of a pattern, in their order.

    >>> wildcards("**/conv*/kernel")
    ['**', '*']
    """
    return re.findall(r"\*\*?", pattern)


@functools.lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    # "**/" stands for any number of names and their slashes, so it may be nothing; "/**" at the
    # end likewise.
    text = re.escape(pattern)
    text = text.replace(r"\*\*/", "((?:[^/]+/)*)").replace(r"/\*\*", "((?:/.*)?)")
    text = text.replace(r"\*\*", "(.*)").replace(r"\*", "([^/]*)")
    return re.compile(text)
