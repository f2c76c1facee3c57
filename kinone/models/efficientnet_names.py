"""What the layers of an EfficientNet are called in the state dicts of PyTorch's libraries.

| library              | a block's depthwise convolution              | blocks are counted      |
|----------------------|----------------------------------------------|-------------------------|
| EfficientNet-PyTorch | `_blocks.3._depthwise_conv`                  | through                 |
| torchvision          | `features.3.0.block.1.0`: the place in a row | in each stage, from 1   |
| timm                 | `blocks.2.0.conv_dw`                         | in each stage, from 0   |

The packages for the Lite networks have the names of EfficientNet-PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .weights_names import Dialects, Names

# Names in EfficientNet-PyTorch; the norms are numbered as if there were always an `expand`.
_PARTS = {
    "expand/conv": "_expand_conv",
    "expand/bn": "_bn0",
    "depthwise/conv": "_depthwise_conv",
    "depthwise/bn": "_bn1",
    "squeeze/reduce": "_se_reduce",
    "squeeze/expand": "_se_expand",
    "project/conv": "_project_conv",
    "project/bn": "_bn2",
}
# Names in timm, where a block without `expand` is one of another kind.
_TIMM_SQUEEZE = {"squeeze/reduce": "se.conv_reduce", "squeeze/expand": "se.conv_expand"}
_TIMM_WIDENING = {
    "expand/conv": "conv_pw",
    "expand/bn": "bn1",
    "depthwise/conv": "conv_dw",
    "depthwise/bn": "bn2",
    "project/conv": "conv_pwl",
    "project/bn": "bn3",
    **_TIMM_SQUEEZE,
}
_TIMM_PLAIN = {
    "depthwise/conv": "conv_dw",
    "depthwise/bn": "bn1",
    "project/conv": "conv_pw",
    "project/bn": "bn2",
    **_TIMM_SQUEEZE,
}


def _blocks(paths: Sequence[str]) -> Iterator[tuple[int, int, list[str]]]:
    """Each block's stage, its number there, and its layers in the order of work, as `"squeeze"`."""
    held: dict[tuple[int, int], set[str]] = {}
    for path in paths:
        stage, *rest = path.split("/")
        if stage.startswith("stage"):
            place = int(stage.removeprefix("stage")), int(rest[0].removeprefix("block"))
            held.setdefault(place, set()).add(rest[1])
    for (i, j), layers in sorted(held.items()):
        yield (
            i,
            j,
            [each for each in ("expand", "depthwise", "squeeze", "project") if each in layers],
        )


def _efficientnet_pytorch(paths: Sequence[str]) -> Names:
    names = {
        "stem/conv": "_conv_stem",
        "stem/bn": "_bn0",
        "top/conv": "_conv_head",
        "top/bn": "_bn1",
        "head": "_fc",
    }
    for number, (i, j, layers) in enumerate(_blocks(paths)):
        for ours, theirs in _PARTS.items():
            if ours.partition("/")[0] in layers:
                names[f"stage{i}/block{j}/{ours}"] = f"_blocks.{number}.{theirs}"
    return names


def _torchvision(paths: Sequence[str]) -> Names:
    names = {"stem/conv": "features.0.0", "stem/bn": "features.0.1", "head": "classifier.1"}
    stages = 0
    for i, j, layers in _blocks(paths):
        stages = max(stages, i)
        for k, layer in enumerate(layers):
            inside = ("reduce", "expand") if layer == "squeeze" else ("conv", "bn")
            modules = ("fc1", "fc2") if layer == "squeeze" else ("0", "1")
            for ours, theirs in zip(inside, modules, strict=True):
                names[f"stage{i}/block{j}/{layer}/{ours}"] = f"features.{i}.{j}.block.{k}.{theirs}"
    names["top/conv"], names["top/bn"] = f"features.{stages + 1}.0", f"features.{stages + 1}.1"
    return names


def _timm(paths: Sequence[str]) -> Names:
    names = {
        "stem/conv": "conv_stem",
        "stem/bn": "bn1",
        "top/conv": "conv_head",
        "top/bn": "bn2",
        "head": "classifier",
    }
    for i, j, layers in _blocks(paths):
        for ours, theirs in (_TIMM_WIDENING if "expand" in layers else _TIMM_PLAIN).items():
            if ours.partition("/")[0] in layers:
                names[f"stage{i}/block{j}/{ours}"] = f"blocks.{i - 1}.{j}.{theirs}"
    return names


_MAKERS: dict[str, Callable[[Sequence[str]], Names]] = {
    "efficientnet_pytorch": _efficientnet_pytorch,
    "torchvision": _torchvision,
    "timm": _timm,
}
DIALECTS: Dialects = _MAKERS


def implied(name: str) -> dict[str, dict[str, Any]]:
    """The options with which a library trained the network of this name, where they are not the
    defaults. Of timm nothing is known: `tf_…` has the defaults, others have torchvision's."""
    narrow = name in ("efficientnet_b5", "efficientnet_b6", "efficientnet_b7")
    norm = {} if narrow else {"epsilon": 1e-5, "momentum": 0.1}
    return {"torchvision": {"padding": "torch", **norm}}
