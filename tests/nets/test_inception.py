"""Inception: the network that published distances use, by count, name, shape and rule; and what a file may be."""

import hashlib

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bottega.core import CheckpointError, SpecError
from bottega.nets.inception import Inception, _Mixed, load_inception

# Kernels as they stand in the weights people have: height x width, of every convolution of each block, in order.
SHAPES = {
    "Conv2d_1a_3x3": ["32,3,3,3"],
    "Conv2d_2a_3x3": ["32,32,3,3"],
    "Conv2d_2b_3x3": ["64,32,3,3"],
    "Conv2d_3b_1x1": ["80,64,1,1"],
    "Conv2d_4a_3x3": ["192,80,3,3"],
}
A = "1x1 5x5_1 5x5_2 3x3dbl_1 3x3dbl_2 3x3dbl_3 _pool"
C = "1x1 7x7_1 7x7_2 7x7_3 7x7dbl_1 7x7dbl_2 7x7dbl_3 7x7dbl_4 7x7dbl_5 _pool"
E = "1x1 3x3_1 3x3_2a 3x3_2b 3x3dbl_1 3x3dbl_2 3x3dbl_3a 3x3dbl_3b _pool"


def _a(i, p):
    return A, f"64,{i},1,1 48,{i},1,1 64,48,5,5 64,{i},1,1 96,64,3,3 96,96,3,3 {p},{i},1,1"


def _c(w):
    return C, (
        f"192,768,1,1 {w},768,1,1 {w},{w},1,7 192,{w},7,1 "
        f"{w},768,1,1 {w},{w},7,1 {w},{w},1,7 {w},{w},7,1 192,{w},1,7 192,768,1,1"
    )


def _e(i):
    return E, (
        f"320,{i},1,1 384,{i},1,1 384,384,1,3 384,384,3,1 448,{i},1,1 384,448,3,3 384,384,1,3 384,384,3,1 192,{i},1,1"
    )


MIXED = {
    "5b": _a(192, 32),
    "5c": _a(256, 64),
    "5d": _a(288, 64),
    "6a": ("3x3 3x3dbl_1 3x3dbl_2 3x3dbl_3", "384,288,3,3 64,288,1,1 96,64,3,3 96,96,3,3"),
    "6b": _c(128),
    "6c": _c(160),
    "6d": _c(160),
    "6e": _c(192),
    "7a": (
        "3x3_1 3x3_2 7x7x3_1 7x7x3_2 7x7x3_3 7x7x3_4",
        "192,768,1,1 320,192,3,3 192,768,1,1 192,192,1,7 192,192,7,1 192,192,3,3",
    ),
    "7b": _e(1280),
    "7c": _e(2048),
}


def convolutions():
    """Name of each convolution -> its shape."""
    out = {name: shapes[0] for name, shapes in SHAPES.items()}
    for block, (names, shapes) in MIXED.items():
        for name, shape in zip(names.split(), shapes.split(), strict=True):
            out[f"Mixed_{block}.branch{name}"] = shape
    return {name: tuple(map(int, shape.split(","))) for name, shape in out.items()}


def bare():
    """The network without memory for its weights."""
    with torch.device("meta"):
        return Inception()


@pytest.fixture(scope="module")
def weights():
    """Random ones that keep the size of what passes, half precision."""
    generator = torch.Generator().manual_seed(0)
    out = {}
    for name, shape in convolutions().items():
        spread = (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
        out[f"{name}.conv.weight"] = (torch.randn(shape, generator=generator) * spread).half()
        for part, low in (("weight", 0.7), ("bias", -0.1), ("running_mean", -0.1), ("running_var", 0.7)):
            out[f"{name}.bn.{part}"] = (low + 0.6 * torch.rand(shape[0], generator=generator)).half()
    return out


@pytest.fixture(scope="module")
def file(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "inception.safetensors"
    extra = {
        "fc.weight": torch.zeros(8, 2048),
        "AuxLogits.fc.weight": torch.zeros(8, 768),
        "Mixed_5b.branch1x1.bn.num_batches_tracked": torch.tensor(7),
    }
    save_file({**weights, **extra}, path)
    return path


@pytest.fixture(scope="module")
def net(file):
    return load_inception(file)


def test_as_many_parameters_as_published():
    # torchvision's table of inception_v3 weights: 27,161,264, with its two classifiers of 1000 classes
    auxiliary = (768 * 128 + 2 * 128) + (128 * 768 * 25 + 2 * 768) + (768 * 1000 + 1000)
    own = sum(p.numel() for p in bare().parameters())
    assert own == 27_161_264 - auxiliary - (2048 * 1000 + 1000) == 21_785_568


def test_names_and_shapes_are_those_of_the_weights_people_have():
    found = {k: tuple(v.shape) for k, v in bare().state_dict().items() if not k.endswith("num_batches_tracked")}
    wanted = {}
    for name, shape in convolutions().items():
        wanted[f"{name}.conv.weight"] = shape
        wanted |= {f"{name}.bn.{part}": shape[:1] for part in ("weight", "bias", "running_mean", "running_var")}
    assert len(convolutions()) == 94
    assert found == wanted
    assert all(m.eps == 0.001 for m in bare().modules() if isinstance(m, nn.BatchNorm2d))


def test_maps_halve_as_in_the_paper():
    seen = {}
    net = bare()
    for name, module in net.named_children():
        module.register_forward_hook(lambda _, __, out, name=name: seen.update({name: tuple(out.shape[1:])}))
    net.maps(torch.zeros(1, 3, 299, 299, device="meta"))
    assert seen["Conv2d_2b_3x3"] == (64, 147, 147)
    assert seen["Conv2d_4a_3x3"] == (192, 71, 71)
    assert seen["Mixed_5d"] == (288, 35, 35)  # table 1 of the paper
    assert seen["Mixed_6e"] == (768, 17, 17)
    assert seen["Mixed_7a"] == (1280, 8, 8)
    assert seen["Mixed_7c"] == (2048, 8, 8)


def test_features_of_any_size_and_of_grey(net):
    grey = torch.rand(2, 1, 12, 20) * 2 - 1
    features = net(grey)
    assert features.shape == (2, 2048)
    assert features.dtype == torch.float32
    assert torch.isfinite(features).all()
    torch.testing.assert_close(features, net(grey.expand(-1, 3, -1, -1)))
    torch.testing.assert_close(features[1:], net(grey[1:]), atol=1e-4, rtol=1e-4)
    assert (features[0] - features[1]).abs().max() > 1e-3


def test_what_a_saved_picture_cannot_hold_is_cut(net):
    x = 3 * torch.randn(1, 1, 8, 8)
    torch.testing.assert_close(net(x), net(x.clamp(-1, 1)))


def test_stays_as_it_was_loaded(net, weights):
    assert not net.train().training
    assert not any(p.requires_grad for p in net.parameters())
    torch.testing.assert_close(
        net.Mixed_7c.branch_pool.bn.running_var, weights["Mixed_7c.branch_pool.bn.running_var"].float()
    )


def _plain(pool):
    """A block whose pool passes through unchanged, and the eps it must be scaled back by."""
    block = _Mixed(1, [[(("branch1x1", 1, 1, 1),)]], pool, 1).eval()
    for conv in (block.branch1x1, block.branch_pool):
        nn.init.ones_(conv.conv.weight)
    return lambda x: block(x)[:, 1] * 1.001**0.5


def test_average_counts_only_what_is_inside():
    x = torch.arange(1.0, 10).reshape(1, 1, 3, 3)
    out = _plain("average")(x)[0]
    # corner: (1 + 2 + 4 + 5) / 4; edge: (1 + 2 + 3 + 4 + 5 + 6) / 6; middle: 45 / 9
    assert torch.allclose(out, torch.tensor([[3.0, 3.5, 4.0], [4.5, 5.0, 5.5], [6.0, 6.5, 7.0]]))


def test_the_last_block_pools_by_the_maximum():
    x = torch.arange(1.0, 10).reshape(1, 1, 3, 3)
    assert torch.allclose(_plain("max")(x)[0], torch.tensor([[5.0, 6, 6], [8, 9, 9], [8, 9, 9]]))
    pools = {name: m.pool for name, m in bare().named_children() if isinstance(m, _Mixed)}
    assert pools.pop("Mixed_7c") == "max"
    assert {name for name, pool in pools.items() if pool == "halve"} == {"Mixed_6a", "Mixed_7a"}
    assert set(pools.values()) == {"average", "halve"}


def test_the_note_names_the_weights(net, file):
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert net.weights == digest
    assert net.about == f"2048 Inception features, weights {digest[:12]}"


def test_loading_draws_nothing_from_the_global_stream(file):
    before = torch.random.get_rng_state()
    load_inception(file)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("shape", [(2, 2, 8, 8), (2, 4, 8, 8), (2, 64), (3, 8, 8)])
def test_only_pictures(net, shape):
    with pytest.raises(SpecError, match=r"^.*not pictures of 1 or 3 channels.*$"):
        net(torch.zeros(shape))


def test_a_missing_file_and_a_folder(tmp_path):
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(CheckpointError, match=r"^cannot read the features .*; give a safetensors file"):
            load_inception(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_is_refused_with_the_line_that_converts_it(tmp_path, zipped):
    path = tmp_path / "pt_inception.pth"
    torch.save({"fc.weight": torch.zeros(2)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError) as caught:
        load_inception(path)
    told = str(caught.value)
    assert "pickle" in told
    assert "\n" not in told
    code = told.split('python -c "')[1].rsplit('"', 1)[0]
    assert "weights_only=True" in code
    assert "'pt_inception.pth'" in code
    assert "'pt_inception.safetensors'" in code
    compile(code, "mend", "exec")


def test_the_first_tensor_that_is_missing_or_misshapen_is_named(tmp_path, weights):
    path = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"lack the tensor Conv2d_1a_3x3\.conv\.weight"):
        load_inception(path)
    name = "Conv2d_1a_3x3.bn.bias"
    some = {k: v for k, v in weights.items() if k.startswith("Conv2d_1a_3x3")}
    save_file(some | {name: torch.zeros(31)}, path)
    with pytest.raises(CheckpointError, match=rf"the tensor {name} has shape \(31,\); Inception-v3 has \(32,\)$"):
        load_inception(path)


def test_damage_is_told_in_one_line(tmp_path, file):
    for content in (file.read_bytes()[:5000], b"not weights at all", b""):
        path = tmp_path / "damaged.safetensors"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"^the features .*damaged.*$"):
            load_inception(path)
