"""Points come back exactly, densities can be stated in the data's units, and bad files are refused in one line."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bottega.codecs.points import PointsCodec
from bottega.core import DataError, Item, RecipeError, Spec


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, st.tuples(st.integers(1, 20), st.integers(1, 4)), elements=st.floats(-1e6, 1e6)))
def test_points_come_back(points):
    items = [Item(row) for row in points]
    codec = PointsCodec().fit(items)
    x = codec.encode(items).x
    assert x.dtype == torch.float32
    assert x.shape == (len(points), *codec.spec.shape)
    assert x.abs().max() <= 1
    again = PointsCodec().load_state(json.loads(json.dumps(codec.state())))
    for item, point in zip(again.decode(x), points, strict=True):
        assert np.allclose(item.value, point, atol=1e-6 * (1 + np.abs(points).max()))


def test_log_det_restates_a_density():
    """A standard normal z has, in the data's units, the normal density of that spread."""
    items = [Item((-3.0, 0.0)), Item((5.0, 4.0))]
    codec = PointsCodec().fit(items)
    x = np.array([[1.5, 2.5], [-1.0, 3.0]])
    z = codec.encode([Item(row) for row in x]).x.double()
    encoded = -(z**2).sum(1) / 2 - math.log(math.tau)
    spread = torch.distributions.Normal(torch.tensor(codec.center), torch.tensor(codec.half))
    assert torch.allclose(encoded + codec.log_det, spread.log_prob(torch.tensor(x)).sum(1), atol=1e-6)
    assert PointsCodec(scale=2.0).fit(items).log_det == pytest.approx(-2 * math.log(2))
    assert PointsCodec(scale=2.0).fit(items).encode(items).x.tolist() == [[-1.5, 0.0], [2.5, 2.0]]


def test_classes():
    items = [Item((0.0,), "b"), Item((1.0,), "a"), Item((2.0,), "b")]
    codec = PointsCodec().fit(items)
    assert codec.spec == Spec((1,), cond=Spec((), vocab=2))
    batch = codec.encode(items)
    assert batch.cond.tolist() == [1, 0, 1]
    assert [i.cond for i in codec.decode(batch.x, batch.cond)] == ["b", "a", "b"]
    assert codec.encode_cond([None]).tolist() == [-1]
    with pytest.raises(RecipeError, match="there is no class 'c'; known: a, b"):
        codec.encode_cond(["c"])
    with pytest.raises(RecipeError, match="have no classes; leave --cond out"):
        PointsCodec().fit([Item((0.0,))]).encode_cond(["a"])


def test_files(tmp_path):
    points = np.array([[0.5, -1.25], [3.0, 1e-9]])
    np.save(tmp_path / "p.npy", points)
    (tmp_path / "h.csv").write_text("x,y\n0.5,-1.25\n\n3,1e-9\n")
    codec = PointsCodec()
    items = codec.read(tmp_path / "p.npy")
    for read in (items, codec.read(tmp_path / "h.csv")):
        assert np.array_equal([i.value for i in read], points)
    out = codec.fit(items).write_all(items, tmp_path / "out", {"seed": "7"})
    assert np.array_equal([i.value for i in codec.read(out)], points)
    assert json.loads((tmp_path / "out.csv-metadata.json").read_text())["notes"] == [{"seed": "7"}]
    assert codec.write(items[0], tmp_path / "one").read_text() == "x1,x2\n0.5,-1.25\n"


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.csv", b"", "is empty; give one point in each line"),
        ("a.csv", b"x,y\n1,2\n3\n", "line 3: 1 numbers, the lines before have 2"),
        ("a.csv", b"1,2\n3,four\n", "line 2: '3,four' is not numbers"),
        ("a.csv", b"1,2\nnan,1\n", "point 2 is not finite; leave it out"),
        ("a.csv", b"\xff\xfe", "is not a UTF-8 text"),
        ("a.npy", b"\x93NUMPY", "is no NumPy array"),
        ("a.bin", b"", "holds no points; give a .csv of numbers or a .npy"),
    ],
)
def test_bad_files(tmp_path, name, content, match):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=match) as caught:
        PointsCodec().read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_bad_arrays_and_points(tmp_path):
    np.save(tmp_path / "o.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(DataError, match="holds Python objects, which would need pickle"):
        PointsCodec().read(tmp_path / "o.npy")
    np.save(tmp_path / "v.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"has shape \(3,\) of float64; save a float array of shape \(N, d\)"):
        PointsCodec().read(tmp_path / "v.npy")
    with pytest.raises(DataError, match="cannot read .*none.csv: No such file"):
        PointsCodec().read(tmp_path / "none.csv")
    with pytest.raises(DataError, match="there are no points"):
        PointsCodec().fit([])
    with pytest.raises(DataError, match="third has 1 coordinates, others 2; make them equal"):
        PointsCodec().fit([Item((1, 2)), Item((1, 2)), Item((1,), name="third")])
    with pytest.raises(DataError, match="points have 1 coordinates, the model 2"):
        PointsCodec().fit([Item((1, 2))]).encode([Item((1,))])
    with pytest.raises(RecipeError, match=r"codec.scale is -1; it must be above 0"):
        PointsCodec(scale=-1)


def test_show(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for d in (1, 2, 3):
        items = [Item(row) for row in rng.normal(size=(50, d))]
        path = PointsCodec().fit(items).show(items, tmp_path / f"sheet{d}", against=items[:20])
        with Image.open(path) as picture:
            assert np.asarray(picture.convert("L")).std() > 3
