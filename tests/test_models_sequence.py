"""Vision transformers, sequence classifiers and perceptrons: sizes, PyTorch's numbers, training."""

from __future__ import annotations

import numpy as np
import pytest

import kinone as kn
from kinone import errors, losses, models, nn, optim, random, tree
from kinone.training import checkpoint

torch = pytest.importorskip("torch")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def close(a, b, tolerance=1e-11):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


# ---- the vision transformer ----------------------------------------------------------------------

PUBLISHED = {
    models.vit_tiny: 5_717_416,
    models.vit_small: 22_050_664,
    models.vit_base: 86_567_656,
}


@pytest.mark.parametrize("make", PUBLISHED, ids=lambda make: make.__name__)
def test_published_numbers_of_parameters(make):
    shapes, _ = kn.eval_shape(lambda key: make().init(key, (1, 224, 224, 3)), random.key(0))
    assert sum(leaf.size for leaf in tree.leaves(shapes)) == PUBLISHED[make]


class Block(torch.nn.Module):
    """A block as timm has it: norm1, attn (qkv, proj), norm2, mlp (fc1, fc2)."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1 = torch.nn.LayerNorm(width, 1e-6)
        self.qkv = torch.nn.Linear(width, 3 * width)
        self.proj = torch.nn.Linear(width, width)
        self.norm2 = torch.nn.LayerNorm(width, 1e-6)
        self.fc1 = torch.nn.Linear(width, 4 * width)
        self.fc2 = torch.nn.Linear(4 * width, width)

    def forward(self, x):
        n, t, c = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(n, t, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.proj(y.transpose(1, 2).reshape(n, t, c))
        return x + self.fc2(torch.nn.functional.gelu(self.fc1(self.norm2(x))))


class Twin(torch.nn.Module):
    def __init__(self, classes, patch, width, heads, layers, patches, channels):
        super().__init__()
        self.patch_embed = torch.nn.Conv2d(channels, width, patch, patch)
        self.cls_token = torch.nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = torch.nn.Parameter(torch.zeros(1, patches + 1, width))
        self.blocks = torch.nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = torch.nn.LayerNorm(width, 1e-6)
        self.head = torch.nn.Linear(width, classes)

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


def in_torch(params):
    """The leaves of Kinone's tree under the names of `Twin`, in PyTorch's layout."""
    found = {
        "patch_embed.weight": params["patches"]["conv"]["kernel"].transpose(3, 2, 0, 1),
        "patch_embed.bias": params["patches"]["conv"]["bias"],
        "cls_token": params["class_token"]["embedding"][None, None],
        "pos_embed": params["positions"]["embedding"][None],
        "head.weight": params["head"]["kernel"].T,
        "head.bias": params["head"]["bias"],
    }

    def norm(name, weights):
        found[f"{name}.weight"], found[f"{name}.bias"] = weights["scale"], weights["bias"]

    def linear(name, *weights):
        found[f"{name}.weight"] = np.concatenate([each["kernel"].T for each in weights])
        found[f"{name}.bias"] = np.concatenate([each["bias"] for each in weights])

    for each, weights in params["encoder"].items():
        if each == "norm":
            norm("norm", weights)
            continue
        block = f"blocks.{each.removeprefix('layer')}"
        norm(f"{block}.norm1", weights["norm1"])
        norm(f"{block}.norm2", weights["norm2"])
        attention = weights["attention"]
        linear(f"{block}.qkv", *(attention[part] for part in ("query", "key", "value")))
        linear(f"{block}.proj", attention["out"])
        linear(f"{block}.fc1", weights["mlp"]["dense1"])
        linear(f"{block}.fc2", weights["mlp"]["dense2"])
    return found


def test_vision_transformer_equals_torch_in_every_gradient():
    model = models.vision_transformer(5, patch=4, features=12, num_heads=3, num_layers=2)
    x, g = normal(2, 8, 12, 2), normal(2, 5, seed=1)
    params, state = model.init(random.key(0), x)
    rng = np.random.default_rng(7)
    params = tree.map(lambda leaf: leaf + 0.2 * rng.normal(size=leaf.shape), params)
    twin = Twin(5, 4, 12, 3, 2, 6, 2).double()
    weights = in_torch(params)
    assert weights.keys() == dict(twin.named_parameters()).keys()
    twin.load_state_dict({name: torch.tensor(leaf) for name, leaf in weights.items()})

    y, pull = kn.vjp(lambda p, x: model.apply(p, state, x)[0], params, x)
    grads = pull(g)
    source = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
    expected = twin(source)
    close(y, expected.detach().numpy())
    expected.backward(torch.tensor(g))
    close(grads[1], source.grad.numpy().transpose(0, 2, 3, 1))
    ours = in_torch(grads[0])
    for name, leaf in twin.named_parameters():
        close(ours[name], leaf.grad.numpy())

    turned = models.vision_transformer(
        5, patch=4, features=12, num_heads=3, num_layers=2, layout="NCHW"
    )
    kernel = {"kernel": weights["patch_embed.weight"], "bias": weights["patch_embed.bias"]}
    turned_params = {**params, "patches": {"conv": kernel}}  # with the kernel, too, in its layout
    close(turned.apply(turned_params, state, x.transpose(0, 3, 1, 2))[0], y)


def test_vision_transformer_refuses_images_that_patches_do_not_fill():
    model = models.vision_transformer(5, patch=4, features=12, num_heads=3, num_layers=1)
    with pytest.raises(errors.ShapeError, match="multiples of 4"):
        model.init(random.key(0), (1, 8, 9, 3))
    params, state = model.init(random.key(0), (1, 8, 8, 3))
    with pytest.raises(errors.ShapeError, match="positions for 5"):
        model.apply(params, state, np.ones((1, 8, 12, 3), np.float32))


# ---- all: one batch is learned, and jit changes nothing ------------------------------------------

IMAGES = (normal(8, 8, 8, 3).astype(np.float32), np.arange(8) % 3)
SEQUENCES = (normal(8, 6, 4).astype(np.float32), np.arange(8) % 3)
WORDS = (np.random.default_rng(0).integers(0, 20, (8, 6)), np.arange(8) % 3)
MODELS = {
    "vit": (
        models.vision_transformer(
            3, patch=4, features=16, num_heads=2, num_layers=2, dropout=0.05, drop_path=0.05
        ),
        IMAGES,
    ),
    "vit mean": (
        models.vision_transformer(3, patch=4, features=16, num_heads=2, num_layers=1, pool="mean"),
        IMAGES,
    ),
    "lstm": (models.lstm_classifier(3, features=16, vocabulary=20, embedding=8), WORDS),
    "lstm max": (models.lstm_classifier(3, features=16, num_layers=2, pool="max"), SEQUENCES),
    "gru": (models.gru_classifier(3, features=16, bidirectional=True, pool="mean"), SEQUENCES),
    "mlp": (
        models.mlp((32, 16, 3), dropout=0.05, norm=nn.LayerNorm),
        (SEQUENCES[0][:, 0], WORDS[1]),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_overfits_one_batch_and_compiles(name):
    model, (x, labels) = MODELS[name]
    params, state = model.init(random.key(0), x)
    eager, _ = model.apply(params, state, x)
    np.testing.assert_array_equal(kn.jit(lambda x: model.apply(params, state, x)[0])(x), eager)
    optimizer = optim.adam(1e-2)
    memory = optimizer.init(params)

    @kn.jit
    def step(params, memory, key):
        def loss_fn(params):
            logits, _ = model.apply(params, state, x, train=True, key=key)
            return np.mean(losses.softmax_cross_entropy_with_integer_labels(logits, labels))

        loss, grads = kn.value_and_grad(loss_fn)(params)
        updates, memory = optimizer.update(grads, memory, params)
        return optim.apply_updates(params, updates), memory, loss

    before = None
    for i in range(80):
        params, memory, loss = step(params, memory, random.key(i))
        before = loss if before is None else before
    assert loss < 0.1 * before
    assert {leaf.dtype for leaf in tree.leaves(params)} == {np.dtype(np.float32)}
    assert np.array_equal(model.apply(params, state, x)[0].argmax(-1), labels)


@pytest.mark.parametrize("pool", ["last", "mean", "max"])
def test_padding_changes_nothing(pool):
    model = models.lstm_classifier(3, features=5, bidirectional=True, num_layers=2, pool=pool)
    x, lengths = normal(3, 6, 4), np.array([2, 6, 3])
    params, state = model.init(random.key(0), x)
    logits, _ = model.apply(params, state, {"x": x, "lengths": lengths})
    for i, length in enumerate(lengths):
        close(logits[i], model.apply(params, state, x[i : i + 1, :length])[0][0], 1e-12)
    masked, _ = model.apply(params, state, {"x": x, "mask": np.arange(6) < lengths[:, None]})
    np.testing.assert_array_equal(masked, logits)


def test_classifier_learns_sequences_of_any_length_and_resumes(tmp_path):
    """Which of two words comes first; a run that stops and goes on is the run that does not."""
    model = models.lstm_classifier(2, features=16, vocabulary=6, embedding=8)
    rng = np.random.default_rng(0)

    def batch(count):
        lengths = rng.integers(4, 11, count)
        words = rng.integers(2, 6, (count, 10))
        first, second = np.array([sorted(rng.permutation(n)[:2]) for n in lengths]).T
        labels = rng.integers(0, 2, count)
        words[np.arange(count), first] = labels
        words[np.arange(count), second] = 1 - labels
        # What stands behind the end must not matter: it says the opposite.
        words = np.where(np.arange(10) < lengths[:, None], words, 1 - labels[:, None])
        return {"x": words, "lengths": lengths}, labels

    batches = [batch(32) for _ in range(150)]
    params, _ = model.init(random.key(0), batches[0][0])
    optimizer = optim.adam(1e-2)

    @kn.jit
    def step(params, memory, x, labels):
        def loss_fn(params):
            logits, _ = model.apply(params, {}, x, train=True)
            return np.mean(losses.softmax_cross_entropy_with_integer_labels(logits, labels))

        updates, memory = optimizer.update(kn.grad(loss_fn)(params), memory, params)
        return optim.apply_updates(params, updates), memory

    def run(params, memory, some):
        for x, labels in some:
            params, memory = step(params, memory, x, labels)
        return params, memory

    memory = optimizer.init(params)
    whole, _ = run(params, memory, batches)
    half = run(params, memory, batches[:75])
    checkpoint.save(tmp_path / "half.npz", half)
    restored = checkpoint.load(tmp_path / "half.npz", like=half).tree
    resumed, _ = run(*restored, batches[75:])
    for a, b in zip(tree.leaves(resumed), tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(a, b)

    x, labels = batch(200)
    logits, _ = model.apply(whole, {}, x)
    assert np.mean(logits.argmax(-1) == labels) > 0.97


def test_wrong_options():
    with pytest.raises(ValueError, match="pool='middle'"):
        models.gru_classifier(3, pool="middle")
    with pytest.raises(ValueError, match="pool='cls'"):
        models.vision_transformer(3, pool="cls")
    with pytest.raises(ValueError, match="sizes of its layers"):
        models.mlp(())
