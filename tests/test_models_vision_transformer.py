"""Vision transformers against PyTorch in float64, under the names of timm and of torchvision."""

from __future__ import annotations

import numpy as np
import pytest
from torch_twins import assert_twins, close, rich, torch

import kinone as kn
from kinone import losses, models, optim, random, tree
from kinone.errors import WeightsError
from kinone.training import checkpoint

pytestmark = pytest.mark.oracle
functional = torch.nn.functional


class Attention(torch.nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = torch.nn.Linear(width, 3 * width)
        self.proj = torch.nn.Linear(width, width)

    def forward(self, x):
        n, t, c = x.shape
        qkv = self.qkv(x).reshape(n, t, 3, self.heads, c // self.heads)
        y = functional.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4).unbind(0))
        return self.proj(y.transpose(1, 2).reshape(n, t, c))


class Block(torch.nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1 = torch.nn.LayerNorm(width, 1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = torch.nn.LayerNorm(width, 1e-6)
        self.mlp = torch.nn.Module()
        self.mlp.fc1 = torch.nn.Linear(width, 4 * width)
        self.mlp.fc2 = torch.nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp.fc2(functional.gelu(self.mlp.fc1(self.norm2(x))))


class Twin(torch.nn.Module):
    """As in timm, for images of `patches` patches of 4 × 4."""

    def __init__(self, patches, *, width=192, heads=3, layers=12, classes=10):
        super().__init__()
        self.patch_embed = torch.nn.Module()
        self.patch_embed.proj = torch.nn.Conv2d(3, width, 4, 4)
        self.cls_token = torch.nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = torch.nn.Parameter(torch.zeros(1, patches + 1, width))
        self.blocks = torch.nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = torch.nn.LayerNorm(width, 1e-6)
        self.head = torch.nn.Linear(width, classes)

    def forward(self, x):
        x = self.patch_embed.proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


# What the twin's names become in other libraries.
OTHERS = {
    "torchvision": {
        "patch_embed.proj": "conv_proj",
        "cls_token": "class_token",
        "pos_embed": "encoder.pos_embedding",
        "blocks.": "encoder.layers.encoder_layer_",
        "norm1": "ln_1",
        "norm2": "ln_2",
        "attn.qkv.": "self_attention.in_proj_",
        "attn.proj": "self_attention.out_proj",
        "mlp.fc1": "mlp.0",
        "mlp.fc2": "mlp.3",
        "norm.": "encoder.ln.",
        "head.": "heads.head.",
    },
    "transformers": {
        "patch_embed.proj": "vit.embeddings.patch_embeddings.projection",
        "cls_token": "vit.embeddings.cls_token",
        "pos_embed": "vit.embeddings.position_embeddings",
        "blocks.": "vit.encoder.layer.",
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "attn.proj": "attention.output.dense",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
        "norm.": "vit.layernorm.",
        "head.": "classifier.",
    },
}


def renamed(weights, library):
    found = {}
    for name, tensor in weights.items():
        for timm, theirs in OTHERS[library].items():
            name = name.replace(timm, theirs)
        if library == "transformers" and "attn.qkv" in name:
            for part, each in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                found[name.replace("attn.qkv", f"attention.attention.{part}")] = each
        else:
            found[name] = tensor
    return found


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_every_gradient(layout):
    options = {"patch": 4, "num_classes": 10, "layout": layout, "num_layers": 3}
    twin = rich(Twin(6, layers=3))
    assert_twins("vit_tiny", twin, (2, 8, 12, 3), train=layout == "NHWC", **options)


@pytest.mark.slow
def test_every_gradient_of_a_larger_one():
    twin = rich(Twin(16, width=384, heads=6))
    assert_twins("vit_small", twin, (2, 16, 16, 3), train=True, patch=4, num_classes=10)


@pytest.mark.parametrize("library", OTHERS)
def test_names_of_other_libraries(library):
    twin = rich(Twin(4))
    weights = renamed(twin.state_dict(), library)
    options = {"patch": 4, "num_classes": 10, "x_shape": (1, 8, 8, 3)}
    model, params, state = models.load("vit_tiny", weights, **options)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3))
    close(model.apply(params, state, x)[0], twin(torch.tensor(x.transpose(0, 3, 1, 2))), "output")
    back = models.to_state_dict(params, state, names="vit_tiny", dialect=library)
    assert back.keys() == weights.keys()
    for name, tensor in weights.items():
        np.testing.assert_array_equal(back[name], tensor.numpy(), err_msg=name)


def test_positions_of_another_size_do_not_load():
    weights = Twin(4).state_dict()
    with pytest.raises(WeightsError, match=r"pos_embed is float32\[1, 5, 192\], expected float\[1"):
        models.load("vit_tiny", weights, patch=4, num_classes=10, x_shape=(1, 12, 8, 3))


def test_kernels_start_from_a_truncated_normal():
    params, _ = models.vit_tiny(10, patch=4).init(random.key(0), (1, 16, 16, 3))
    for path, leaf in tree.leaves_with_path(params):
        if path.endswith("kernel"):
            assert abs(leaf.std() / 0.02 - 1) < 5 / np.sqrt(leaf.size), path
            assert np.abs(leaf).max() < 0.0455, path


def test_going_on_from_a_checkpoint_compiled_or_not(tmp_path):
    """Dropout and dropped paths are of the step's own key, so a resumed run draws them again."""
    model = models.vision_transformer(
        3, patch=4, features=8, num_heads=2, num_layers=2, dropout=0.1, drop_path=0.2
    )
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype(np.float32)
    labels = np.array([0, 1, 2, 0])
    optimiser = optim.adamw(1e-3)

    def step(held, number):
        params, moments = held

        def loss_fn(params):
            key = random.key(5).fold_in(number)
            logits, _ = model.apply(params, {}, x, train=True, key=key)
            return np.mean(losses.softmax_cross_entropy_with_integer_labels(logits, labels))

        updates, moments = optimiser.update(kn.grad(loss_fn)(params), moments, params)
        return optim.apply_updates(params, updates), moments

    params, _ = model.init(random.key(0), x.shape)
    straight = compiled = like = params, optimiser.init(params)
    quick = kn.jit(step)
    for number in range(3):
        straight, compiled = step(straight, number), quick(compiled, number)
        if number == 0:
            checkpoint.save(tmp_path / "run.npz", straight)
    resumed = checkpoint.load(tmp_path / "run.npz", like=like).tree
    for number in (1, 2):
        resumed = step(resumed, number)
    for other in (compiled, resumed):
        for (path, a), (_, b) in zip(
            tree.leaves_with_path(straight), tree.leaves_with_path(other), strict=True
        ):
            np.testing.assert_array_equal(a, b, err_msg=path)
