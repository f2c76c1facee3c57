"""PyTorch's own samples for its sequence modules: outputs and every gradient, in float64."""

from __future__ import annotations

import functools
import importlib

import numpy as np
import pytest

import kinone as kn
from kinone import nn, ops, random, tree

torch = pytest.importorskip("torch")
RECURRENT = {"weight_ih": "kernel", "weight_hh": "recurrent_kernel", "bias_ih": "bias"}
RECURRENT |= {"bias_hh": "recurrent_bias", "weight_hr": "projection"}


# Some of the samples, and all of them.
EVERY = pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])


@functools.cache
def infos():
    """PyTorch's modules by name; a slow import, so not while tests are collected."""
    modules = importlib.import_module("torch.testing._internal.common_modules")
    return {info.name.removeprefix("nn."): info for info in modules.module_db}


def samples(name, every=1):
    info = infos()[name]
    found = info.module_inputs_func(
        info, device="cpu", dtype=torch.float64, requires_grad=True, training=False
    )
    return list(found)[::every]


def plain(x):
    """An array of what PyTorch has, or of a gradient that it left away because it is zero."""
    return x.detach().numpy()


def close(found, wanted, note):
    np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-12, err_msg=note)


def check(layer, params, given, moving, theirs, convert, module, note):
    """`layer` of `params`, and of `given` with `moving`, is PyTorch's tree of results `theirs`; and
    so are the gradients: `moving` has PyTorch's leaves by name, `convert` reads the parameters."""
    _, state = layer.init(random.key(0), {**given, **tree.map(plain, moving)})

    def run(params, moving):
        return layer.apply(params, state, {**given, **moving})[0]

    found, pull = kn.vjp(run, params, tree.map(plain, moving))
    rng = np.random.default_rng(0)
    cotangent = tree.map(lambda leaf: rng.normal(size=leaf.shape), found)
    total = 0
    for path, leaf in tree.leaves_with_path(theirs):
        close(found_at(found, path), plain(leaf), f"{note}: {path}")
        total = total + (leaf * torch.tensor(found_at(cotangent, path))).sum()
    module.zero_grad()
    total.backward()
    grads, moved = pull(cotangent)
    for (path, grad), wanted in zip(
        tree.leaves_with_path(grads), tree.leaves(convert(lambda p: p.grad)), strict=True
    ):
        close(grad, wanted, f"{note}: gradient of {path}")
    for path, leaf in tree.leaves_with_path(moving):
        close(found_at(moved, path), plain(leaf.grad), f"{note}: gradient of {path}")


def found_at(x, path):
    for name in filter(None, path.split("/")):
        x = x[name]
    return x


# ---- recurrent layers ----------------------------------------------------------------------------


def recurrent_params(module, layers, directions, read=lambda p: p):
    found = {}
    for i in range(layers):
        found[f"layer{i}"] = {
            direction: {
                ours: plain(read(getattr(module, f"{theirs}_l{i}{suffix}"))).T
                for theirs, ours in RECURRENT.items()
                if hasattr(module, f"{theirs}_l{i}{suffix}")
            }
            for direction, suffix in directions.items()
        }
    return found


@EVERY
@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers(name, every):
    for sample in samples(name, every):
        options = dict(sample.constructor_input.kwargs)
        module = getattr(torch.nn, name)(**options, dtype=torch.float64)
        x, *rest = sample.forward_input.args
        start = rest[0] if rest else None
        directions = {"forward": ""} | (
            {"backward": "_reverse"} if options["bidirectional"] else {}
        )

        def convert(read, module=module, options=options, directions=directions):
            return recurrent_params(module, options["num_layers"], directions, read)

        given, moving = {}, {}
        y, final = module(x) if start is None else module(x, start)
        if isinstance(x, torch.nn.utils.rnn.PackedSequence):
            padded, lengths = torch.nn.utils.rnn.pad_packed_sequence(x, batch_first=True)
            given = {"x": plain(padded), "lengths": lengths.numpy()}
            y = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True)[0]
        else:
            moving = {"x": x}
        entries = ("h", "c") if name == "LSTM" else ("h",)
        if start is not None:
            moving["carry"] = dict(zip(entries, start if name == "LSTM" else (start,), strict=True))
        final = dict(zip(entries, final if name == "LSTM" else (final,), strict=True))
        more = {"activation": options["nonlinearity"]} if "nonlinearity" in options else {}
        if options.get("proj_size"):
            more["projection"] = options["proj_size"]
        layer = getattr(nn, name)(
            options["hidden_size"],
            num_layers=options["num_layers"],
            bidirectional=options["bidirectional"],
            use_bias=options["bias"],
            return_carry=True,
            **more,
        )
        theirs = {"y": y, "carry": final}
        check(layer, convert(lambda p: p), given, moving, theirs, convert, module, str(options))


@pytest.mark.parametrize("name", ["LSTMCell", "GRUCell", "RNNCell"])
def test_recurrent_cells(name):
    for sample in samples(name):
        args, options = sample.constructor_input.args, sample.constructor_input.kwargs
        module = getattr(torch.nn, name)(*args, **options, dtype=torch.float64)
        x, start = sample.forward_input.args
        entries = ("h", "c") if name == "LSTMCell" else ("h",)
        found = module(x, start)
        pairs = (found, start) if name == "LSTMCell" else ((found,), (start,))
        theirs, carry = (dict(zip(entries, each, strict=True)) for each in pairs)

        def convert(read, module=module):
            return {ours: plain(read(getattr(module, theirs))).T
                    for theirs, ours in RECURRENT.items() if hasattr(module, theirs)}  # fmt: skip

        more = {"activation": options["nonlinearity"]} if "nonlinearity" in options else {}
        layer = getattr(nn, name)(args[1], **more)
        check(layer, convert(lambda p: p), {}, {"x": x, "carry": carry}, theirs, convert, module,
              f"{name} {options}")  # fmt: skip


# ---- attention and transformers ------------------------------------------------------------------


def linear(kernel, bias, read):
    found = {"kernel": plain(read(kernel)).T}
    return found if bias is None else {**found, "bias": plain(read(bias))}


def attention_params(module, read):
    found = {}
    for i, each in enumerate(("query", "key", "value")):
        part = slice(i * module.embed_dim, (i + 1) * module.embed_dim)
        found[each] = {"kernel": plain(read(module.in_proj_weight))[part].T}
        if module.in_proj_bias is not None:
            found[each]["bias"] = plain(read(module.in_proj_bias))[part]
    return {**found, "out": linear(module.out_proj.weight, module.out_proj.bias, read)}


def norm_params(module, read):
    found = {"scale": plain(read(module.weight))}
    return found if module.bias is None else {**found, "bias": plain(read(module.bias))}


def layer_params(module, read):
    """In the order of Kinone's children: attentions, network, norms."""
    found = {"attention": attention_params(module.self_attn, read)}
    if hasattr(module, "multihead_attn"):
        found["cross_attention"] = attention_params(module.multihead_attn, read)
    found["mlp"] = {
        f"dense{i}": linear(each.weight, each.bias, read)
        for i, each in ((1, module.linear1), (2, module.linear2))
    }
    for i in range(1, len(found) + 1):
        found[f"norm{i}"] = norm_params(getattr(module, f"norm{i}"), read)
    return found


def stack_params(module, read):
    found = {f"layer{i}": layer_params(each, read) for i, each in enumerate(module.layers)}
    return found if module.norm is None else {**found, "norm": norm_params(module.norm, read)}


def allowed(hidden):
    return None if hidden is None else ~hidden.numpy()


@EVERY
def test_attention(every):
    seen = 0
    for sample in samples("MultiheadAttention", every):
        options = dict(sample.constructor_input.kwargs)
        if options["add_bias_kv"] or options["add_zero_attn"]:
            continue
        module = torch.nn.MultiheadAttention(**options, dtype=torch.float64)
        q, k, v = sample.forward_input.args
        hidden = sample.forward_input.kwargs
        y, weights = module(q, k, v, **hidden, average_attn_weights=False)
        layer = nn.MultiHeadAttention(3, use_bias=options["bias"], return_weights=True)
        given = {
            "mask": allowed(hidden["attn_mask"]),
            "key_mask": allowed(hidden["key_padding_mask"]),
        }

        def convert(read, module=module):
            return attention_params(module, read)

        moving = {"query": q, "memory": k, "value": v}
        check(layer, convert(lambda p: p), given, moving, {"y": y, "weights": weights},
              convert, module, str(options))  # fmt: skip
        seen += 1
    assert seen > 0


def swapped(x, options):
    """Examples first, as Kinone wants them."""
    return x if x.dim() < 3 or options.get("batch_first", False) else x.transpose(0, 1)


def layer_options(args, options):
    """(heads, hidden features) and the options of Kinone's layer."""
    heads, hidden = args[1:3] if args else (options["nhead"], options["dim_feedforward"])
    found = {"use_bias": options.get("bias", True), "norm_first": options.get("norm_first", False)}
    if len(args) > 4:
        found["activation"] = ops.gelu
    return (heads, hidden), found


@pytest.mark.parametrize("name", ["TransformerEncoderLayer", "TransformerDecoderLayer"])
@EVERY
def test_transformer_layers(name, every):
    for sample in samples(name, every):
        args, options = sample.constructor_input.args, dict(sample.constructor_input.kwargs)
        options.pop("device", None)
        module = getattr(torch.nn, name)(*args, **{**options, "dtype": torch.float64})
        hidden = {k: v for k, v in sample.forward_input.kwargs.items() if v is not None}
        names = {"src_mask": "mask", "tgt_mask": "mask", "src_key_padding_mask": "key_mask"}
        names |= {"tgt_key_padding_mask": "key_mask", "memory_mask": "memory_mask"}
        names |= {"memory_key_padding_mask": "memory_key_mask"}
        given = {names[each]: allowed(mask) for each, mask in hidden.items()}
        moving = dict(zip(("x", "memory"), sample.forward_input.args, strict=False))
        numbers, found = layer_options(args, options)
        layer = getattr(nn, name)(*numbers, causal=False, **found)

        def convert(read, module=module):
            return layer_params(module, read)

        check_swapped(layer, given, moving, convert, module, options)


def check_swapped(layer, given, moving, convert, module, options):
    """`check`, of leaves that stand in PyTorch's order of axes."""
    leaves = {
        each: swapped(leaf, options).detach().clone().requires_grad_()
        for each, leaf in moving.items()
    }
    again = {each: swapped(leaf, options) for each, leaf in leaves.items()}
    hidden = {each: None if mask is None else torch.tensor(~mask) for each, mask in given.items()}
    y = swapped(apply_module(module, again, hidden), options)
    check(layer, convert(lambda p: p), given, leaves, y, convert, module, str(options))


def apply_module(module, moving, hidden):
    if "memory" in moving:
        return module(
            moving["x"], moving["memory"],
            tgt_mask=hidden.get("mask"), tgt_key_padding_mask=hidden.get("key_mask"),
            memory_mask=hidden.get("memory_mask"),
            memory_key_padding_mask=hidden.get("memory_key_mask"),
        )  # fmt: skip
    named = "mask" if isinstance(module, torch.nn.TransformerEncoder) else "src_mask"
    masks = {named: hidden.get("mask"), "src_key_padding_mask": hidden.get("key_mask")}
    return module(moving["x"], **masks)


@EVERY
@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_encoder_stacks(every):
    for sample in samples("TransformerEncoder", every):
        (one, count), options = sample.constructor_input.args, {}
        module = torch.nn.TransformerEncoder(one.double(), count, enable_nested_tensor=False)
        options["batch_first"] = one.self_attn.batch_first
        gelu = one.activation is torch.nn.functional.gelu
        layer = nn.TransformerEncoder(
            count, one.self_attn.num_heads, one.linear1.out_features,
            norm_first=one.norm_first, use_bias=one.linear1.bias is not None, final_norm=False,
            activation=ops.gelu if gelu else ops.relu,
        )  # fmt: skip
        names = {"mask": "mask", "src_key_padding_mask": "key_mask"}
        given = {names[k]: allowed(v) for k, v in sample.forward_input.kwargs.items()
                 if v is not None}  # fmt: skip

        def convert(read, module=module):
            return stack_params(module, read)

        moving = {"x": sample.forward_input.args[0]}
        check_swapped(layer, given, moving, convert, module, options)


@EVERY
@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_whole_transformers(every):
    for sample in samples("Transformer", every):
        options = dict(sample.constructor_input.kwargs)
        module = torch.nn.Transformer(**{**options, "dtype": torch.float64})
        masks = sample.forward_input.kwargs
        numbers, found = layer_options((), options)
        encoder = nn.TransformerEncoder(1, *numbers, final_norm=True, **found)
        decoder = nn.TransformerDecoder(1, *numbers, final_norm=True, causal=False, **found)

        def forward(call, x):
            memory = call("encoder", {"x": x["source"], "mask": x.get("mask"),
                                      "key_mask": x.get("key_mask")})  # fmt: skip
            return call("decoder", {"x": x["target"], "memory": memory, "mask": x.get("mask"),
                                    "key_mask": x.get("key_mask")})  # fmt: skip

        layer = nn.compose({"encoder": encoder, "decoder": decoder}, forward)
        given = {
            "mask": allowed(masks["src_mask"]),
            "key_mask": allowed(masks["src_key_padding_mask"]),
        }
        given = {each: mask for each, mask in given.items() if mask is not None}
        leaves = {
            each: swapped(x, options).detach().clone().requires_grad_()
            for each, x in zip(("source", "target"), sample.forward_input.args, strict=True)
        }
        y = module(*[swapped(leaf, options) for leaf in leaves.values()], **masks)

        def convert(read, module=module):
            return {
                each: stack_params(getattr(module, each), read) for each in ("encoder", "decoder")
            }

        check(layer, convert(lambda p: p), given, leaves, swapped(y, options), convert, module,
              str(options))  # fmt: skip
