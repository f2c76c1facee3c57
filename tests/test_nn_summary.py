"""`nn.summary`: what it counts is what the textbooks count."""

import numpy as np
import pytest

import kinone as kn
from kinone import models, nn, ops


@pytest.mark.parametrize(
    ("model", "parameters", "macs"),
    [(models.resnet18, 11_689_512, 1_814_073_344), (models.resnet50, 25_557_032, 4_089_184_256)],
)
def test_residual_networks(model, parameters, macs):
    found = nn.summary(model(), (1, 224, 224, 3))
    assert (found.parameters, found.macs) == (parameters, macs)
    rows = {row.path: row for row in found.rows}
    assert rows["stage1/block0/conv1"].parameters == rows["stage1/block0/conv1"].macs // 56**2
    assert rows["head"].output == kn.ShapeDtype((1, 1000), "float32")
    parts = [row for row in found.rows if row.path and "/" not in row.path]
    assert sum(row.parameters for row in parts) == parameters
    assert sum(row.macs for row in parts) == macs


def test_nothing_is_computed():
    nn.summary(nn.Dense(10**7), (10**6, 10**7))  # 400 TB of weights


def test_depth_hides_rows_and_keeps_totals():
    model = models.resnet18(10, width=8)
    whole, shallow = (nn.summary(model, (1, 32, 32, 3), depth=depth) for depth in (None, 1))
    assert [row.path for row in shallow.rows][:3] == ["", "stem", "stage1"]
    assert len(shallow.rows) < len(whole.rows)
    assert shallow.macs == whole.macs
    assert shallow.parameters == whole.parameters
    with pytest.raises(ValueError, match="depth is -1"):
        nn.summary(model, (1, 32, 32, 3), depth=-1)


def test_a_shared_layer_has_its_parameters_once_and_its_work_twice():
    model = nn.compose({"d": nn.Dense(4)}, lambda call, x: call("d", call("d", x)))
    row = nn.summary(model, (2, 4)).rows[1]
    assert (row.path, row.parameters, row.macs, row.calls) == ("d", 20, 2 * 2 * 4 * 4, 2)


def test_loops_count_each_round():
    block = nn.Sequential(a=nn.Dense(4), b=nn.Tanh())
    found = nn.summary(nn.Sequential(deep=nn.scanned(block, 5)), (2, 4))
    rows = {row.path: row for row in found.rows}
    assert rows["deep/a"].macs == 5 * 2 * 4 * 4
    assert rows["deep/a"].parameters == 5 * 20
    assert found.macs == nn.summary(nn.Sequential(*[block] * 5), (2, 4)).macs


def test_wrappers_and_branches_are_seen_through():
    inner = nn.Dense(4)

    def apply(params, state, x, train, key):
        def dear(x):
            return inner.apply(params, state, x)[0]

        return kn.cond(np.sum(x) > 0, dear, lambda x: x, x), state

    branch = nn.Layer(inner.init, apply, "Branch()")
    assert nn.summary(branch, (2, 4)).macs == 32
    jitted = nn.Layer(inner.init, kn.jit(inner.apply, static_argnums=(3,)), "Jitted()")
    assert nn.summary(nn.Sequential(j=jitted), (2, 4)).rows[1].macs == 32
    assert nn.summary(nn.checkpoint(inner), (2, 4)).macs == 32


def test_einsum_counts():
    layer = nn.stateless(lambda x: np.einsum("bij,bkj->bik", x, x), "Gram()")
    assert nn.summary(layer, (2, 3, 5)).macs == 2 * 3 * 3 * 5


def test_convolutions_of_every_kind():
    grouped = nn.summary(nn.Conv(8, (3, 3), groups=2, padding="VALID"), (1, 6, 6, 4))
    assert grouped.macs == 4 * 4 * 8 * 9 * 2
    back = nn.summary(nn.ConvTranspose(8, (2, 2), strides=2), (1, 3, 3, 4))
    assert back.macs == 3 * 3 * 4 * 2 * 2 * 8


def test_activation_bytes_are_of_new_arrays():
    layer = nn.stateless(lambda x: np.reshape(ops.relu(x), (-1,)), "F()")
    assert nn.summary(layer, (2, 3)).activation_bytes == 2 * 3 * 4


def test_a_tree_goes_in_and_one_comes_out():
    model = nn.compose({"d": nn.Dense(2)}, lambda call, x: {"y": call("d", x["a"]), "b": x["b"]})
    row = nn.summary(model, {"a": (1, 3), "b": (4,)}).rows[0]
    assert row.output == {
        "y": kn.ShapeDtype((1, 2), "float32"),
        "b": kn.ShapeDtype((4,), "float32"),
    }


def test_text_and_html():
    found = nn.summary(nn.Sequential(nn.Dense(3), nn.Dropout(0.5)), (1, 2), train=True)
    assert str(found).splitlines()[0].split() == [
        "path", "layer", "output", "parameters", "MACs", "activations",
    ]  # fmt: skip
    assert "in all: 9 parameters, 6 MACs" in str(found)
    assert "<td>Dense(3)</td>" in found._repr_html_()
    with pytest.raises(TypeError, match="summary wants a layer"):
        nn.summary({}, (1, 2))
