"""Compressed files: there and back, at the rate the model says, and what is said of a file that is not whole."""

import io
import math
import resource
import struct
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import bottega
from bottega.cli import main
from bottega.core import BottegaError, DataError, OutputError
from bottega.crafts import compress as craft
from pictures import vast
from recipes import write_recipe

pytest.importorskip("constriction", reason="the extra 'compress' is not installed")


def waves(height, width, channels=3, seed=0):
    """A smooth picture with a little noise, another one for each seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    a, b = 5 + 9 * rng.random(2)
    base = np.stack([127 + 100 * np.sin(x / a + k) * np.cos(y / b - k) for k in range(channels)], -1)
    return (base + 3 * rng.normal(size=base.shape)).clip(0, 255).astype(np.uint8)


def saved(path, value):
    Image.fromarray(value[..., 0] if value.shape[-1] == 1 else value).save(path)
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Compressors and VAEs on levels, of colour, grey and alpha; hardly trained."""
    here = tmp_path_factory.mktemp("compress")
    for kind, channels in (("colour", 3), ("grey", 1)):
        (here / kind).mkdir()
        for i in range(20):
            saved(here / kind / f"{i}.png", waves(32, 32, channels, seed=i))
    made = {}
    for name, family, kind, codec, steps in (
        ("codes", "compressor", "colour", {"size": 32}, 60),
        ("levels", "vae", "colour", {"size": 16, "levels": 256}, 40),
        ("other", "vae", "colour", {"size": 16, "levels": 256}, 2),
        ("grey", "vae", "grey", {"size": 8, "levels": 17}, 2),
        ("alpha codes", "compressor", "colour", {"size": 32, "channels": 4}, 2),
        ("alpha levels", "vae", "colour", {"size": 16, "levels": 256, "channels": 4}, 2),
    ):
        recipe = write_recipe(here, family, name=name, data={}, codec={"name": "image", **codec}, steps=steps, batch=16)
        made[name] = bottega.train(recipe, here / kind, here / name, judge=False)
    return made


def test_codes_come_back_at_the_rate_the_model_says(runs, tmp_path):
    picture = waves(203, 310)
    done = craft.compress(runs["codes"], saved(tmp_path / "a.png", picture), tmp_path / "a.btg")
    assert done.bytes == (tmp_path / "a.btg").stat().st_size
    assert 8 * done.bytes <= 1.02 * done.model_bits + 8 * 60
    craft.decompress(runs["codes"], tmp_path / "a.btg", tmp_path / "back.png")
    back = np.asarray(Image.open(tmp_path / "back.png"))
    assert back.shape == picture.shape
    assert craft.psnr(picture, back) == pytest.approx(done.psnr_db)
    model = runs["codes"].model
    with torch.no_grad():  # what is read is what the model itself makes of its rounded codes
        x = torch.from_numpy(np.pad(picture, ((0, 5), (0, 2), (0, 0)), mode="edge")).permute(2, 0, 1)[None]
        own = model.expand(model.squeeze(x.float() / 127.5 - 1))[0].permute(1, 2, 0)[:203, :310]
    assert np.abs(((own.numpy() + 1) * 127.5).round().clip(0, 255) - back).max() <= 1


def test_a_picture_part_by_part_is_the_picture_at_once(runs, monkeypatch):
    model, run = runs["codes"].model, runs["codes"]
    picture = waves(120, 168)
    whole, _ = craft.pack(run, picture)
    monkeypatch.setattr(craft, "_TILE", 4)
    parts, _ = craft.pack(run, picture)
    assert whole == parts
    in_parts = craft.unpack(run, whole)
    monkeypatch.undo()
    assert np.abs(craft.unpack(run, whole).astype(int) - in_parts).max() <= 1
    seen = torch.zeros(1, 3, 168, 168, requires_grad=True)  # the reach that the parts rely on
    cell, reach = model.cell, model.reach
    model.encoder(seen)[0, :, 10, 10].sum().backward()
    rows = seen.grad[0].abs().sum((0, 2)).nonzero()[:, 0]
    assert 10 * cell - rows.min() <= reach * cell
    assert rows.max() - 10 * cell < (reach + 1) * cell
    code = torch.zeros(1, model.latent.shape[0], 40, 40, requires_grad=True)
    model.expand(code)[0, :, 20 * cell : 21 * cell, 20 * cell].sum().backward()
    rows = code.grad[0].abs().sum((0, 2)).nonzero()[:, 0]
    assert max(20 - rows.min(), rows.max() - 20) <= reach


def test_the_masses_of_codes_sum_to_one_and_are_the_rate(runs):
    model = runs["codes"].model
    low, masses = model.odds()
    torch.testing.assert_close(masses.sum(1), torch.ones(len(masses), dtype=torch.float64), rtol=0, atol=1e-6)
    z = torch.randint(-3, 4, (1, len(masses), 2, 2), generator=torch.Generator().manual_seed(0)).float()
    with torch.no_grad():
        ours = model._log_mass(z, None)[0].flatten(1).double()
    torch.testing.assert_close(ours, masses.log().gather(1, (z[0].flatten(1) - low).long()), rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [(64, 96, 3), (37, 50, 3), (16, 16, 3), (20, 20, 1)])
def test_levels_come_back_exactly(runs, tmp_path, shape):
    picture = waves(*shape)
    done = craft.compress(runs["levels"], saved(tmp_path / "a.png", picture), tmp_path / "a.btg")
    assert done.exact
    assert math.isinf(done.psnr_db)
    back = craft.decompress(runs["levels"], tmp_path / "a.btg", tmp_path / "b.png")
    assert (np.asarray(Image.open(back)).reshape(shape) == picture).all()


def test_bits_back_take_what_the_bound_says(runs, monkeypatch):
    """Row B17: stored bits, header and all, within 10 % of minus the ELBO; without bits back the codes cost much more."""
    run, picture = runs["levels"], waves(96, 96, seed=99)
    data, elbo = craft.pack(run, picture)
    assert abs(8 * len(data) / elbo - 1) < 0.02
    codes = craft._BitsBack(run)
    push = codes.push
    monkeypatch.setattr(craft._BitsBack, "push", lambda self, coder, x, plain: push(coder, x, True))
    monkeypatch.setattr(craft, "_check", lambda tiles: 0)
    plain, _ = craft.pack(run, picture)
    tiles, width = 36, run.model.latent.dims
    assert 8 * (len(plain) - len(data)) > tiles * width, "some bits for each code number came back"


def test_fewer_levels_are_kept_exactly_as_levels(runs, tmp_path):
    run = runs["grey"]
    picture = waves(24, 40, 1)
    done = craft.compress(run, saved(tmp_path / "a.png", picture), tmp_path / "a.btg")
    assert not done.exact
    back = np.asarray(Image.open(craft.decompress(run, tmp_path / "a.btg", tmp_path / "b.png")))
    assert np.abs(back.astype(int) - picture[..., 0]).max() <= 8
    again = craft.compress(run, tmp_path / "b.png", tmp_path / "c.btg")
    assert again.exact


def test_beside_is_what_the_other_formats_take(tmp_path):
    picture = waves(64, 64)
    found = craft.beside(picture, 30.0)
    made = io.BytesIO()
    Image.fromarray(picture).save(made, "PNG", optimize=True)
    assert found["png"] == len(made.getvalue())
    assert set(found) == {"png", "webp_lossless", "jpeg", "webp"}
    assert craft.beside(picture, 25.0)["jpeg"] < found["jpeg"] < found["png"]
    assert set(craft.beside(picture, math.inf)) == {"png", "webp_lossless"}
    assert craft.psnr(picture, picture + np.uint8(1) - 2 * (picture == 255)) == pytest.approx(20 * math.log10(255))


@pytest.mark.parametrize("name", ["codes", "levels"])
def test_nothing_is_written_over_the_picture_or_under_a_false_name(runs, tmp_path, name):
    run, source = runs[name], saved(tmp_path / "mine.png", waves(16, 16))
    was = source.read_bytes()
    (tmp_path / "link.btg").symlink_to(source)
    for target, why in (
        ("mine.png", "is the file that is read"),
        ("link.btg", "is the file that is read"),
        ("new.png", "give a name that ends in .btg"),
        ("new.WEBP", "give a name that ends in .btg"),
    ):
        with pytest.raises(OutputError, match=why):
            craft.compress(run, source, tmp_path / target)
    assert source.read_bytes() == was
    assert (tmp_path / "link.btg").is_symlink()
    craft.compress(run, source, tmp_path / "a.btg")
    for target in ("back.xyz", "back.psd", "back.gif", "back"):
        with pytest.raises(OutputError, match=r"give a name that ends in \.png"):
            craft.decompress(run, tmp_path / "a.btg", tmp_path / target)
    (tmp_path / "a.btg").rename(tmp_path / "a.png")
    with pytest.raises(OutputError, match="is the file that is read"):
        craft.decompress(run, tmp_path / "a.png", tmp_path / "a.png")
    assert {path.name for path in tmp_path.iterdir()} == {"mine.png", "link.btg", "a.png"}


def test_what_came_exactly_is_written_exactly(runs, tmp_path):
    picture = waves(16, 32)
    craft.compress(runs["levels"], saved(tmp_path / "a.png", picture), tmp_path / "a.btg")
    for ending in ("png", "webp", "tif"):
        back = craft.decompress(runs["levels"], tmp_path / "a.btg", tmp_path / f"back.{ending}")
        assert (np.asarray(Image.open(back)) == picture).all(), ending
    with pytest.raises(OutputError, match="would not be exact"):
        craft.decompress(runs["levels"], tmp_path / "a.btg", tmp_path / "back.jpg")
    craft.compress(runs["codes"], tmp_path / "a.png", tmp_path / "b.btg")
    assert Image.open(craft.decompress(runs["codes"], tmp_path / "b.btg", tmp_path / "b.jpg")).format == "JPEG"


def written(path, value, kind):
    """A picture file with something that a model of three channels is not given."""
    if kind == "alpha":
        Image.fromarray(np.dstack([value, np.full(value.shape[:2], 200, np.uint8)])).save(path)
    elif kind == "palette":
        Image.fromarray(value).quantize(8).save(path, transparency=0)
    elif kind == "frames":
        Image.fromarray(value).save(path, save_all=True, append_images=[Image.fromarray(255 - value)] * 2)
    elif kind == "16 bits of grey":
        Image.fromarray(value[..., 0].astype(np.uint16) * 256 + 7).save(path)
    elif kind == "16 bits of colour":  # which Pillow reads and does not write
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in value.astype(np.uint16) * 256 + 7)
        head = struct.pack(">IIBBBBB", value.shape[1], value.shape[0], 16, 2, 0, 0, 0)
        chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
        data = [struct.pack(">I", len(v)) + k + v + struct.pack(">I", zlib.crc32(k + v)) for k, v in chunks]
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(data))
    return path


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("alpha", "transparency"),
        ("palette", "transparency"),
        ("frames", "2 of its 3 frames"),
        ("16 bits of grey", "the lower 8"),
        ("16 bits of colour", "the lower 8"),
    ],
)
def test_what_the_model_is_not_given_is_told_and_is_not_exact(runs, tmp_path, capfd, kind, what):
    source = written(tmp_path / "a.png", waves(16, 16), kind)
    done = craft.compress(runs["levels"], source, tmp_path / "a.btg")
    assert not done.exact
    assert math.isinf(done.psnr_db)
    assert [what in each for each in done.dropped] == [True]
    assert main(["compress", str(source), str(tmp_path / "b.btg"), "--with", str(runs["levels"].path)]) == 0
    told = capfd.readouterr().out
    assert "nothing is lost" not in told
    assert f"not kept: {done.dropped[0]}" in " ".join(told.split())


def test_alpha_that_hides_nothing_is_no_loss(runs, tmp_path):
    picture = np.dstack([waves(16, 16), np.full((16, 16), 255, np.uint8)])
    done = craft.compress(runs["levels"], saved(tmp_path / "a.png", picture), tmp_path / "a.btg")
    assert done.exact
    assert done.dropped == ()


@pytest.mark.parametrize("name", ["alpha codes", "alpha levels"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_model_of_alpha_is_given_alpha(runs, tmp_path, name, channels):
    picture = waves(24, 40, channels)
    done = craft.compress(runs[name], saved(tmp_path / "a.png", picture), tmp_path / "a.btg")
    back = np.asarray(Image.open(craft.decompress(runs[name], tmp_path / "a.btg", tmp_path / "b.png")))
    assert back.shape == (24, 40, 4)
    assert set(done.beside) >= {"png", "webp_lossless"}
    if name == "alpha levels":
        opaque = channels < 4
        assert done.exact == opaque, "colours under transparency are kept as finely as they are seen"
        assert math.isinf(done.psnr_db)
        if opaque:
            assert (back == np.dstack([np.broadcast_to(picture, (24, 40, 3)), np.full((24, 40), 255)])).all()
        else:
            assert craft.psnr(picture, back) == math.inf
            assert (back[..., 3] == picture[..., 3]).all()


def test_beside_leaves_out_a_format_that_cannot_hold_the_picture():
    assert set(craft.beside(np.zeros((16384, 1, 3), np.uint8), 30.0)) == {"png", "jpeg"}
    assert set(craft.beside(np.zeros((1, 65501, 1), np.uint8), 30.0)) == {"png"}
    half = np.dstack([waves(16, 16), np.full((16, 16), 128, np.uint8)])
    assert "jpeg" not in craft.beside(half, 20.0)
    whole = np.dstack([half[..., :3], np.full((16, 16), 255, np.uint8)])
    assert craft.beside(whole, 20.0).keys() == {"png", "webp_lossless", "jpeg", "webp"}
    assert craft.beside(whole, 20.0)["png"] == craft.beside(half[..., :3], 20.0)["png"]


def test_a_picture_takes_little_memory_beside_itself():
    """What is told of two large pictures is told of a few rows at a time."""
    big = np.zeros((2000, 2000, 3), np.uint8)
    tracemalloc.start()
    craft.psnr(big, big + np.uint8(1))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 3 * big.nbytes


# --- what is no whole file of this model -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(runs):
    return craft.pack(runs["levels"], waves(32, 32))[0]


def test_a_file_cut_short_anywhere_is_named(runs, file):
    for length in (*range(60), len(file) // 2, len(file) - 4, len(file) - 1):
        with pytest.raises(DataError, match=r"x\.btg is cut short"):
            craft.unpack(runs["levels"], file[:length], "x.btg")


def test_an_empty_file_is_told_by_its_name(runs, tmp_path, capfd):
    for data in (b"", b"B", b"BTG"):
        (tmp_path / "x.btg").write_bytes(data)
        done = main(["compress", str(tmp_path / "x.btg"), str(tmp_path / "x.png"), "--with", str(runs["levels"].path)])
        assert done == 2
        assert f"is cut short: {len(data)} bytes" in capfd.readouterr().err


def test_a_damaged_file_is_named(runs, file):
    for place in (20, 45, len(file) - 2):
        bad = bytearray(file)
        bad[place] ^= 4
        with pytest.raises(DataError, match=r"(is damaged|is cut short)"):
            craft.unpack(runs["levels"], bytes(bad))
    with pytest.raises(DataError, match="is damaged"):
        craft.unpack(runs["levels"], file + b"more")


def test_a_file_of_another_model_a_stranger_and_one_from_the_future_are_told_apart(runs, file):
    with pytest.raises(DataError, match="was written by another model .* give the run that wrote it"):
        craft.unpack(runs["other"], file)
    with pytest.raises(DataError, match="no file of bottega compress"):
        craft.unpack(runs["levels"], b"\x89PNG" + file[4:])
    older = file[:4] + bytes([craft.FILE.version - 1]) + file[5:]
    with pytest.raises(DataError, match="earlier version .* compress again"):
        craft.unpack(runs["levels"], older)
    newer = file[:4] + bytes([craft.FILE.version + 1]) + file[5:-4]
    with pytest.raises(DataError, match="newer version"):
        craft.unpack(runs["levels"], newer + struct.pack("<I", zlib.crc32(newer)))


@pytest.mark.parametrize("name", ["codes", "levels"])
def test_a_machine_that_computes_otherwise_is_noticed(runs, monkeypatch, name):
    run = runs[name]
    data, _ = craft.pack(run, waves(48, 48))
    if name == "codes":
        odds = type(run.model).odds
        monkeypatch.setattr(type(run.model), "odds", lambda self: (odds(self)[0], odds(self)[1].roll(1, 1)))
    else:
        masses = craft._BitsBack.masses
        monkeypatch.setattr(craft._BitsBack, "masses", lambda self, z: np.roll(masses(self, z), 1, 1))
    with pytest.raises(DataError, match=r"x\.btg does not come back here: this machine computes otherwise"):
        craft.unpack(run, data, "x.btg")


def test_a_picture_that_does_not_fit_the_model_is_refused(runs, tmp_path):
    with pytest.raises(DataError, match=r"a\.png is in colour and grey was trained on grey"):
        craft.compress(runs["grey"], saved(tmp_path / "a.png", waves(8, 8)), tmp_path / "a.btg")
    recipe = write_recipe(tmp_path, "gan", data={}, codec={"name": "image", "size": 8}, steps=2, batch=8)
    gan = bottega.train(recipe, runs["codes"].path.parent / "colour", tmp_path / "gan", judge=False)
    with pytest.raises(BottegaError, match="cannot compress; train photos-compressor"):
        craft.compress(gan, tmp_path / "a.png", tmp_path / "a.btg")
    assert not (tmp_path / "a.btg").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is counted in other units elsewhere")
@pytest.mark.parametrize("ending", ["png", "gif"])
def test_a_picture_of_20000_by_20000_is_refused_without_decoding_it(runs, tmp_path, capfd, ending):
    path, target = vast(tmp_path / f"vast.{ending}"), tmp_path / "vast.btg"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert main(["compress", str(path), str(target), "--with", str(runs["codes"].path)]) == 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB; the picture would be 400 MB
    told = capfd.readouterr().err
    assert "400,000,000 pixels and one picture may have 89,478,485; make it smaller" in told
    assert told.count("\n") == 1
    assert not target.exists()


def test_the_verb_goes_there_and_back_and_tells_mistakes_in_one_line(runs, tmp_path, capfd):
    picture, run = saved(tmp_path / "photo.png", waves(40, 56)), str(runs["codes"].path)
    assert main(["compress", str(picture), str(tmp_path / "photo.btg"), "--with", run]) == 0
    told = capfd.readouterr()
    assert "bits a pixel" in told.out
    assert "webp" in told.out
    assert main(["compress", str(tmp_path / "photo.btg"), str(tmp_path / "back.png"), "--with", run, "-q"]) == 0
    assert Image.open(tmp_path / "back.png").size == (56, 40)
    capfd.readouterr()
    short = tmp_path / "short.btg"
    short.write_bytes((tmp_path / "photo.btg").read_bytes()[:-9])
    for source, why in (
        (short, "is cut short"),
        (tmp_path / "gone.png", "no file at"),
        (Path(__file__), "not a readable picture"),
    ):
        target = tmp_path / ("never.png" if source is short else "never.btg")
        assert main(["compress", str(source), str(target), "--with", run]) == 2
        told = capfd.readouterr()
        assert why in told.err
        assert told.err.count("\n") == 1
        assert told.out == ""
    assert not {"never.png", "never.btg"} & {path.name for path in tmp_path.iterdir()}
