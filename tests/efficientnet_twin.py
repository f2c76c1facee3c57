"""EfficientNet as PyTorch modules, from the paper's table, with EfficientNet-PyTorch's names."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

# Blocks, window, stride, widening, channels.
STAGES = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]


def hard_sigmoid(x):
    """PyTorch's own multiplies by a sixth in float32, whatever the dtype."""
    return functional.relu6(x + 3) / 6


ACTS = {
    "swish": functional.silu,
    "hard_swish": lambda x: x * hard_sigmoid(x),
    "relu6": functional.relu6,
    "relu": functional.relu,
}


def rounded(channels):
    whole = max(8, int(channels + 4) // 8 * 8)
    return whole + 8 if whole < 0.9 * channels else whole


class Conv(torch.nn.Conv2d):
    """With TensorFlow's padding, or with half the window at both ends."""

    def __init__(self, inputs, outputs, size, stride=1, groups=1, bias=False, same=True):
        padding = 0 if same else size // 2
        super().__init__(inputs, outputs, size, stride, padding, groups=groups, bias=bias)
        self.same = same

    def forward(self, x):
        if not self.same:
            return super().forward(x)
        (size, _), (stride, _) = self.kernel_size, self.stride
        ends = []
        for n in (x.shape[3], x.shape[2]):
            total = max((-(-n // stride) - 1) * stride + size - n, 0)
            ends += [total // 2, total - total // 2]
        return super().forward(functional.pad(x, ends))


class Block(torch.nn.Module):
    def __init__(self, inputs, outputs, size, stride, expansion, squeezed, act, norm, same):
        super().__init__()
        wide = inputs * expansion
        if expansion != 1:
            self._expand_conv, self._bn0 = Conv(inputs, wide, 1), norm(wide)
        self._depthwise_conv = Conv(wide, wide, size, stride, wide, same=same)
        self._bn1 = norm(wide)
        if squeezed:
            self._se_reduce = Conv(wide, squeezed, 1, bias=True)
            self._se_expand = Conv(squeezed, wide, 1, bias=True)
        self._project_conv, self._bn2 = Conv(wide, outputs, 1), norm(outputs)
        self.widens, self.squeezes = expansion != 1, bool(squeezed)
        self.skips = stride == 1 and inputs == outputs
        self.act = ACTS[act]
        self.gate = hard_sigmoid if act == "hard_swish" else torch.sigmoid

    def forward(self, x):
        y = self.act(self._bn0(self._expand_conv(x))) if self.widens else x
        y = self.act(self._bn1(self._depthwise_conv(y)))
        if self.squeezes:
            squeezed = self._se_reduce(y.mean((2, 3), keepdim=True))
            y = y * self.gate(self._se_expand(self.act(squeezed)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.skips else y


class EfficientNet(torch.nn.Module):
    def __init__(
        self,
        width,
        depth,
        classes,
        *,
        lite=False,
        act="swish",
        ratio=0.25,
        padding="tf",
        stride=2,
        momentum=0.01,
        epsilon=1e-3,
        channels=3,
    ):
        super().__init__()
        same = padding == "tf"

        def norm(features):
            return torch.nn.BatchNorm2d(features, momentum=momentum, eps=epsilon)

        inputs = 32 if lite else rounded(32 * width)
        self._conv_stem = Conv(channels, inputs, 3, stride, same=same)
        self._bn0 = norm(inputs)
        self._blocks = torch.nn.ModuleList()
        for i, (repeats, size, stride, expansion, channels) in enumerate(STAGES):
            fixed = lite and i in (0, len(STAGES) - 1)
            for j in range(repeats if fixed else math.ceil(depth * repeats)):
                outputs = rounded(channels * width)
                squeezed = max(1, int(inputs * ratio)) if ratio else 0
                step = 1 if j else stride
                self._blocks.append(
                    Block(inputs, outputs, size, step, expansion, squeezed, act, norm, same)
                )
                inputs = outputs
        outputs = 1280 if lite else rounded(1280 * width)
        self._conv_head, self._bn1 = Conv(inputs, outputs, 1), norm(outputs)
        self._fc = torch.nn.Linear(outputs, classes)
        self.act = ACTS[act]

    def forward(self, x):
        x = self.act(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return self._fc(self.act(self._bn1(self._conv_head(x))).mean((2, 3)))
