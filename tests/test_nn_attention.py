"""Attention, positions and transformer layers against PyTorch in float64, and step by step."""

from __future__ import annotations

import numpy as np
import pytest

import kinone as kn
from kinone import errors, nn, random, tree

torch = pytest.importorskip("torch")
F = torch.nn.functional


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def close(a, b, tolerance=1e-12):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def leaf(x):
    return torch.tensor(x, requires_grad=True)


def double(*shape):
    return kn.ShapeDtype(shape, np.float64)


# ---- the function --------------------------------------------------------------------------------

MASK = np.random.default_rng(3).random((2, 1, 5, 7)) < 0.6
MASK[:, :, :, 0] = True


@pytest.mark.parametrize("mask", [None, MASK])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_function_equals_torch(mask, causal, kv_heads):
    q, k, v = (
        normal(2, 4, 5, 3),
        normal(2, kv_heads, 7, 3, seed=1),
        normal(2, kv_heads, 7, 6, seed=2),
    )
    g = normal(2, 4, 5, 6, seed=4)
    y, pull = kn.vjp(lambda *qkv: nn.dot_product_attention(*qkv, mask, causal), q, k, v)
    theirs = [leaf(each) for each in (q, k, v)]
    allowed = np.ones((5, 7), bool) if mask is None else mask
    allowed = allowed & np.tri(5, 7, dtype=bool) if causal else allowed
    expected = F.scaled_dot_product_attention(
        *theirs, attn_mask=torch.tensor(allowed), enable_gqa=kv_heads != 4
    )
    close(y, expected.detach().numpy())
    expected.backward(torch.tensor(g))
    for grad, each in zip(pull(g), theirs, strict=True):
        close(grad, each.grad.numpy())


def test_scale_and_bias():
    q, k, v, bias = normal(5, 3), normal(7, 3), normal(7, 2), normal(5, 7, seed=9)
    expected = F.scaled_dot_product_attention(
        *(torch.tensor(each)[None] for each in (q, k, v)), attn_mask=torch.tensor(bias), scale=0.3
    )
    close(nn.dot_product_attention(q, k, v, scale=0.3, bias=bias), expected[0].numpy())


def test_a_query_without_keys_takes_zeros_and_gives_no_gradient():
    q, k, v = normal(2, 3), normal(4, 3), normal(4, 3)
    mask = np.array([[False] * 4, [True] * 4])
    g = normal(2, 3, seed=1)
    y, pull = kn.vjp(lambda *qkv: nn.dot_product_attention(*qkv, mask), q, k, v)
    close(y[0], 0)
    assert np.any(y[1] != 0)
    only_second = kn.vjp(nn.dot_product_attention, q[1:], k, v)[1](g[1:])
    grads = pull(g)
    close(grads[0][0], 0)
    for a, b in zip(grads[1:], only_second[1:], strict=True):
        close(a, b)


def test_hidden_keys_do_not_matter_however_large():
    q, k, v = normal(2, 3), normal(4, 3), normal(4, 3)
    mask = np.array([True, True, False, True])
    loud = k.copy()
    loud[2] = 1e30
    close(nn.dot_product_attention(q, loud, v, mask), nn.dot_product_attention(q, k, v, mask), 0)
    small = nn.dot_product_attention(*(x.astype(np.float32) for x in (q, k, v)), mask)
    assert small.dtype == np.float32


def test_second_order_and_forward_mode():
    q, k, v = normal(3, 2), normal(4, 2), normal(4, 2)
    mask = np.tri(3, 4, 1, dtype=bool)
    kn.testing.check_grads(lambda *qkv: nn.dot_product_attention(*qkv, mask), (q, k, v), order=2)


def test_bad_input():
    q, k, v = normal(2, 4, 5, 3), normal(2, 4, 7, 3), normal(2, 4, 7, 3)
    with pytest.raises(TypeError, match="booleans are wanted"):
        nn.dot_product_attention(q, k, v, np.ones((5, 7)))
    with pytest.raises(errors.ShapeError, match="does not broadcast"):
        nn.dot_product_attention(q, k, v, np.ones((5, 6), bool))
    with pytest.raises(errors.ShapeError, match="do not fit"):
        nn.dot_product_attention(q, normal(2, 4, 7, 2), v)
    with pytest.raises(errors.ShapeError, match="cannot share"):
        nn.dot_product_attention(q, k[:, :3], v[:, :3])


# ---- the layer -----------------------------------------------------------------------------------


def load_attention(theirs, params):
    """PyTorch's module gets the weights of `nn.MultiHeadAttention`."""
    with torch.no_grad():
        kernels = [params[each]["kernel"].T for each in ("query", "key", "value")]
        if theirs.in_proj_weight is None:
            for name, kernel in zip("qkv", kernels, strict=True):
                getattr(theirs, f"{name}_proj_weight").copy_(torch.tensor(kernel))
        else:
            theirs.in_proj_weight.copy_(torch.tensor(np.concatenate(kernels)))
        biases = [params[each]["bias"] for each in ("query", "key", "value")]
        theirs.in_proj_bias.copy_(torch.tensor(np.concatenate(biases)))
        theirs.out_proj.weight.copy_(torch.tensor(params["out"]["kernel"].T))
        theirs.out_proj.bias.copy_(torch.tensor(params["out"]["bias"]))


def shaken(params, seed=8):
    """Parameters of which none is zero, so that each is seen."""
    rng = np.random.default_rng(seed)
    return tree.map(lambda p: p + 0.3 * rng.normal(size=p.shape), params)


@pytest.mark.parametrize("width", [None, 6])
def test_layer_equals_torch(width):
    layer = nn.MultiHeadAttention(2, bias_init=nn.initializers.normal(0.3))
    x = {"query": normal(3, 5, 8)}
    if width:
        x |= {"memory": normal(3, 7, width, seed=1)}
    params, state = layer.init(random.key(0), x)
    keys = x.get("memory", x["query"])
    key_mask = np.arange(keys.shape[1]) < np.array([[2], [4], [5]])
    mask = np.tri(5, keys.shape[1], 1, dtype=bool)
    g = normal(3, 5, 8, seed=2)

    def run(params, x):
        return layer.apply(params, state, {**x, "mask": mask, "key_mask": key_mask})[0]

    y, pull = kn.vjp(run, params, x)
    grads = pull(g)
    theirs = torch.nn.MultiheadAttention(
        8, 2, kdim=width, vdim=width, batch_first=True, dtype=torch.float64
    )
    load_attention(theirs, params)
    query = leaf(x["query"])
    memory = leaf(keys) if width else query
    expected, _ = theirs(
        query, memory, memory,
        key_padding_mask=torch.tensor(~key_mask), attn_mask=torch.tensor(~mask),
    )  # fmt: skip
    close(y, expected.detach().numpy())
    expected.backward(torch.tensor(g))
    close(grads[1]["query"], query.grad.numpy())
    if width:
        close(grads[1]["memory"], memory.grad.numpy())
        close(grads[0]["key"]["kernel"], theirs.k_proj_weight.grad.numpy().T)
    else:
        kernels = [grads[0][each]["kernel"].T for each in ("query", "key", "value")]
        close(np.concatenate(kernels), theirs.in_proj_weight.grad.numpy())
    biases = [grads[0][each]["bias"] for each in ("query", "key", "value")]
    close(np.concatenate(biases), theirs.in_proj_bias.grad.numpy())
    close(grads[0]["out"]["kernel"], theirs.out_proj.weight.grad.numpy().T)


def test_sizes_are_options():
    layer = nn.MultiHeadAttention(4, 10, head_dim=3, kv_heads=2, use_bias=False)
    params, state = layer.init(random.key(0), (2, 5, 8))
    shapes = {path: p.shape for path, p in tree.flatten_with_path(params)[0]}
    assert shapes == {
        "query/kernel": (8, 12),
        "key/kernel": (8, 6),
        "value/kernel": (8, 6),
        "out/kernel": (12, 10),
    }
    x = normal(2, 5, 8).astype(np.float32)
    y, _ = layer.apply(params, state, x)
    assert (y.shape, y.dtype) == ((2, 5, 10), np.float32)
    close(kn.vmap(lambda each: layer.apply(params, state, each)[0])(x), y, 1e-5)
    close(kn.jit(lambda x: layer.apply(params, state, x)[0])(x), y, 1e-5)


@pytest.mark.parametrize("pieces", [[1] * 6, [4, 1, 1], [3, 3]])
@pytest.mark.parametrize("options", [{}, {"rotary": 100.0, "kv_heads": 1}])
def test_decoding_in_pieces_equals_one_causal_pass(pieces, options):
    x = normal(2, 6, 8)
    plain = nn.MultiHeadAttention(2, causal=True, **options)
    layer = nn.MultiHeadAttention(2, causal=True, cache=6, **options)
    params, state = layer.init(random.key(0), double(2, 1, 8))
    whole, _ = plain.apply(params, {}, x)
    close(layer.apply(params, state, x, train=True)[0], whole)  # in training nothing is kept
    step = kn.jit(layer.apply)
    seen, at = [], 0
    for length in pieces:
        y, state = step(params, state, x[:, at : at + length])
        seen.append(y)
        at += length
    close(np.concatenate(seen, 1), whole)
    assert int(state["index"]) == 6
    for run in (layer.apply, step):
        with pytest.raises(IndexError):
            run(params, state, x[:, :1])


def test_layer_refuses():
    with pytest.raises(ValueError, match="causal=True"):
        nn.MultiHeadAttention(2, cache=4)
    with pytest.raises(ValueError, match="cannot share"):
        nn.MultiHeadAttention(4, kv_heads=3)
    with pytest.raises(errors.ShapeError, match="8 channels cannot be shared by 3 heads"):
        nn.MultiHeadAttention(3).init(random.key(0), (1, 5, 8))
    layer = nn.MultiHeadAttention(2, dropout=0.5)
    params, state = layer.init(random.key(0), (1, 5, 8))
    with pytest.raises(ValueError, match="wants a random key"):
        layer.apply(params, state, np.ones((1, 5, 8), np.float32), train=True)
    with pytest.raises(errors.ShapeError, match="one for each key"):
        layer.apply(params, state, {"query": np.ones((1, 5, 8)), "key_mask": np.ones((1, 4), bool)})


# ---- positions -----------------------------------------------------------------------------------


def test_sinusoids_are_the_papers():
    rows = nn.sinusoidal_positions(50, 6, np.float64)
    for position in (0, 7, 49):
        for i in range(3):
            angle = position / 10000 ** (2 * i / 6)
            close(rows[position, 2 * i : 2 * i + 2], [np.sin(angle), np.cos(angle)])
    x = normal(2, 5, 6)
    close(nn.SinusoidalPositions().apply({}, {}, x)[0], x + rows[:5])
    with pytest.raises(ValueError, match="even"):
        nn.sinusoidal_positions(3, 5)


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotated_products_depend_on_the_distance_alone(interleaved):
    q, k = normal(1, 8), normal(1, 8, seed=1)

    def product(i, j):
        a = nn.rotate(q, np.array([i]), interleaved=interleaved)
        return (a @ nn.rotate(k, np.array([j]), interleaved=interleaved).T).item()

    assert product(9, 4) == pytest.approx(product(105, 100), abs=1e-12)
    assert product(9, 4) != pytest.approx(product(9, 5), abs=1e-3)
    x = normal(2, 3, 8)
    close(np.linalg.norm(nn.rotate(x), axis=-1), np.linalg.norm(x, axis=-1))
    kn.testing.check_grads(lambda x: nn.rotate(x, interleaved=interleaved), (x,), order=1)


def test_rotation_is_the_product_of_complex_numbers():
    x = normal(5, 8)
    turn = np.exp(1j * np.outer(np.arange(5), 10000.0 ** (-np.arange(4) / 4)))
    pairs = (x[:, 0::2] + 1j * x[:, 1::2]) * turn
    close(nn.rotate(x, interleaved=True), np.stack([pairs.real, pairs.imag], -1).reshape(5, 8))
    halves = (x[:, :4] + 1j * x[:, 4:]) * turn
    close(nn.rotate(x), np.concatenate([halves.real, halves.imag], -1))
    assert nn.rotate(x.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize(
    ("heads", "slopes"),
    [
        (8, [2.0**-k for k in range(1, 9)]),
        (2, [2.0**-4, 2.0**-8]),
        (6, [2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8, 2.0**-1, 2.0**-3]),
    ],
)
def test_alibi_has_the_papers_slopes(heads, slopes):
    found = nn.alibi_bias(heads, 5, dtype=np.float64)
    close(found[:, 1, 0], -np.array(slopes))
    close(found[:, 4, 1], -3 * np.array(slopes))
    close(found, np.swapaxes(found, 1, 2))
    # A piece of a sequence sees what the whole one sees from there.
    close(nn.alibi_bias(heads, np.array([3]), 5, np.float64), found[:, 3:4])
    x = normal(2, 5, 4)
    layer = nn.MultiHeadAttention(2, causal=True)
    params, state = layer.init(random.key(0), x)
    y, _ = layer.apply(params, state, {"query": x, "bias": nn.alibi_bias(2, 5)})
    assert not np.allclose(y, layer.apply(params, state, x)[0])


def test_learned_positions():
    layer = nn.LearnedPositions(7)
    params, state = layer.init(random.key(0), double(2, 5, 4))
    x, g = normal(2, 5, 4), normal(2, 5, 4, seed=1)
    y, pull = kn.vjp(lambda p: layer.apply(p, state, x)[0], params)
    close(y, x + params["embedding"][:5])
    expected = np.concatenate([g.sum(0), np.zeros((2, 4))])
    close(pull(g)[0]["embedding"], expected)
    with pytest.raises(errors.ShapeError, match="positions for 7"):
        layer.apply(params, state, normal(2, 8, 4))


# ---- transformer layers --------------------------------------------------------------------------

ATTENTIONS = {"attention": "self_attn", "cross_attention": "multihead_attn"}


def load_layer(theirs, params):
    """PyTorch's encoder or decoder layer gets the weights of Kinone's."""
    with torch.no_grad():
        for name, weights in params.items():
            if name in ATTENTIONS:
                load_attention(getattr(theirs, ATTENTIONS[name]), weights)
            elif name == "mlp":
                for ours, linear in (("dense1", theirs.linear1), ("dense2", theirs.linear2)):
                    linear.weight.copy_(torch.tensor(weights[ours]["kernel"].T))
                    linear.bias.copy_(torch.tensor(weights[ours]["bias"]))
            else:
                getattr(theirs, name).weight.copy_(torch.tensor(weights["scale"]))
                getattr(theirs, name).bias.copy_(torch.tensor(weights["bias"]))


def check_gradients(theirs, grads):
    for name, weights in grads.items():
        if name in ATTENTIONS:
            attention = getattr(theirs, ATTENTIONS[name])
            kernels = [weights[each]["kernel"].T for each in ("query", "key", "value")]
            close(np.concatenate(kernels), attention.in_proj_weight.grad.numpy())
            close(weights["out"]["bias"], attention.out_proj.bias.grad.numpy())
        elif name == "mlp":
            close(weights["dense1"]["kernel"], theirs.linear1.weight.grad.numpy().T)
            close(weights["dense2"]["kernel"], theirs.linear2.weight.grad.numpy().T)
        else:
            close(weights["scale"], getattr(theirs, name).weight.grad.numpy())


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_encoder_layer_equals_torch(norm_first, activation):
    layer = nn.TransformerEncoderLayer(
        2, 12, norm_first=norm_first, activation=getattr(kn.ops, activation), epsilon=1e-4
    )
    x, g = normal(3, 5, 8), normal(3, 5, 8, seed=1)
    key_mask = np.arange(5) < np.array([[5], [2], [4]])
    params, state = layer.init(random.key(0), x)
    params = shaken(params)
    y, pull = kn.vjp(
        lambda p, x: layer.apply(p, state, {"x": x, "key_mask": key_mask})[0], params, x
    )
    grads = pull(g)
    theirs = torch.nn.TransformerEncoderLayer(
        8, 2, 12, 0.0, activation, 1e-4, batch_first=True, norm_first=norm_first,
        dtype=torch.float64,
    )  # fmt: skip
    load_layer(theirs, params)
    source = leaf(x)
    expected = theirs(source, src_key_padding_mask=torch.tensor(~key_mask))
    close(y, expected.detach().numpy(), 1e-11)
    expected.backward(torch.tensor(g))
    close(grads[1], source.grad.numpy(), 1e-11)
    check_gradients(theirs, grads[0])


@pytest.mark.parametrize("norm_first", [False, True])
def test_decoder_layer_equals_torch(norm_first):
    layer = nn.TransformerDecoderLayer(2, 12, norm_first=norm_first)
    x = {"x": normal(3, 5, 8), "memory": normal(3, 7, 8, seed=1)}
    memory_key_mask = np.arange(7) < np.array([[5], [2], [7]])
    g = normal(3, 5, 8, seed=2)
    params, state = layer.init(random.key(0), x)
    params = shaken(params)
    y, pull = kn.vjp(
        lambda p, x: layer.apply(p, state, {**x, "memory_key_mask": memory_key_mask})[0], params, x
    )
    grads = pull(g)
    theirs = torch.nn.TransformerDecoderLayer(
        8, 2, 12, 0.0, batch_first=True, norm_first=norm_first, dtype=torch.float64
    )
    load_layer(theirs, params)
    target, memory = leaf(x["x"]), leaf(x["memory"])
    expected = theirs(
        target,
        memory,
        tgt_mask=torch.tensor(~np.tri(5, dtype=bool)),
        memory_key_padding_mask=torch.tensor(~memory_key_mask),
    )
    close(y, expected.detach().numpy(), 1e-11)
    expected.backward(torch.tensor(g))
    close(grads[1]["x"], target.grad.numpy(), 1e-11)
    close(grads[1]["memory"], memory.grad.numpy(), 1e-11)
    check_gradients(theirs, grads[0])


def test_stacks_apply_their_layers_in_turn():
    x, memory = normal(2, 5, 8), normal(2, 3, 8, seed=1)
    mask = np.tri(5, dtype=bool)
    encoder = nn.TransformerEncoder(2, 2, 12, norm_first=True)
    params, state = encoder.init(random.key(0), x)
    params = shaken(params)
    one = nn.TransformerEncoderLayer(2, 12, norm_first=True)
    y = x
    for i in range(2):
        y, _ = one.apply(params[f"layer{i}"], {}, {"x": y, "mask": mask})
    y, _ = nn.LayerNorm().apply(params["norm"], {}, y)
    close(encoder.apply(params, state, {"x": x, "mask": mask})[0], y)
    decoder = nn.TransformerDecoder(2, 2, 12)
    params, state = decoder.init(random.key(0), {"x": x, "memory": memory})
    one = nn.TransformerDecoderLayer(2, 12)
    y = x
    for i in range(2):
        y, _ = one.apply(params[f"layer{i}"], {}, {"x": y, "memory": memory})
    close(decoder.apply(params, state, {"x": x, "memory": memory})[0], y)
    with pytest.raises(errors.TreeError, match="no 'memory'"):
        nn.TransformerDecoderLayer(2, 12).apply(params["layer0"], {}, x)


def test_a_language_model_writes_as_it_reads():
    x = normal(2, 6, 8)
    options = {"norm_first": True, "causal": True, "rotary": 100.0}
    params, _ = nn.TransformerEncoder(2, 2, 12, **options).init(random.key(0), x)
    whole, _ = nn.TransformerEncoder(2, 2, 12, **options).apply(params, {}, x)
    model = nn.TransformerEncoder(2, 2, 12, **options, cache=6)
    _, state = model.init(random.key(0), double(2, 1, 8))
    step, seen = kn.jit(model.apply), []
    for t in range(6):
        y, state = step(params, state, x[:, t : t + 1])
        seen.append(y)
    close(np.concatenate(seen, 1), whole, 1e-11)


def test_training_drops_by_key_and_compiles():
    layer = nn.TransformerEncoderLayer(2, 12, dropout=0.3, drop_path=0.2)
    x = normal(2, 5, 8).astype(np.float32)
    params, state = layer.init(random.key(0), x)

    def loss(params, key):
        return np.sum(layer.apply(params, state, x, train=True, key=key)[0] * np.cos(x))

    eager = kn.value_and_grad(loss)(params, random.key(1))
    compiled = kn.jit(kn.value_and_grad(loss))(params, random.key(1))
    for a, b in zip(tree.leaves(eager), tree.leaves(compiled), strict=True):
        close(a, b, 1e-5)
        assert a.dtype == np.float32
    assert eager[0] != kn.value_and_grad(loss)(params, random.key(2))[0]


@pytest.mark.parametrize("scanned", [False, True])
def test_a_decoder_reads_its_memory_once(scanned):
    x, memory = normal(2, 6, 8), normal(2, 4, 8, seed=1)
    memory_key_mask = np.arange(4) < np.array([[3], [4]])
    options = {"scanned": scanned, "kv_heads": 1, "rotary": 100.0}
    params, state = nn.TransformerDecoder(2, 2, 12, **options).init(
        random.key(0), {"x": x, "memory": memory}
    )
    params = shaken(params)
    given = {"x": x, "memory": memory, "memory_key_mask": memory_key_mask}
    whole, _ = nn.TransformerDecoder(2, 2, 12, **options).apply(params, state, given)
    writer = nn.TransformerDecoder(2, 2, 12, **options, cache=6)
    made, empty = writer.init(random.key(0), {"x": x[:, :1], "memory": memory})
    assert tree.structure(made) == tree.structure(params)
    with pytest.raises(errors.TreeError, match="has read no memory yet"):
        writer.apply(params, empty, {"x": x[:, :1]})

    step, seen, state = kn.jit(writer.apply), [], empty
    for t in range(6):
        piece = {"x": x[:, t : t + 1], "memory_key_mask": memory_key_mask}
        y, state = step(params, state, piece if t else {**piece, "memory": memory})
        seen.append(y)
    close(np.concatenate(seen, 1), whole, 1e-11)
    with pytest.raises(errors.TreeError, match="no 'memory'"):
        writer.apply(params, state, {"x": x}, train=True)
    trained, after = writer.apply(params, state, given, train=True)
    close(trained, whole)
    for a, b in zip(tree.leaves(after), tree.leaves(state), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_kept_memory_is_for_the_same_examples():
    layer = nn.MultiHeadAttention(2, keep_memory=True)
    x, memory = normal(2, 3, 8), normal(2, 4, 6, seed=1)
    params, state = layer.init(random.key(0), {"query": x, "memory": memory})
    y, state = layer.apply(params, state, {"query": x, "memory": memory})
    again, _ = layer.apply(params, state, x)
    close(again, y, 0)
    with pytest.raises(errors.ShapeError, match="Pass one for these"):
        layer.apply(params, state, x[:1])
    with pytest.raises(ValueError, match="keep_memory for the others"):
        nn.MultiHeadAttention(2, causal=True, cache=3, keep_memory=True)


@pytest.mark.parametrize("decoder", [False, True])
def test_scanned_layers_are_the_same_network(decoder):
    x, g = normal(2, 5, 8), normal(2, 5, 8, seed=1)
    given = {"x": x, "key_mask": np.arange(5) < np.array([[5], [2]])}
    make = nn.TransformerEncoder
    if decoder:
        make, given["memory"] = nn.TransformerDecoder, normal(2, 3, 8, seed=2)
    looped = make(3, 2, 12, scanned=True, norm_first=True)
    plain = make(3, 2, 12, norm_first=True)
    params, _ = plain.init(random.key(0), given)
    params = shaken(params)
    stacked = {
        "layers": tree.map(lambda *each: np.stack(each), *(params[f"layer{i}"] for i in range(3))),
        "norm": params["norm"],
    }
    made, state = looped.init(random.key(0), given)
    assert tree.structure(made) == tree.structure(stacked)
    moving = {name: each for name, each in given.items() if name != "key_mask"}

    def run(layer):
        return lambda p, moving: layer.apply(p, state, {**given, **moving})[0]

    y, pull = kn.vjp(run(plain), params, moving)
    z, pull_looped = kn.vjp(run(looped), stacked, moving)
    close(y, z)
    close(y, kn.jit(run(looped))(stacked, moving))
    (grads, gx), (stacked_grads, gz) = pull(g), pull_looped(g)
    for name in moving:
        close(gx[name], gz[name])
    for i in range(3):
        found = tree.map(lambda leaf, i=i: leaf[i], stacked_grads["layers"])
        for a, b in zip(tree.leaves(grads[f"layer{i}"]), tree.leaves(found), strict=True):
            close(a, b)


def test_rotary_turns_queries_and_keys_and_no_values():
    x = normal(2, 5, 8)
    layer = nn.MultiHeadAttention(2, rotary=50.0)
    params, state = layer.init(random.key(0), x)

    def heads(name):
        return np.swapaxes((x @ params[name]["kernel"]).reshape(2, 5, 2, 4), 1, 2)

    q, k = (nn.rotate(heads(name), base=50.0) for name in ("query", "key"))
    y = np.swapaxes(nn.dot_product_attention(q, k, heads("value")), 1, 2).reshape(2, 5, 8)
    close(layer.apply(params, state, x)[0], y @ params["out"]["kernel"])
