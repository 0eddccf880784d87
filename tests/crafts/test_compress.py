"""Compressed files: there and back, at the rate the model says, and what is said of a file that is not whole."""

import io
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import bottega
from bottega.cli import main
from bottega.core import BottegaError, DataError
from bottega.crafts import compress as craft
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
    """A compressor of colour, a VAE on 256 levels of colour, another one, and a VAE on 17 levels of grey; hardly trained."""
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


# --- what is no whole file of this model -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(runs):
    return craft.pack(runs["levels"], waves(32, 32))[0]


def test_a_file_cut_short_anywhere_is_named(runs, file):
    for length in (*range(60), len(file) // 2, len(file) - 4, len(file) - 1):
        with pytest.raises(DataError, match=r"x\.btg (is cut short|is no file of bottega compress)"):
            craft.unpack(runs["levels"], file[:length], "x.btg")


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
    newer = file[:4] + bytes([craft.VERSION + 1]) + file[5:-4]
    with pytest.raises(DataError, match="newer version"):
        craft.unpack(runs["levels"], newer + struct.pack("<I", zlib.crc32(newer)))


def test_a_picture_that_does_not_fit_the_model_is_refused(runs, tmp_path):
    with pytest.raises(DataError, match=r"a\.png is in colour and grey was trained on grey"):
        craft.compress(runs["grey"], saved(tmp_path / "a.png", waves(8, 8)), tmp_path / "a.btg")
    recipe = write_recipe(tmp_path, "gan", data={}, codec={"name": "image", "size": 8}, steps=2)
    gan = bottega.train(recipe, runs["codes"].path.parent / "colour", tmp_path / "gan", judge=False)
    with pytest.raises(BottegaError, match="cannot compress; train photos-compressor"):
        craft.compress(gan, tmp_path / "a.png", tmp_path / "a.btg")
    assert not (tmp_path / "a.btg").exists()


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
    for source, why in ((short, "is cut short"), (tmp_path / "gone.png", "no file at"), (Path(__file__), "no picture")):
        assert main(["compress", str(source), str(tmp_path / "never.png"), "--with", run]) == 2
        told = capfd.readouterr()
        assert why in told.err
        assert told.err.count("\n") == 1
        assert told.out == ""
    assert not (tmp_path / "never.png").exists()
