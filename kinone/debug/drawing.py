"""`draw`: a program, and its backward pass, as a figure of a textbook."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import escape

from .. import source
from ..graph import Graph
from .figure import Box, Figure, figure_of
from .layout import HEIGHT, ROW, Arrow, Point, layout_of

Format = Literal["text", "mermaid", "dot", "svg"]


class Drawing:
    """A finished drawing: `print` it, `save` it, or let a notebook show it."""

    def __init__(self, text: str, format: Format) -> None:
        self.text = text
        self.format = format

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def save(self, path: str | Path) -> None:
        """Writes the drawing to a file."""
        Path(path).write_text(self.text + "\n", encoding="utf-8")

    def _repr_svg_(self) -> str | None:
        return self.text if self.format == "svg" else None


def draw(
    what: Graph | Callable[..., Any],
    *args: Any,
    format: Format = "text",
    backward: bool = False,
    argnums: int | Sequence[int] | None = None,
) -> Drawing:
    """A drawing of a graph, or of a function traced with `args`.

    `format` is "text" (a tree of the operations, for a terminal), "mermaid" (for Markdown), "dot"
    (for Graphviz) or "svg" (a picture of its own, which a notebook shows). With `backward` the
    backward pass with respect to the arguments `argnums` (all of them by default) is drawn too:
    the forward run solid, the backward pass dashed, and what it keeps of the forward run dotted.

    Raises `ValueError` for another format.

        >>> import numpy as np
        >>> drawing = draw(lambda x: np.sum(np.tanh(x) ** 2), np.ones(3))
        >>> [line.split("  ")[0] for line in str(drawing).splitlines()]
        ['<lambda>', 'result = #3', '#3 sum #2: float64[]', '#2 power #1 2: float64[3]', \
'#1 tanh x: float64[3]']
    """
    writers: dict[str, Callable[[Figure], str]] = {
        "text": _text,
        "mermaid": _mermaid,
        "dot": _dot,
        "svg": _svg,
    }
    if format not in writers:
        raise ValueError(
            f"draw knows the formats {', '.join(writers)}, not {format!r}, at {source.here()}"
        )
    return Drawing(writers[format](figure_of(what, args, backward, argnums)), format)


# ---- text ----------------------------------------------------------------------------------------


def _text(figure: Figure) -> str:
    boxes = figure.boxes
    order = [i for i, box in enumerate(boxes) if box.kind == "operation"]
    numbers = {i: n for n, i in enumerate(order, 1)}

    def named(i: int) -> str:
        return f"#{numbers[i]}" if i in numbers else boxes[i].name

    rows: list[tuple[str, str]] = []
    drawn: set[int] = set()

    def follow(i: int, prefix: str) -> None:
        """The operation, then what it takes: side branches indented, the last one straight on."""
        while True:
            box = boxes[i]
            drawn.add(i)
            operands = " ".join([a if isinstance(a, str) else named(a) for a in box.arguments])
            mark = "⇠ " if box.backward else ""
            rows.append((f"{prefix}{mark}{named(i)} {box.name} {operands}: {box.note}", box.place))
            new = [j for j in dict.fromkeys(box.operands) if j in numbers and j not in drawn]
            if not new:
                return
            for j in new[:-1]:
                if j not in drawn:
                    branch(j, prefix)
            if new[-1] in drawn:
                return
            i = new[-1]

    def branch(i: int, prefix: str) -> None:
        before = len(rows)
        follow(i, prefix + "│  ")
        text, place = rows[before]
        rows[before] = (f"{prefix}├─ {text[len(prefix) + 3 :]}", place)

    for box in boxes:
        if box.kind == "output":
            rows.append((f"{box.name}{''.join(f' = {named(i)}' for i in box.operands)}", ""))
            for i in box.operands:
                if i in numbers and i not in drawn:
                    follow(i, "")
    for i in order:  # effects, which no result needs
        if i not in drawn:
            follow(i, "")
    width = min(max((len(text) for text, _ in rows), default=0), 72)
    lines = [f"{text.ljust(width)}  {place}".rstrip() for text, place in rows]
    return "\n".join([figure.name, *lines])


# ---- other programs' languages -------------------------------------------------------------------


def _mermaid(figure: Figure) -> str:
    lines = ["flowchart TD"]
    for i, box in enumerate(figure.boxes):
        label = f"{box.title}<br/><small>{box.note}</small>".replace('"', "#quot;")
        left, right = {"operation": ("(", ")"), "output": ("[[", "]]")}.get(box.kind, ("[", "]"))
        lines.append(f'    n{i}{left}"{label}"{right}')
    dashed = [f"n{i}" for i, box in enumerate(figure.boxes) if box.backward]
    for start, end in figure.edges():
        arrow = "-.->" if figure.boxes[end].backward else "-->"
        lines.append(f"    n{start} {arrow} n{end}")
    if dashed:
        lines.append("    classDef backward stroke-dasharray: 5 4")
        lines.append(f"    class {','.join(dashed)} backward")
    return "\n".join(lines)


def _dot(figure: Figure) -> str:
    def quoted(text: str) -> str:
        return text.replace("\\", "\\\\").replace('"', '\\"')

    lines = [
        f'digraph "{quoted(figure.name)}" {{',
        '    node [fontname="Helvetica", fontsize=11, shape=box, style=rounded];',
    ]
    for i, box in enumerate(figure.boxes):
        style = {"operation": "rounded", "output": "bold"}.get(box.kind, "filled")
        style += ",dashed" if box.backward else ""
        label = f"{quoted(box.title)}\\n{quoted(box.note)}"
        tip = f', tooltip="{quoted(box.place)}"' if box.place else ""
        lines.append(f'    n{i} [label="{label}", style="{style}", fillcolor="#eeeeee"{tip}];')
    for start, end in figure.edges():
        backward = figure.boxes[end].backward
        kept = backward and not figure.boxes[start].backward
        style = (
            " [style=dotted, constraint=false]" if kept else " [style=dashed]" if backward else ""
        )
        lines.append(f"    n{start} -> n{end}{style};")
    return "\n".join([*lines, "}"])


# ---- a picture -----------------------------------------------------------------------------------

_MARGIN = 24.0
_STYLE = (
    "text{font-family:Helvetica,Arial,sans-serif;text-anchor:middle;fill:#111}"
    ".name{font-size:13px}.note{font-size:11px;fill:#666}"
    "rect{fill:#fff;stroke:#111;stroke-width:1.3}.input,.constant{fill:#f0f0ee;stroke:#999}"
    ".output{stroke-width:2.4}.backward{stroke-dasharray:5 4}"
    "path.arrow{fill:none;stroke:#111;stroke-width:1.3;marker-end:url(#head)}"
    "path.backward{stroke-dasharray:5 4}"
    "path.residual{stroke:#9a9a9a;stroke-width:1;stroke-dasharray:1.5 3;marker-end:url(#grey)}"
)


def _svg(figure: Figure) -> str:
    layout = layout_of(figure)
    width = max((p.x + p.width / 2 for p in layout.points), default=0.0) + 2 * _MARGIN
    height = max((p.y for p in layout.points), default=0.0) + HEIGHT + 2 * _MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}">',
        f"<title>{escape(figure.name)}</title><style>{_STYLE}</style>",
        f"<defs>{_head('head', '#111')}{_head('grey', '#9a9a9a')}</defs>",
        f'<rect width="{width:.0f}" height="{height:.0f}" style="stroke:none"/>',
        f'<g transform="translate({_MARGIN:.0f} {_MARGIN + HEIGHT / 2:.0f})">',
    ]
    lines += [_arrow(arrow) for arrow in layout.arrows]
    lines += [_box(figure.boxes[p.box], p) for p in layout.points if p.box is not None]
    return "\n".join([*lines, "</g>", "</svg>"])


def _head(name: str, colour: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0 0.8 L8 4 L0 7.2 z" fill="{colour}"/></marker>'
    )


def _box(box: Box, point: Point) -> str:
    corner = HEIGHT / 2 if box.kind in ("input", "constant") else 6
    kinds = f"{box.kind} backward" if box.backward else box.kind
    return (
        f"<g><title>{escape(box.place or box.name)}</title>"
        f'<rect class="{kinds}" x="{point.x - point.width / 2:.1f}" y="{point.y - HEIGHT / 2:.1f}" '
        f'width="{point.width:.1f}" height="{HEIGHT:.0f}" rx="{corner:.0f}"/>'
        f'<text class="name" x="{point.x:.1f}" y="{point.y - 2:.1f}">{escape(box.title)}</text>'
        f'<text class="note" x="{point.x:.1f}" y="{point.y + 13:.1f}">{escape(box.note)}</text></g>'
    )


def _arrow(arrow: Arrow) -> str:
    start, *middle, end = arrow.way
    if arrow.residual:
        # From the right side of the one to the left side of the other.
        x1, y1 = start.x + start.width / 2, start.y
        x2, y2 = end.x - end.width / 2, end.y
        bend = max((x2 - x1) / 2, 20.0)
        path = f"M{x1:.1f} {y1:.1f} C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} "
        return f'<path class="arrow residual" d="{path}{x2:.1f} {y2:.1f}"/>'
    down = 1 if end.y >= start.y else -1
    stops = [(start.x, start.y + down * HEIGHT / 2), *[(p.x, p.y) for p in middle]]
    stops.append((end.x, end.y - down * HEIGHT / 2))
    path = f"M{stops[0][0]:.1f} {stops[0][1]:.1f}"
    for (x1, y1), (x2, y2) in itertools.pairwise(stops):
        bend = min(abs(y2 - y1), ROW) * 0.45 * down
        path += f" C{x1:.1f} {y1 + bend:.1f} {x2:.1f} {y2 - bend:.1f} {x2:.1f} {y2:.1f}"
    kind = "arrow backward" if arrow.backward else "arrow"
    return f'<path class="{kind}" d="{path}"/>'
