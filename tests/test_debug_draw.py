"""`debug.draw`: the boxes and arrows are those of the program, and the picture is well laid out."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import debug
from kinone.debug.figure import Figure, figure_of
from kinone.debug.layout import GAP, layout_of
from kinone.errors import KinoneError

W = {"w": np.ones((4, 3)), "b": np.zeros(3)}
X = np.ones((2, 4))


def net(p: Any, x: Any) -> Any:
    return np.mean(np.tanh(x @ p["w"] + p["b"]) ** 2)


def deep(p: Any, x: Any) -> Any:
    h = x @ p["w"]
    for _ in range(4):
        h = h + np.tanh(1.0 - h * p["b"])
    return {"sum": np.sum(h), "mean": np.mean(h, axis=0)}


def names(figure: Figure, kind: str, *, backward: bool) -> list[str]:
    return [b.name for b in figure.boxes if b.kind == kind and b.backward == backward]


def test_boxes_and_edges() -> None:
    figure = figure_of(net, (W, X), False, None)
    assert names(figure, "input", backward=False) == ["p/b", "p/w", "x"]
    assert names(figure, "operation", backward=False) == ["matmul", "add", "tanh", "power", "mean"]
    assert names(figure, "output", backward=False) == ["result"]
    titles = [box.title for box in figure.boxes]
    edges = {(titles[a], titles[b]) for a, b in figure.edges()}
    assert edges == {
        ("x", "matmul"),
        ("p/w", "matmul"),
        ("matmul", "add"),
        ("p/b", "add"),
        ("add", "tanh"),
        ("tanh", "power(·, 2)"),
        ("power(·, 2)", "mean"),
        ("mean", "result"),
    }


def test_the_backward_pass_is_told_apart() -> None:
    figure = figure_of(net, (W, X), True, 0)
    assert names(figure, "operation", backward=False) == ["matmul", "add", "tanh", "power", "mean"]
    assert names(figure, "output", backward=True) == ["gradient of p/b", "gradient of p/w"]
    backward = names(figure, "operation", backward=True)
    assert backward.count("matmul") == 1
    assert "sum" in backward
    assert not set(backward) & {"tanh", "mean"}
    # Nothing flows from the backward pass into the forward one.
    for start, end in figure.edges():
        assert figure.boxes[end].backward or not figure.boxes[start].backward
    everything = figure_of(net, (W, X), True, None)
    assert "gradient of x" in names(everything, "output", backward=True)


def test_a_graph_and_its_mistakes() -> None:
    program = kn.graph(net)(W, X)
    assert str(debug.draw(program)) == str(debug.draw(net, W, X))
    with pytest.raises(KinoneError, match="function and its arguments"):
        debug.draw(program, backward=True)
    with pytest.raises(ValueError, match=r"not 'png', at .*test_debug_draw\.py"):
        debug.draw(net, W, X, format="png")  # type: ignore[arg-type]


def test_text() -> None:
    lines = str(debug.draw(net, W, X)).splitlines()
    assert lines[0] == "net"
    assert lines[1] == "result = #5"
    assert re.match(r"#5 mean #4: float64\[\] +.*test_debug_draw\.py:\d+  np\.mean", lines[2])
    assert lines[3].startswith("#4 power #3 2: float64[2,3]")
    assert lines[6].startswith("#1 matmul x p/w: float64[2,3]")
    both = str(debug.draw(net, W, X, backward=True))
    assert "⇠ #" in both
    assert "gradient of p/w = #" in both
    # Side branches are indented, and every operation stands there once.
    text = str(debug.draw(deep, W, X))
    assert "├─ #" in text
    count = len(kn.graph(deep)(W, X).equations)
    rows = [line for line in text.splitlines() if re.match(r"[│├─ ]*#\d+ ", line)]
    assert len(rows) == count
    assert "subtract 1" in text


def test_mermaid_and_dot() -> None:
    mermaid = str(debug.draw(net, W, X, format="mermaid", backward=True))
    assert mermaid.startswith("flowchart TD")
    assert "-.->" in mermaid
    assert " --> " in mermaid
    assert 'power(·, 2)<br/><small>float64[2,3]</small>"' in mermaid
    assert "class n" in mermaid
    dot = str(debug.draw(net, W, X, format="dot", backward=True))
    assert dot.startswith('digraph "net" {')
    assert dot.endswith("}")
    assert "[style=dashed]" in dot
    assert "style=dotted" in dot
    assert dot.count("{") == dot.count("}")
    assert "dashed" not in str(debug.draw(net, W, X, format="dot"))


def update(p: Any, x: Any) -> Any:
    """Computes on with the gradient: forward operations after the backward pass."""
    return kn.tree.map(lambda w, g: w - 0.1 * g, p, kn.grad(net)(p, x))


def test_a_program_that_holds_a_gradient_is_marked_by_itself() -> None:
    figure = figure_of(update, (W, X), False, None)
    assert "tanh" in names(figure, "operation", backward=False)
    assert names(figure, "operation", backward=False)[-2:] == ["multiply", "subtract"]
    assert "matmul" in names(figure, "operation", backward=True)
    gradient = figure_of(kn.graph(kn.grad(net))(W, X), (), False, None)
    assert names(gradient, "output", backward=True) == ["b", "w"]


@pytest.mark.parametrize("f", [net, deep, update], ids=["net", "deep", "update"])
@pytest.mark.parametrize("backward", [False, True])
def test_layout(f: Any, backward: bool) -> None:
    figure = figure_of(f, (W, X), backward, None)
    layout = layout_of(figure)
    assert sorted(p.box for p in layout.points if p.box is not None) == list(
        range(len(figure.boxes))
    )
    rows: dict[int, list[Any]] = {}
    for point in layout.points:
        rows.setdefault(point.layer, []).append(point)
    for row in rows.values():
        row.sort(key=lambda point: point.x)
        for a, b in itertools.pairwise(row):
            assert b.x - b.width / 2 - (a.x + a.width / 2) >= GAP - 1e-6, "boxes overlap"
    for arrow in layout.arrows:
        if arrow.residual:
            continue
        steps = [b.layer - a.layer for a, b in itertools.pairwise(arrow.way)]
        assert set(steps) == ({-1} if arrow.way[-1].upward else {1}), "an arrow turns round"
    if any(point.upward for point in layout.points):
        right = min(p.x - p.width / 2 for p in layout.points if p.upward)
        assert right > max(p.x + p.width / 2 for p in layout.points if not p.upward)


def test_svg_is_well_formed(tmp_path: Path) -> None:
    drawing = debug.draw(net, W, X, format="svg", backward=True)
    root = ElementTree.fromstring(str(drawing))
    assert root.tag.endswith("svg")
    figure = figure_of(net, (W, X), True, None)
    texts = [each.text for each in root.iter() if each.get("class") == "name"]
    assert sorted(texts) == sorted(box.title for box in figure.boxes)
    rects = [each for each in root.iter() if each.tag.endswith("rect") and each.get("class")]
    dashed = [each for each in rects if "backward" in each.get("class", "")]
    assert len(dashed) == sum(box.backward for box in figure.boxes)
    arrows = [each for each in root.iter() if "arrow" in each.get("class", "")]
    assert len(arrows) == len(figure.edges())
    width = float(root.get("width", "0"))
    assert all(float(each.get("x", "0")) >= 0 for each in rects)
    assert all(float(r.get("x", "0")) + float(r.get("width", "0")) <= width for r in rects)
    assert drawing._repr_svg_() == str(drawing)
    assert debug.draw(net, W, X)._repr_svg_() is None
    drawing.save(tmp_path / "net.svg")
    assert ElementTree.parse(tmp_path / "net.svg").getroot().tag == root.tag


def test_what_has_to_be_escaped() -> None:
    figure = str(debug.draw(lambda x: x["a<b"] * 2.0, {"a<b": np.ones(2)}, format="svg"))
    ElementTree.fromstring(figure)
    assert "x/a&lt;b" in figure


def test_results_that_are_no_operation() -> None:
    for format in ("text", "mermaid", "dot", "svg"):
        drawn = str(debug.draw(lambda x: (x, 3.0, np.ones(2)), 1.0, format=format))  # type: ignore[arg-type]
        assert "3" in drawn
    assert "print" in str(debug.draw(lambda x: debug.print(x), X))
    ElementTree.fromstring(str(debug.draw(lambda: 2.0, format="svg")))
