"""Pictures: read, encode, decode, write and show, and every bad input with its one-line error."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
import zipfile
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bottega.codecs.image import ImageCodec, read_mark
from bottega.core import Codec, DataError, Item, OutputError, RecipeError, Spec, lookup
from bottega.data.stream import Stream
from helpers import SHARED, one_line


def picture(seed=0, height=8, width=8, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def as_pil(value):
    return Image.fromarray(value[..., 0] if value.shape[-1] == 1 else value)


def png(value, **options):
    file = io.BytesIO()
    as_pil(value).save(file, options.pop("format", "PNG"), **options)
    return file.getvalue()


@pytest.fixture
def classes(tmp_path):
    """Three pictures in two class folders, one level deeper than the root."""
    for k, name in enumerate(("set/cat/a.png", "set/cat/deep/b.png", "set/dog/c.png")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png(picture(k)))
    return tmp_path


def test_it_is_the_codec_called_image():
    assert lookup("codecs", "image") is ImageCodec
    codec: Codec = ImageCodec()
    assert codec.medium == "image"


# ---- reading -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["png", "bmp", "webp", "gif", "jpg", "jpeg"])
def test_every_format_is_read(tmp_path, ending):
    value = np.kron(np.array([[0, 255], [255, 0]], np.uint8), np.ones((8, 8), np.uint8))[..., None].repeat(3, -1)
    options = {"lossless": True} if ending == "webp" else {"quality": 95} if ending.startswith("jp") else {}
    as_pil(value).save(tmp_path / f"x.{ending}", **options)
    (item,) = ImageCodec(size=0).read(tmp_path)
    tolerance = 8 if ending.startswith("jp") else 0
    assert item.value.dtype == np.uint8
    assert item.value.shape == (16, 16, 3)
    assert np.abs(item.value.astype(int) - value).max() <= tolerance


def test_classes_come_from_folders_below_what_all_share(classes):
    items = ImageCodec(size=0).read(classes)
    assert [(i.name, i.cond) for i in items] == [
        ("set/cat/a.png", "cat"), ("set/cat/deep/b.png", "cat"), ("set/dog/c.png", "dog"),
    ]  # fmt: skip
    codec = ImageCodec(size=0).fit(items)
    assert codec.spec == Spec((3, 8, 8), cond=Spec((), vocab=2))
    assert codec.encode(items).cond.tolist() == [0, 0, 1]
    assert ImageCodec(size=0, labels="none").fit(ImageCodec(size=0, labels="none").read(classes)).spec.cond is None


def test_pictures_outside_class_folders_have_no_class_and_labels_folder_says_so(classes):
    (classes / "set" / "stray.png").write_bytes(png(picture(9)))
    assert {i.cond for i in ImageCodec().read(classes)} == {None}
    with pytest.raises(DataError) as error:
        ImageCodec(labels="folder").read(classes)
    one_line(error, "set/stray.png", "class folder")


def test_classes_from_a_csv_and_a_named_column(classes):
    rows = "file,label,kind\nset/cat/a.png,red,x\nset/cat/deep/b.png,blue,y\nset/dog/c.png,red,y\n"
    (classes / "labels.csv").write_text(rows)
    assert [i.cond for i in ImageCodec(labels="labels.csv").read(classes)] == ["red", "blue", "red"]
    assert [i.cond for i in ImageCodec(labels="labels.csv:kind").read(classes)] == ["x", "y", "y"]
    with pytest.raises(DataError) as error:
        ImageCodec(labels="labels.csv:lable").read(classes)
    one_line(error, "labels.csv", "'lable'", "did you mean 'label'?")
    (classes / "set" / "new.png").write_bytes(png(picture(9)))
    with pytest.raises(DataError) as error:
        ImageCodec(labels="labels.csv").read(classes)
    one_line(error, "set/new.png", "add a row")
    codec = ImageCodec(labels="labels.csv", on_error="skip")
    assert len(codec.read(classes)) == 3
    assert len(codec.skipped) == 1


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar"])
def test_archives_are_read_in_memory(tmp_path, classes, kind):
    packed = tmp_path / f"all.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(packed, "w") as archive:
            for path in classes.rglob("*.png"):
                archive.write(path, path.relative_to(classes))
            archive.writestr("../../outside/evil.png", png(picture(5)))
            archive.writestr("__MACOSX/set/._a.png", b"junk")
    else:
        with tarfile.open(packed, "w:gz" if kind == "tar.gz" else "w") as archive:
            for path in classes.rglob("*.png"):
                archive.add(path, path.relative_to(classes))
    before = sorted(p.name for p in tmp_path.parent.rglob("*"))
    items = ImageCodec(size=0).read(packed)
    assert sorted(p.name for p in tmp_path.parent.rglob("*")) == before
    packed.rename(tmp_path.with_suffix(f".{kind}"))  # out of the folder it was made from
    direct = ImageCodec(size=0).read(classes)
    assert [(i.name, i.cond) for i in items] == [(i.name, i.cond) for i in direct]  # nothing hidden, nothing outside
    for item, same in zip(items, direct, strict=True):
        np.testing.assert_array_equal(item.value, same.value)


def test_a_folder_with_one_archive_is_that_archive_and_with_two_must_be_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x.png", png(picture()))
    (tmp_path / "README.md").write_text("about")
    assert len(ImageCodec().read(tmp_path)) == 1
    np.savez(tmp_path / "b.npz", x=picture()[None])
    with pytest.raises(DataError) as error:
        ImageCodec().read(tmp_path)
    one_line(error, "a.zip, b.npz", "name one")


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_with_its_labels(tmp_path, zipped):
    x, y = picture(0, 6, 5, 4).transpose(2, 0, 1), np.array([3, 1, 3, 10], np.uint8)
    pack, end = (gzip.compress, ".gz") if zipped else (bytes, "")
    for side in ("train", "t10k"):
        (tmp_path / f"{side}-images-idx3-ubyte{end}").write_bytes(pack(idx(x if side == "train" else x[:2])))
        (tmp_path / f"{side}-labels-idx1-ubyte{end}").write_bytes(pack(idx(y if side == "train" else y[:2])))
    items = ImageCodec(size=0).read(tmp_path)
    assert len(items) == 4
    np.testing.assert_array_equal(items[2].value[..., 0], x[2])
    codec = ImageCodec(size=0).fit(items)
    assert codec.spec.shape == (1, 6, 5)
    assert codec.classes == ["1", "3", "10"]
    assert len(ImageCodec(size=0).read(tmp_path / f"t10k-images-idx3-ubyte{end}")) == 2
    (tmp_path / "short-images-idx3-ubyte").write_bytes(idx(x)[:-7])
    with pytest.raises(DataError) as error:
        ImageCodec(size=0).read(tmp_path / "short-images-idx3-ubyte")
    one_line(error, "short-images-idx3-ubyte", "truncated")


def test_cifar_binary_and_its_names(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)
    y = np.array([0, 1, 1, 0, 2], np.uint8)
    rows = np.concatenate([y[:, None], x.reshape(5, -1)], 1)
    (tmp_path / "data_batch_1.bin").write_bytes(rows[:3].tobytes())
    (tmp_path / "data_batch_2.bin").write_bytes(rows[3:].tobytes())
    (tmp_path / "test_batch.bin").write_bytes(rows[:1].tobytes())
    (tmp_path / "batches.meta.txt").write_text("airplane\nautomobile\nbird\n\n")
    items = ImageCodec().read(tmp_path)
    assert [i.cond for i in items] == ["airplane", "automobile", "automobile", "airplane", "bird"]
    np.testing.assert_array_equal(items[4].value, x[4].transpose(1, 2, 0))
    assert len(ImageCodec().read(tmp_path / "test_batch.bin")) == 1
    (tmp_path / "data_batch_2.bin").write_bytes(rows[3:].tobytes()[:-1])
    with pytest.raises(DataError) as error:
        ImageCodec().read(tmp_path)
    one_line(error, "data_batch_2.bin", "3073", "truncated")


def test_npz_and_npy(tmp_path):
    x, y = np.stack([picture(k, channels=1)[..., 0] for k in range(3)]), np.array([7, 7, 8])
    np.savez(tmp_path / "a.npz", x=x, y=y)
    items = ImageCodec(size=0).read(tmp_path / "a.npz")
    assert [(i.value.shape, i.cond) for i in items] == [((8, 8, 1), "7"), ((8, 8, 1), "7"), ((8, 8, 1), "8")]
    np.save(tmp_path / "b.npy", np.stack([picture(k).transpose(2, 0, 1) for k in range(3)]))
    assert ImageCodec(size=0).read(tmp_path / "b.npy")[1].value.shape == (8, 8, 3)
    np.testing.assert_array_equal(ImageCodec(size=0).read(tmp_path / "b.npy")[1].value, picture(1))


def test_transparent_palette_sixteen_bit_and_turned_pictures(tmp_path):
    clear = np.zeros((4, 4, 4), np.uint8)
    clear[:2] = (200, 100, 50, 255)
    as_pil(clear).save(tmp_path / "a.png")
    (item,) = ImageCodec(size=0, background="#000080").read(tmp_path / "a.png")
    assert item.value[0, 0].tolist() == [200, 100, 50]
    assert item.value[3, 3].tolist() == [0, 0, 128]
    as_pil(picture()).quantize(16).save(tmp_path / "p.png")
    assert ImageCodec(size=0).read(tmp_path / "p.png")[0].value.shape == (8, 8, 3)
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(tmp_path / "deep.png")
    assert ImageCodec(size=0).read(tmp_path / "deep.png")[0].value.flatten().tolist() == [40_000 >> 8] * 16
    exif = Image.Exif()
    exif[0x0112] = 6  # held sideways
    as_pil(picture(0, 4, 9)).save(tmp_path / "t.png", exif=exif)
    assert ImageCodec(size=0).read(tmp_path / "t.png")[0].value.shape == (9, 4, 3)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_framing(fit):
    value = np.zeros((10, 20, 3), np.uint8)
    value[:, 5:15] = 255  # a white square in the middle of a black band
    codec = ImageCodec(size=10, fit=fit, background="red").fit([Item(value)])
    (out,) = codec.decode(codec.encode([Item(value)]).x)
    if fit == "crop":
        assert out.value.min() == 255
    elif fit == "pad":
        assert out.value[0, 0].tolist() == [255, 0, 0]
        assert out.value[5, 5].min() > 240
        assert out.value[5, 0].max() < 20
    else:
        assert out.value[5, 0].max() < 20
        assert out.value[0, 5].min() > 240


def test_resizing_does_not_alias():
    stripes = np.zeros((64, 64, 1), np.uint8)
    stripes[:, ::2] = 255  # finer than the small picture can show: it must become grey
    codec = ImageCodec(size=8).fit([Item(stripes)])
    assert codec.encode([Item(stripes)]).x.abs().max() < 0.15


# ---- encode and decode -------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([1, 3]), st.sampled_from([0, 256]))
def test_decode_is_the_exact_inverse(seed, channels, levels):
    items = [Item(picture(seed + k, 5, 7, channels)) for k in range(2)]
    codec = ImageCodec(size=0, levels=levels).fit(items)
    batch = codec.encode(items)
    assert batch.x.dtype == (torch.int64 if levels else torch.float32)
    for item, back in zip(items, codec.decode(batch.x), strict=True):
        np.testing.assert_array_equal(item.value, back.value)


def test_all_256_values_come_back_and_fill_minus_one_to_one():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    codec = ImageCodec(size=0).fit([Item(values)])
    x = codec.encode([Item(values)]).x
    assert (x.min().item(), x.max().item()) == (-1, 1)
    np.testing.assert_array_equal(codec.decode(x)[0].value, values)


@pytest.mark.parametrize("levels", [2, 3, 16, 17, 100, 128, 129, 200, 255, 256])
def test_levels_are_a_fixed_point_of_decode_and_encode(levels):
    x = torch.arange(levels).reshape(1, 1, 1, levels)
    codec = ImageCodec(size=0, levels=levels)
    codec.fit([Item(np.zeros((1, levels, 1), np.uint8))])
    assert codec.spec == Spec((1, 1, levels), vocab=levels, ordinal=True)
    assert torch.equal(codec.encode(codec.decode(x)).x, x)
    nearest = ((torch.arange(256) * (levels - 1)) / 255 - codec._numbers(torch.arange(256, dtype=torch.uint8))).abs()
    assert nearest.max() <= 0.5 or levels == 2


def test_binarised_by_threshold_or_drawn_row_by_row():
    items = [Item(np.full((64, 64, 1), v, np.uint8)) for v in (0, 51, 127, 128, 255)]
    shares = ImageCodec(size=0, levels=2).fit(items).encode(items).x.float().mean((1, 2, 3)).tolist()
    assert shares == [0, 0, 0, 1, 1]
    drawn = ImageCodec(size=0, levels=2, binarise="draw").fit(items)
    x = drawn.encode(items).x
    assert x.float().mean((1, 2, 3)).tolist() == pytest.approx([0, 0.2, 0.5, 0.5, 1], abs=0.03)
    assert torch.equal(drawn.encode(items[1:2]).x, x[1:2])
    assert torch.equal(drawn.source(items, train=True).take(torch.tensor([3, 1])).x, x[[3, 1]])


def test_binarised_anew_each_time_in_training_only():
    items = [Item(np.full((64, 64, 1), v, np.uint8), str(v)) for v in (0, 51, 127, 255)]
    codec = ImageCodec(size=0, levels=2, binarise="anew").fit(items)
    still = ImageCodec(size=0, levels=2, binarise="draw").fit(items)
    assert torch.equal(codec.encode(items).x, still.encode(items).x)
    assert torch.equal(codec.source(items, train=False).take(torch.arange(4)).x, still.encode(items).x)
    source = codec.source(items, train=True)
    first, again = (next(Stream(source, 4, seed=s)) for s in (0, 0))
    other = next(Stream(source, 4, seed=1))
    assert torch.equal(first.x, again.x)  # a batch depends on the seed and its number only
    shares = {str(int(c)): x.float().mean().item() for x, c in zip(other.x, other.cond, strict=True)}
    for name, share in zip(codec.classes, (0, 0.2, 0.5, 1), strict=True):
        assert shares[str(codec.classes.index(name))] == pytest.approx(share, abs=0.03)
    grey = codec.classes.index("127")
    assert not torch.equal(first.x[first.cond == grey], other.x[other.cond == grey])
    assert first.x.dtype == torch.int64


def test_decode_clips():
    codec = ImageCodec(size=0).fit([Item(np.zeros((1, 3, 1), np.uint8))])
    (out,) = codec.decode(torch.tensor([[[[-9.0, 9.0, float("nan")]]]]))
    assert out.value.ravel().tolist()[:2] == [0, 255]


def test_source_gives_what_encode_gives(classes):
    items = ImageCodec(size=0).read(classes)
    codec = ImageCodec(size=0).fit(items)
    source, whole = codec.source(items, train=True), codec.encode(items)
    assert len(source) == 3
    rows = torch.tensor([2, 0])
    assert torch.equal(source.take(rows).x, whole.x[rows])
    assert torch.equal(source.take(rows).cond, whole.cond[rows])


def test_conditions_and_state():
    items = [Item(picture(k), c) for k, c in enumerate(("9", "10", None, "9"))]
    codec = ImageCodec(size=0).fit(items)
    assert codec.classes == ["9", "10"]
    assert codec.encode(items).cond.tolist() == [0, 1, -1, 0]
    again = ImageCodec(size=0).load_state(codec.state())
    assert (again.spec, again.classes, again.state()) == (codec.spec, codec.classes, codec.state())
    assert [i.cond for i in again.decode(codec.encode(items).x, torch.tensor([0, 1, -1, 0]))] == ["9", "10", None, "9"]
    with pytest.raises(RecipeError) as error:
        codec.encode_cond(["90"])
    one_line(error, "'90'", "did you mean '9'?")
    with pytest.raises(DataError):
        codec.encode([Item(picture(), "cat")])


def test_captions_word_by_word():
    items = [Item(picture(k), c) for k, c in enumerate(("a red circle", "A small blue square", None))]
    codec = ImageCodec(size=0, cond="words").fit(items)
    assert codec.spec.cond == Spec((4,), vocab=7)
    batch = codec.encode(items)
    assert batch.cond[2].tolist() == [0, 0, 0, 0]
    back = codec.decode(batch.x, batch.cond)
    assert [i.cond for i in back] == ["a red circle", "a small blue square", None]
    again = ImageCodec(size=0, cond="words").load_state(codec.state())
    assert torch.equal(again.encode_cond(["a blue circle"]), codec.encode_cond(["a blue circle"]))
    with pytest.raises(RecipeError) as error:
        codec.encode_cond(["a rad circle"])
    one_line(error, "'rad'", "did you mean 'red'?")


def test_grey_stays_grey_mixed_becomes_colour_and_one_channel_is_asked_for():
    grey, colour = Item(picture(channels=1)), Item(picture(1))
    assert ImageCodec(size=0).fit([grey]).spec.shape[0] == 1
    mixed = ImageCodec(size=0).fit([grey, colour])
    assert mixed.spec.shape[0] == 3
    np.testing.assert_array_equal(mixed.decode(mixed.encode([grey]).x)[0].value, grey.value.repeat(3, -1))
    asked = ImageCodec(size=0, channels=1).fit([grey, colour])
    luma = (colour.value @ np.array([0.299, 0.587, 0.114])).round()
    assert np.abs(asked.decode(asked.encode([colour]).x)[0].value[..., 0] - luma).max() <= 1


def test_start_edit_keeps_the_upper_half_or_what_the_mask_leaves(tmp_path):
    items = [Item(picture(k), c) for k, c in enumerate("ab")]
    codec = ImageCodec(size=0).fit(items)
    batch, keep = codec.start_edit(items[1])
    assert batch.cond.tolist() == [1]
    assert keep[0, :, :4].all()
    assert not keep[0, :, 4:].any()
    mask = np.zeros((8, 8, 1), np.uint8)
    mask[2:4, 1:3] = 255
    (tmp_path / "m.png").write_bytes(png(mask))
    (tmp_path / "x.png").write_bytes(png(items[0].value))
    (tmp_path / "large.png").write_bytes(png(picture(0, 9, 9)))
    with pytest.raises(DataError, match=r"large\.png is 9x9"):
        codec.start_edit(tmp_path / "large.png")
    batch, keep = codec.start_edit(tmp_path / "x.png", tmp_path / "m.png")
    assert batch.cond.tolist() == [-1]
    assert torch.equal(~keep[0, 0], torch.from_numpy(mask[..., 0] > 0))


# ---- writing and showing -----------------------------------------------------------------------------------------------


def test_a_written_picture_carries_its_mark_and_its_pixels(tmp_path):
    mark = {"machine_made": "true", "software": "bottega 0.1.0", "weights": "ab<&>12", "seed": "7", "prompt": "größe ✓"}
    codec = ImageCodec(size=0)
    path = codec.write(Item(picture()), tmp_path / "new" / "piece-7", mark)
    assert path.name == "piece-7.png"
    assert read_mark(path) == mark
    assert b"trainedAlgorithmicMedia" in path.read_bytes()
    with Image.open(path) as written:
        packet = ElementTree.fromstring(written.info["xmp"])
        assert written.text["Software"] == "bottega 0.1.0"
    said = {element.tag.split("}")[1]: element.text for element in packet.iter()}
    assert said["DigitalSourceType"] == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    assert (said["CreatorTool"], said["weights"], said["prompt"]) == ("bottega 0.1.0", "ab<&>12", "größe ✓")
    np.testing.assert_array_equal(codec.read(path)[0].value, picture())
    plain = codec.write(Item(picture(channels=1)), tmp_path / "plain.png")
    assert read_mark(plain) == {}
    with pytest.raises(DataError):
        read_mark(tmp_path / "absent.png")


def test_no_place_to_write_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError) as error:
        ImageCodec().write(Item(picture()), tmp_path / "file" / "x.png")
    one_line(error, "x.png", "choose another folder")


@pytest.mark.parametrize(("n", "side"), [(1, 8), (16, 8), (13, 28), (36, 32), (6, 500), (100, 28)])
def test_the_sheet_is_about_800_wide_and_small_pixels_stay_sharp(tmp_path, n, side):
    items = [Item(picture(k, side, side, 1), None) for k in range(n)]
    path = ImageCodec(size=0).show(items, tmp_path / "sheet")
    with Image.open(path) as sheet:
        assert 480 <= sheet.width <= 1100
        sheet_pixels = np.asarray(sheet)
    if n == 16:  # only the paper and the greys that the pictures hold: nothing was smoothed
        held = {(int(v),) * 3 for i in items for v in i.value.ravel()} | {(250, 249, 246)}
        assert {tuple(p) for p in np.unique(sheet_pixels.reshape(-1, 3), axis=0).tolist()} <= held


def test_the_sheet_has_captions_where_there_are_conditions(tmp_path):
    items = [Item(picture(k, 8, 8, 1)) for k in range(4)]
    codec = ImageCodec(size=0)
    with Image.open(codec.show(items, tmp_path / "a")) as bare, Image.open(
        codec.show([Item(i.value, "a very long class name that cannot fit below") for i in items], tmp_path / "b")
    ) as named:  # fmt: skip
        assert named.height > bare.height
        assert named.width == bare.width


# ---- bad input ---------------------------------------------------------------------------------------------------------


def test_nothing_there_and_an_empty_folder(tmp_path):
    with pytest.raises(DataError) as error:
        ImageCodec().read(tmp_path / "absent")
    one_line(error, "there is no", "absent")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError) as error:
        ImageCodec().read(tmp_path)
    one_line(error, tmp_path, "holds no picture", ".png")
    with pytest.raises(DataError) as error:
        ImageCodec().read(tmp_path / "notes.txt")
    one_line(error, "notes.txt", "supported")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("cut.png", png(picture(0, 64, 64))[:2000]),
        ("cut.jpg", png(picture(0, 64, 64), format="JPEG")[:900]),
        ("noise.png", bytes(range(256))),
        ("empty.png", b""),
        ("script.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
    ],
)
def test_an_unreadable_picture_stops_or_is_skipped(tmp_path, name, data):
    (tmp_path / "good.png").write_bytes(png(picture()))
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError) as error:
        ImageCodec().read(tmp_path)
    one_line(error, name, "on_error = 'skip'")
    codec = ImageCodec(on_error="skip")
    assert [i.name for i in codec.read(tmp_path)] == ["good.png"]
    assert len(codec.skipped) == 1
    (tmp_path / "good.png").unlink()
    with pytest.raises(DataError) as error:
        codec.read(tmp_path)
    one_line(error, "1 unreadable")


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    (tmp_path / "x.png").write_bytes(png(picture(0, 64, 64)))
    for most in (64 * 64 - 1, 64 * 32 - 1):  # Pillow warns at the first and refuses at the second
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
        with pytest.raises(DataError) as error:
            ImageCodec().read(tmp_path)
        one_line(error, "x.png", f"{most:,}", "on_error = 'skip'")
        with pytest.raises(DataError) as error:  # alone there is nothing to pass over, and one limit is named
            ImageCodec().read(tmp_path / "x.png")
        one_line(error, "x.png", f"{most:,}", "make it smaller")
        assert "on_error" not in str(error.value)
        assert " has 4,096 pixels and one picture may have " in str(error.value)


def test_pickles_are_refused(tmp_path):
    bad = np.empty(2, object)
    bad[:] = [{}, {}]
    np.savez(tmp_path / "x.npz", x=bad)
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"data": [1], b"labels": [2]}))
    for name in ("x.npz", "data_batch_1", ""):
        if name == "":
            (tmp_path / "x.npz").unlink()
        with pytest.raises(DataError) as error:
            ImageCodec().read(tmp_path / name)
        one_line(error, "is a pickle", "binary")


def test_wrong_channels_sizes_and_kinds_are_named(tmp_path):
    np.savez(tmp_path / "two.npz", x=np.zeros((3, 8, 8, 2), np.uint8))
    with pytest.raises(DataError) as error:
        ImageCodec().read(tmp_path / "two.npz")
    one_line(error, "two.npz", "2 channels")
    np.savez(tmp_path / "real.npz", x=np.zeros((3, 8, 8), np.float32))
    with pytest.raises(DataError) as error:
        ImageCodec().read(tmp_path / "real.npz")
    one_line(error, "float32", "uint8")
    np.savez(tmp_path / "uneven.npz", x=np.zeros((3, 8, 8), np.uint8), y=np.zeros(2))
    with pytest.raises(DataError) as error:
        ImageCodec().read(tmp_path / "uneven.npz")
    one_line(error, "3 pictures but 2 labels")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(DataError) as error:
        ImageCodec().read(tmp_path / "broken.npz")
    one_line(error, "broken.npz")
    with pytest.raises(DataError) as error:
        ImageCodec(size=0).fit([Item(picture(), name="a.png"), Item(picture(0, 9, 8), name="b.png")])
    one_line(error, "a.png is 8x8", "b.png is 8x9", "codec.size")
    grey = ImageCodec(size=0).fit([Item(picture(channels=1))])
    with pytest.raises(DataError) as error:
        grey.encode([Item(picture(), name="c.png")])
    one_line(error, "c.png is in colour", "codec.channels")
    with pytest.raises(DataError) as error:
        grey.encode([Item(picture(channels=5), name="d.png")])
    one_line(error, "d.png", "(8, 8, 5)")
    with pytest.raises(DataError) as error:
        ImageCodec().fit([])
    one_line(error, "no pictures")


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz"])
def test_a_damaged_archive_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x1f\x8b\x08 this is no archive")
    with pytest.raises(DataError) as error:
        ImageCodec().read(tmp_path / name)
    one_line(error, name, "archive is whole")


def test_a_cut_tar_is_named(tmp_path):
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as archive:
        for k in range(20):
            data = png(picture(k, 32, 32))
            info = tarfile.TarInfo(f"{k}.png")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    (tmp_path / "cut.tgz").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    with pytest.raises(DataError) as error:
        ImageCodec().read(tmp_path / "cut.tgz")
    one_line(error, "cut.tgz")


@pytest.mark.parametrize(
    "arguments",
    [{"size": -1}, {"channels": 2}, {"levels": 1}, {"levels": 300}, {"fit": "corp"}, {"background": "wite"}, {"on_error": "go"},
     {"binarise": "x"}, {"cond": "klass"}],
)  # fmt: skip
def test_values_that_mean_nothing_are_refused(arguments):
    with pytest.raises(RecipeError) as error:
        ImageCodec(**arguments)
    one_line(error, f"codec.{next(iter(arguments))}", next(iter(arguments.values())))


@pytest.mark.shared
def test_the_shared_sets_are_read():
    if not (SHARED / "crawl_tiles").is_dir():
        pytest.skip(f"no shared data at {SHARED}")
    tiles = ImageCodec(labels="captions.csv:category").read(SHARED / "crawl_tiles")
    assert len(tiles) == 3408
    assert {i.cond for i in tiles} == {"dungeon", "monster", "item", "effect", "icon", "player"}
    assert ImageCodec().fit(tiles).spec.shape == (3, 32, 32)
    mnist = ImageCodec(size=0, levels=2).read(SHARED / "mnist" / "mnist_train.npz")
    codec = ImageCodec(size=0, levels=2).fit(mnist)
    assert (len(mnist), codec.spec) == (60_000, Spec((1, 28, 28), 2, True, cond=Spec((), vocab=10)))
