"""The generated parts of docs/onnx-import.md: the operators, and the counts of the onnx tests.

`python tests/onnx_import_page.py` writes them anew, in about a minute.
"""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import onnx_backend

import kinone.onnx
from kinone.onnx.load import registry

PAGE = Path(__file__).parent.parent / "docs" / "onnx-import.md"

# Domains as the page calls them; all the operators of a domain stand in one paragraph.
DOMAINS = {
    "": "ai.onnx",
    "ai.onnx.ml": "ai.onnx.ml",
    "ai.onnx.preview": "ai.onnx.preview",
    "ai.onnx.preview.training": "ai.onnx.preview.training",
    "com.microsoft": "com.microsoft",
}


def operators() -> str:
    """The operators by domain, as a table of Markdown."""
    assert kinone.onnx.load
    lines = ["| domain | number | operators |", "|---|---:|---|"]
    for domain, title in DOMAINS.items():
        names = registry.names(domain)
        listed = ", ".join(f"`{name}`" for name in names)
        lines.append(f"| {title} | {len(names)} | {listed} |")
    return "\n".join(lines)


def missing() -> set[tuple[str, str]]:
    """The operators of the installed `onnx` that there are not."""
    return {
        (each.domain, each.name)
        for each in onnx.defs.get_all_schemas()
        if each.name not in registry.names(each.domain)
    }


def counts() -> str:
    """The counts of the onnx package's tests, and why some need not pass."""
    found = list(onnx_backend.outcomes())
    return f"{onnx_backend.table(found)}\n\n{onnx_backend.reasons(found)}"


def marked(name: str) -> re.Pattern[str]:
    """A generated part of the page: what stands between its marks."""
    return re.compile(rf"(?<=<!-- {name} -->\n\n).*?(?=\n\n<!-- end -->)", re.DOTALL)


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name, made in (("operators", operators()), ("counts", counts())):
        text = marked(name).sub(made.replace("\\", r"\\"), text)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
