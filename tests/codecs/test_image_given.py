"""Pictures of which a picture is known, pictures with alpha, and the pictures that people really bring."""

from __future__ import annotations

import resource
import struct
import sys
import zipfile
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bottega.codecs._degrade import DEGRADATIONS, NOISE, degraded
from bottega.codecs._pixels import straight, with_alpha_in
from bottega.codecs.image import ImageCodec
from bottega.core import Batch, DataError, Item, RecipeError, Rng, Spec, SpecError, lookup, names
from bottega.data.augment import make as make_augment
from bottega.data.dataset import fingerprint
from bottega.data.splits import split
from bottega.nets.condition import Condition, no_picture
from bottega.testing import CHECKS, check_family, specs
from helpers import one_line
from pictures import vast
from toys import ToyRestorer


def picture(seed=0, height=8, width=8, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def smooth(seed=0, side=32, channels=3):
    """Slow waves: what halving and blurring hardly change."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    waves = [
        np.sin(2 * np.pi * (rng.uniform(0, 1.5) * x + rng.uniform(0, 1.5) * y + rng.uniform())) for _ in range(channels)
    ]
    return (np.stack(waves, -1) * 100 + 128).astype(np.uint8)


def save(path, value, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(value[..., 0] if value.shape[-1] == 1 else value).save(path, **options)
    return path


@pytest.fixture
def pairs(tmp_path):
    """Four pairs; the given ones are grey, JPEG, and of half the side."""
    for k in range(4):
        target = smooth(k, 16)
        save(tmp_path / f"target/{k}.png", target)
        save(tmp_path / f"input/{k}.jpg", degraded(degraded(target, "half"), "grey"), quality=95)
    return tmp_path


# ---- degraded by the codec ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", DEGRADATIONS)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_what_is_known_is_the_picture_spoilt_the_same_every_time(way, channels):
    items = [Item(smooth(k, 16, channels)) for k in range(3)]
    codec = ImageCodec(size=0, degrade=way, channels=channels).fit(items)
    side = {"half": 8, "quarter": 4}.get(way, 16)
    deep = 1 if way in {"grey", "edges"} else channels
    assert codec.spec == Spec((channels, 16, 16), cond=Spec((deep, side, side)))
    batch = codec.encode(items)
    assert batch.cond.shape == (3, deep, side, side)
    assert batch.cond.dtype == torch.float32
    assert batch.cond.abs().max() <= 1
    assert torch.equal(codec.encode(items[1:]).cond, batch.cond[1:])
    rows = torch.tensor([2, 0])
    source = codec.source(items, train=True)
    assert torch.equal(source.take(rows).cond, batch.cond[rows])
    assert torch.equal(source.take(rows).x, batch.x[rows])
    again = ImageCodec(size=0, degrade=way, channels=channels).load_state(codec.state())
    assert again.spec == codec.spec
    assert torch.equal(again.encode(items).cond, batch.cond)


def test_what_each_degradation_does():
    value = smooth(1, 32)
    half = degraded(value, "half").astype(int)
    blocks = value.reshape(16, 2, 16, 2, 3).mean((1, 3))
    assert np.abs(half - blocks).max() < 4  # slow waves: bicubic and block means agree
    assert np.abs(degraded(value, "quarter").astype(int) - value.reshape(8, 4, 8, 4, 3).mean((1, 3))).max() < 12
    stripes = np.zeros((32, 32, 1), np.uint8)
    stripes[:, ::2] = 255
    assert np.ptp(degraded(stripes, "half")[:, 2:-2]) <= 2  # finer than it can show: grey, no aliasing
    luma = value @ np.array([0.299, 0.587, 0.114])
    assert np.abs(degraded(value, "grey")[..., 0] - luma).max() <= 1
    grey = np.full((64, 64, 3), 128, np.uint8)
    noise = degraded(grey, "noise").astype(float) - 128
    assert noise.std() == pytest.approx(NOISE, rel=0.05)
    assert (degraded(np.full((64, 64, 3), 129, np.uint8), "noise").astype(float) - 129).std() > 0
    assert not np.array_equal(degraded(grey, "noise"), degraded(grey + 1, "noise") - 1)  # other picture, other noise
    impulse = np.zeros((41, 41, 1), np.uint8)
    impulse[20, 20] = 255
    spread = degraded(np.kron(impulse, np.ones((1, 1, 1), np.uint8)), "blur").astype(float)[..., 0]
    assert spread[20, 20] < 40
    assert spread.sum() == pytest.approx(255, rel=0.25)  # rounded to whole greys
    step = np.zeros((8, 8, 1), np.uint8)
    step[:, 4:] = 200
    edges = degraded(step, "edges")[..., 0]
    assert (edges[:, 3:5] < 60).all()
    assert (edges[:, :3] == 255).all()
    assert (edges[:, 5:] == 255).all()


def test_labels_are_left_aside_and_impossible_sides_are_told():
    items = [Item(picture(k, 6, 6), str(k)) for k in range(3)]
    codec = ImageCodec(size=0, degrade="half").fit(items)
    assert codec.classes == []
    with pytest.raises(DataError) as error:
        ImageCodec(size=0, degrade="quarter").fit(items)
    one_line(error, "6x6", "multiple of 4")
    with pytest.raises(RecipeError) as error:
        ImageCodec(degrade="blurr")
    one_line(error, "'blurr'", "did you mean 'blur'?")
    with pytest.raises(RecipeError) as error:
        ImageCodec(degrade="blur", cond="words")
    one_line(error, "codec.degrade", "codec.cond")


# ---- pairs of files ----------------------------------------------------------------------------------------------------


def test_pairs_are_read_by_name_whatever_their_endings(pairs):
    codec = ImageCodec(size=16, cond="picture")
    items = codec.read(pairs)
    assert [item.name for item in items] == [f"target/{k}.png" for k in range(4)]
    assert [item.cond.shape for item in items] == [(16, 16, 1)] * 4
    codec.fit(items)
    assert codec.spec == Spec((3, 16, 16), cond=Spec((1, 16, 16)))
    np.testing.assert_array_equal(items[2].value, smooth(2, 16))
    keep = ImageCodec(size=0, cond="picture")
    batch = keep.fit(keep.read(pairs)).encode(keep.read(pairs))
    assert keep.spec == Spec((3, 16, 16), cond=Spec((1, 8, 8)))
    want = degraded(degraded(smooth(3, 16), "half"), "grey").astype(float)[..., 0] / 127.5 - 1
    assert np.abs(batch.cond[3, 0].numpy() - want).max() < 0.15  # JPEG
    back = keep.decode(batch.x, batch.cond)
    assert back[0].cond.shape == (8, 8, 1)
    assert torch.equal(ImageCodec(size=0, cond="picture").load_state(keep.state()).encode(back).cond, batch.cond)


def test_pairs_in_an_archive_and_deeper_down(pairs, tmp_path_factory):
    packed = tmp_path_factory.mktemp("packed") / "all.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(pairs.rglob("*.*")):
            archive.write(path, "set/" + path.relative_to(pairs).as_posix())
    direct, inside = (ImageCodec(size=16, cond="picture").read(where) for where in (pairs, packed))
    for a, b in zip(direct, inside, strict=True):
        np.testing.assert_array_equal(a.value, b.value)
        np.testing.assert_array_equal(a.cond, b.cond)


def test_a_picture_without_its_other_stops_or_is_skipped(pairs):
    (pairs / "input/1.jpg").unlink()
    save(pairs / "input/9.png", picture())
    with pytest.raises(DataError) as error:
        ImageCodec(cond="picture").read(pairs)
    one_line(error, "target/1.png", "input/", "add it")
    codec = ImageCodec(cond="picture", on_error="skip")
    assert [item.name for item in codec.read(pairs)] == ["target/0.png", "target/2.png", "target/3.png"]
    assert len(codec.skipped) == 2
    (pairs / "target/2.png").write_bytes(b"no picture")
    codec = ImageCodec(cond="picture", on_error="skip")
    assert [item.name for item in codec.read(pairs)] == ["target/0.png", "target/3.png"]
    assert len(codec.skipped) == 3  # a broken one is told once


def test_pairs_of_other_proportions_and_folders_without_pairs_are_refused(pairs, tmp_path_factory):
    save(pairs / "input/0.jpg", picture(0, 8, 12))
    with pytest.raises(DataError) as error:
        ImageCodec(cond="picture").read(pairs)
    one_line(error, "input/0.jpg", "1.50", "same part")
    other = tmp_path_factory.mktemp("plain")
    save(other / "a.png", picture())
    with pytest.raises(DataError) as error:
        ImageCodec(cond="picture").read(other)
    one_line(error, "input/ and target/", "codec.degrade")
    with pytest.raises(DataError) as error:
        ImageCodec(size=0, cond="picture").fit([Item(picture(), "cat", name="a.png")])
    one_line(error, "a.png", "input/", "codec.degrade")


def test_a_given_picture_is_a_file_an_array_an_address_or_a_piece(pairs):
    codec = ImageCodec(size=0, cond="picture")
    items = codec.read(pairs)
    codec.fit(items)
    want = codec.encode(items).cond
    addresses = codec.given_examples(items)
    assert len(addresses) == 4
    assert torch.equal(codec.encode_cond(addresses), want)
    assert torch.equal(codec.encode_cond([pairs / "input/0.jpg", str(pairs / "input/1.jpg")]), want[:2])
    assert torch.equal(codec.encode_cond([items[2], items[3].cond]), want[2:])
    large = save(pairs / "large.png", np.kron(items[0].cond, np.ones((4, 4, 1), np.uint8)))
    assert (codec.encode_cond([large]) - want[:1]).abs().mean() < 0.05  # brought to size
    colour = codec.encode_cond([smooth(5, 16)])
    assert colour.shape == (1, 1, 8, 8)  # and to grey
    with pytest.raises(RecipeError) as error:
        codec.encode_cond(["cat"])
    one_line(error, "'cat'", "picture file")
    (pairs / "bad.png").write_bytes(b"nothing")
    with pytest.raises(DataError) as error:
        codec.encode_cond([pairs / "bad.png"])
    one_line(error, "bad.png")


def test_what_a_person_gives_is_not_degraded_again():
    items = [Item(smooth(k, 16)) for k in range(2)]
    codec = ImageCodec(size=0, degrade="noise").fit(items)
    clean = codec.encode_cond([items[0].value])
    assert torch.equal(clean, codec.encode(items[:1]).x)
    assert torch.equal(codec.encode_cond([items[0]]), codec.encode(items[:1]).cond)


def test_splits_and_fingerprints_see_the_pairs(pairs):
    codec = ImageCodec(size=16, cond="picture")
    items = codec.read(pairs)
    other = [Item(i.value, 255 - i.cond, i.name) for i in items]
    assert fingerprint(items) == fingerprint(codec.read(pairs)) != fingerprint(other)
    parts = split(items, held=0.25)
    assert len(parts.train) + len(parts.held) == 4


def test_editing_takes_the_condition_from_the_picture_where_it_can(pairs):
    codec = ImageCodec(size=0, degrade="grey").fit([Item(smooth(k, 16)) for k in range(2)])
    batch, _ = codec.start_edit(pairs / "target/0.png")
    assert torch.equal(batch.cond, codec.encode([Item(smooth(0, 16))]).cond)
    paired = ImageCodec(size=0, cond="picture")
    paired.fit(paired.read(pairs))
    batch, _ = paired.start_edit(pairs / "target/0.png")
    assert batch.cond is None
    assert torch.equal(paired.start_edit(paired.read(pairs)[0])[0].cond, paired.encode(paired.read(pairs)[:1]).cond)


def test_sheets_show_what_was_given_beside_what_was_made(pairs, tmp_path):
    codec = ImageCodec(size=0, cond="picture")
    items = codec.read(pairs)
    codec.fit(items)
    with Image.open(codec.show(items, tmp_path / "two")) as sheet:
        two = np.asarray(sheet)
    with Image.open(codec.show_beside(items, items, tmp_path / "three")) as sheet:
        three = np.asarray(sheet)
    seen = {tuple(p) for p in three.reshape(-1, 3).tolist()}
    for item in items:
        assert {tuple(p) for p in item.value.reshape(-1, 3).tolist()} <= seen
        assert {(int(v),) * 3 for v in item.cond.ravel()} <= seen
    assert two.shape[1] > 400
    assert three.shape[1] > 400


# ---- alpha -------------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_alpha_goes_in_premultiplied_and_comes_back(seed):
    value = picture(seed, 6, 5, 4)
    value[0, 0, 3], value[1, 1, 3] = 0, 255
    codec = ImageCodec(size=0, channels=4).fit([Item(value)])
    assert codec.spec.shape == (4, 6, 5)
    x = codec.encode([Item(value)]).x
    (back,) = codec.decode(x)
    np.testing.assert_array_equal(back.value[..., 3], value[..., 3])
    np.testing.assert_array_equal(back.value[1, 1], value[1, 1])  # opaque: exact
    assert back.value[0, 0].tolist() == [0, 0, 0, 0]  # what lay under transparency is gone
    assert torch.equal(codec.encode([back]).x, x)  # and nothing else: a fixed point
    alpha = value[..., 3:].astype(float) / 255
    seen = [v[..., :3] * alpha + 255 * (1 - alpha) for v in (value, back.value)]
    assert np.abs(seen[0] - seen[1]).max() <= 1  # it looks the same on any ground


def test_colour_beyond_alpha_is_clipped():
    inside = np.array([[[200, 10, 0, 100], [9, 9, 9, 0]]], np.uint8)
    assert straight(inside)[0].tolist() == [[255, 26, 0, 100], [0, 0, 0, 0]]
    assert with_alpha_in(straight(inside))[0, 0].tolist() == [100, 10, 0, 100]


def test_alpha_is_written_read_and_shown_on_a_checkerboard(tmp_path):
    value = np.zeros((16, 16, 4), np.uint8)
    value[4:12, 4:12] = (250, 20, 20, 255)
    codec = ImageCodec(size=0, channels=4).fit([Item(value)])
    path = codec.write(Item(value), tmp_path / "x", {"software": "bottega"})
    with Image.open(path) as picture_:
        assert picture_.mode == "RGBA"
    np.testing.assert_array_equal(codec.read(path)[0].value, value)
    with Image.open(codec.show([Item(value)], tmp_path / "sheet")) as sheet:
        seen = {tuple(p) for p in np.asarray(sheet).reshape(-1, 3).tolist()}
    assert seen == {(250, 249, 246), (255, 255, 255), (214, 214, 214), (250, 20, 20)}


def test_resizing_and_padding_keep_what_is_transparent_out():
    value = np.zeros((32, 16, 4), np.uint8)
    value[..., 1] = 255  # green, but nobody sees it
    value[:, :8] = (255, 0, 0, 255)
    codec = ImageCodec(size=8, channels=4, fit="pad").fit([Item(value)])
    (out,) = codec.decode(codec.encode([Item(value)]).x)
    assert out.value[..., 3].min() == 0
    assert out.value[..., 1].max() <= 2
    assert out.value[:, 0, 3].max() == 0  # padded with nothing


def test_domains_of_other_channels_are_brought_to_one(tmp_path):
    save(tmp_path / "a/1.png", picture(0, channels=1))
    save(tmp_path / "b/1.png", picture(1, channels=3))
    save(tmp_path / "c/1.png", picture(2, channels=4))
    for channels, want in ((0, 3), (1, 1), (3, 3), (4, 4)):
        codec = ImageCodec(size=0, channels=channels)
        items = codec.read(tmp_path)
        batch = codec.fit(items).encode(items)
        assert batch.x.shape == (3, want, 8, 8)
        assert batch.cond.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(codec.decode(batch.x)[0].value[..., 0], picture(0, channels=1)[..., 0])
    assert batch.x[:2, 3].min() == 1  # what had no alpha is opaque


def test_transparent_shapes_are_no_copies_of_each_other():
    items = []
    for k in range(12):
        value = np.zeros((16, 16, 4), np.uint8)  # black, whatever its shape
        value[..., 3] = (smooth(k, 16, 1)[..., 0] > 128) * 255
        items.append(Item(value))
    assert split(items, held=0.2).clusters == 12


# ---- what people bring -------------------------------------------------------------------------------------------------


def test_an_empty_class_folder_is_told(tmp_path):
    save(tmp_path / "cat/a.png", picture())
    save(tmp_path / "dog/a.png", picture(1))
    (tmp_path / "owl").mkdir()
    (tmp_path / "owl/note.txt").write_text("soon")
    with pytest.raises(DataError) as error:
        ImageCodec().read(tmp_path)
    one_line(error, "owl", "holds no picture", "remove it")
    codec = ImageCodec(on_error="skip")
    assert len(codec.read(tmp_path)) == 2
    assert "owl" in codec.skipped[0]
    assert len(ImageCodec(labels="none").read(tmp_path)) == 2


def test_a_class_that_stands_only_in_the_held_out_part_is_told():
    codec = ImageCodec(size=0).fit([Item(picture(0), "cat"), Item(picture(1), "dog")])
    with pytest.raises(DataError) as error:
        codec.source([Item(picture(2), "owl")], train=False)
    one_line(error, "'owl'", "more pictures of that class")


def test_sixteen_bits_cmyk_and_animations(tmp_path):
    deep = np.arange(0, 65536, 1024, dtype=np.uint16).reshape(8, 8)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(ImageCodec(size=0).read(tmp_path / "deep.png")[0].value[..., 0], deep >> 8)
    rgb = np.stack([deep, deep, deep], -1)
    raw = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in rgb)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    whole = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    (tmp_path / "deep3.png").write_bytes(whole)
    assert np.abs(ImageCodec(size=0).read(tmp_path / "deep3.png")[0].value.astype(int) - (rgb >> 8)).max() <= 1
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "print.jpg", quality=95)
    (item,) = ImageCodec(size=0).read(tmp_path / "print.jpg")
    assert item.value.shape == (16, 16, 3)
    assert item.value[8, 8, 0] > 200
    assert item.value[8, 8, 1:].max() < 60
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    for ending in ("gif", "webp", "png"):
        extra = {"lossless": True} if ending == "webp" else {}
        frames[0].save(tmp_path / f"move.{ending}", save_all=True, append_images=frames[1:], **extra)
        (item,) = ImageCodec(size=0).read(tmp_path / f"move.{ending}")
        assert item.value[0, 0].tolist() == [255, 0, 0], ending  # the first of its frames


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_stands_as_its_camera_was_held_and_so_does_its_mask(tmp_path, orientation):
    upright = smooth(0, 16)[:12]  # 12 high, 16 wide
    back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[
        orientation
    ]  # Pillow's transposition that the camera made
    lying = Image.fromarray(upright) if back is None else Image.fromarray(upright).transpose(Image.Transpose(back))
    exif = Image.Exif()
    exif[0x0112] = orientation
    lying.save(tmp_path / "photo.png", exif=exif)
    np.testing.assert_array_equal(ImageCodec(size=0).read(tmp_path / "photo.png")[0].value, upright)
    codec = ImageCodec(size=8).fit([Item(smooth(k)) for k in range(2)])
    white = np.zeros((12, 16, 1), np.uint8)
    white[:, 8:] = 255  # the right half of what is seen
    save(tmp_path / "mask.png", white)
    _, keep = codec.start_edit(tmp_path / "photo.png", tmp_path / "mask.png")
    assert keep[0, 0, :, :4].all()
    assert not keep[0, 0, :, 4:].any()


def test_a_mask_of_another_size_is_refused_and_one_of_the_photo_is_cropped_as_it_is(tmp_path):
    photo = save(tmp_path / "photo.png", smooth(0, 48)[:32])  # 32 high, 48 wide: cropped to the middle 32
    codec = ImageCodec(size=16).fit([Item(smooth(k)) for k in range(2)])
    mask = np.zeros((32, 48, 1), np.uint8)
    mask[:, :24] = 255
    _, keep = codec.start_edit(photo, save(tmp_path / "m.png", mask))
    assert (~keep[0, 0]).float().mean(0).tolist() == [1] * 8 + [0] * 8  # not squeezed: half of the middle
    with pytest.raises(DataError) as error:
        codec.start_edit(photo, save(tmp_path / "odd.png", mask[:30]))
    one_line(error, "odd.png", "48x30", "16x16", "48x32")
    with pytest.raises(DataError) as error:
        codec.start_edit(Item(smooth(0, 16)), save(tmp_path / "odd.png", mask[:30]))
    one_line(error, "48x30", "16x16")
    (tmp_path / "no.png").write_bytes(b"nothing")
    with pytest.raises(DataError) as error:
        codec.start_edit(photo, tmp_path / "no.png")
    one_line(error, "no mask", "no.png")


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is counted in other units elsewhere")
def test_a_picture_of_20000_by_20000_is_refused_without_decoding_it(tmp_path):
    path = vast(tmp_path / "vast.png")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError) as error:
        ImageCodec().read(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB; the picture would be 400 MB
    one_line(error, "vast.png", "400,000,000 pixels", "make it smaller")
    save(tmp_path / "good.png", picture())
    codec = ImageCodec(on_error="skip")
    assert len(codec.read(tmp_path)) == 1
    assert "vast.png" in codec.skipped[0]


# ---- those who read no picture, and augmentation -----------------------------------------------------------------------


def test_one_vector_is_no_picture():
    with pytest.raises(SpecError) as error:
        Condition(Spec((3, 8, 8)), 8)
    one_line(error, "(3, 8, 8)", "reads no picture")
    assert no_picture(Spec((3, 8, 8), cond=Spec((4,)))) == ""


@pytest.mark.parametrize("name", names("families"))
def test_a_family_reads_a_picture_or_says_that_it_does_not(name):
    family = lookup("families", name)
    for kind in ("colour_picture", "colour_half"):
        spec = specs()[kind]
        if not family.accepts(spec):
            family(spec, size=8)
        else:
            with pytest.raises(SpecError):
                family(spec, size=8)


def test_the_suite_is_kept_by_a_family_that_reads_pictures():
    for kind in ("colour_picture", "colour_half"):
        few = [n for n in CHECKS if "processes" not in n and n not in {"a_sample_changes_nothing"}]  # it draws nothing
        report = check_family(ToyRestorer, specs()[kind], checks=few)
        assert "the_condition_matters" in report.passed


@pytest.mark.parametrize("name", ["flip", "shift", "crop", "rotate"])
def test_a_given_picture_moves_with_its_own(name):
    spec = Spec((3, 8, 8), cond=Spec((3, 8, 8)))
    x = torch.from_numpy(smooth(0, 8)).permute(2, 0, 1)[None].expand(6, -1, -1, -1).float() / 127.5 - 1
    out = make_augment(name, spec)(Batch(x, x.clone()), Rng(0))
    assert torch.allclose(out.cond, out.x, atol=0.35 if name == "rotate" else 0)  # turned pixels are picked or mixed
    assert not torch.equal(out.x, x)


def test_what_cannot_move_together_is_refused():
    half = Spec((3, 8, 8), cond=Spec((3, 4, 4)))
    x = torch.rand(6, 3, 8, 8) * 2 - 1
    small = torch.nn.functional.avg_pool2d(x, 2)
    out = make_augment("flip", half)(Batch(x, small), Rng(0))
    assert torch.allclose(torch.nn.functional.avg_pool2d(out.x, 2), out.cond)
    for name, spec in (("shift", half), ("brightness", Spec((3, 8, 8), cond=Spec((3, 8, 8))))):
        with pytest.raises(RecipeError) as error:
            make_augment(name, spec)
        one_line(error, name, "flip")
