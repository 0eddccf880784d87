"""Style, films, tiles, palettes and likeness: closed forms, made worlds, planted failures, and what is refused."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import bottega
from bottega.cli import main
from bottega.core import CheckpointError, DataError, OutputError, RecipeError, Rng
from bottega.crafts import _features, art
from bottega.crafts._frames import flow, moved, numbers
from bottega.nets.stylist import Stylist
from bottega.nets.vgg import VGG19, Vgg, load_vgg
from bottega.trust.mark import read as read_mark
from pictures import vast
from recipes import write_recipe


def scene(seed=0, height=48, width=64):
    """Slow waves and two discs."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    value = np.stack([np.sin((rng.uniform(0.05, 0.15) * x + rng.uniform(0.05, 0.15) * y) + k) for k in range(3)], -1)
    for _ in range(2):
        cy, cx, r = rng.uniform(8, height - 8), rng.uniform(8, width - 8), rng.uniform(5, 10)
        value[(y - cy) ** 2 + (x - cx) ** 2 < r * r] = rng.uniform(-1, 1, 3)
    return (value * 110 + 128).astype(np.uint8)


def weave(height=48, width=48, period=8):
    """A coloured weave: strong texture."""
    y, x = np.mgrid[:height, :width]
    a, b = np.sin(2 * np.pi * x / period), np.sin(2 * np.pi * y / period)
    return (np.stack([a, a * b, -b], -1) * 100 + 128).astype(np.uint8)


@pytest.fixture(scope="module")
def net():
    """Random filters see textures too (Ustyuzhaninov et al. 2016); evened out as the trained ones are."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Vgg(((12, 12), (16, 16), (24,)))
    net.requires_grad_(False).eval()
    net.even_out(torch.cat([numbers(scene(k)) for k in range(4)]))
    return net


@pytest.fixture(scope="module")
def painter(net):
    return art.learn_style(weave(), net, [scene(k) for k in range(6)], steps=60, size=8, side=40, batch=2)


def one_line(error, *words):
    assert "\n" not in str(error.value)
    for word in words:
        assert str(word) in str(error.value)


# ---- the networks ------------------------------------------------------------------------------------------------------


def test_filters_evened_out_have_a_mean_of_one_and_order_stays(net):
    x = torch.cat([numbers(scene(k)) for k in range(4)])
    maps = net.maps(x, net.names)
    assert list(maps) == ["relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1"]
    assert (net.style, net.content) == (["relu1_1", "relu2_1", "relu3_1"], "relu2_2")
    for m in maps.values():
        mean = m.mean((0, 2, 3))
        fires = mean[mean > 0.02]  # random filters, so some never do
        assert len(fires) > len(mean) / 4
        assert (fires - 1).abs().max() < 0.01


def test_on_a_torus_a_moved_picture_has_moved_maps(net):
    x = numbers(scene(0, 32, 32))
    there = net.maps(x, net.style, wrap=True)
    rolled = net.maps(x.roll((4, 8), (2, 3)), net.style, wrap=True)
    for k, m in there.items():
        step = 32 // m.shape[2]
        assert torch.allclose(m.roll((4 // step, 8 // step), (2, 3)), rolled[k], atol=1e-4)
    plain = net.maps(x.roll((4, 8), (2, 3)), net.style)
    assert not torch.allclose(plain["relu3_1"], rolled["relu3_1"], atol=1e-2)


def test_vgg_19_is_read_as_torchvision_names_it(tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        other = Vgg(VGG19)
    tensors, place = {}, 0
    convs = iter(other.convs)
    for stage in VGG19:
        for _ in stage:
            conv = next(convs)
            tensors |= {f"features.{place}.weight": conv.weight.data, f"features.{place}.bias": conv.bias.data}
            place += 2
        place += 1
    assert "features.34.weight" in tensors  # the last of VGG-19's sixteen
    save_file(tensors, tmp_path / "vgg.safetensors")
    ours = load_vgg(tmp_path / "vgg.safetensors")
    x = numbers(scene(0, 32, 32))
    assert torch.equal(ours.maps(x, ["relu5_1"])["relu5_1"], other.maps(x, ["relu5_1"])["relu5_1"])
    assert (ours.content, ours.style[-1]) == ("relu4_2", "relu5_1")
    with pytest.raises(CheckpointError) as error:
        load_vgg(tmp_path / "absent.safetensors")
    one_line(error, "absent.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "vgg.safetensors").read_bytes()[:1000])
    with pytest.raises(CheckpointError) as error:
        load_vgg(tmp_path / "cut.safetensors")
    one_line(error, "cut.safetensors", "damaged")
    (tmp_path / "vgg.pth").write_bytes(b"PK\x03\x04 and more")
    with pytest.raises(CheckpointError) as error:
        load_vgg(tmp_path / "vgg.pth")
    one_line(error, "pickle")
    save_file({k: v for k, v in tensors.items() if k != "features.5.bias"}, tmp_path / "part.safetensors")
    with pytest.raises(CheckpointError) as error:
        load_vgg(tmp_path / "part.safetensors")
    one_line(error, "features.5.bias")


def test_our_own_features_are_trained_once_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("BOTTEGA_CACHE", str(tmp_path))
    monkeypatch.setattr(_features, "SMALL", ((4, 4), (6,)))
    monkeypatch.setattr(_features, "BATCH", 4)
    told = []
    before = torch.get_rng_state()
    first = _features.features(steps=3, tell=told.append)
    assert torch.equal(before, torch.get_rng_state())
    assert len(told) == 3
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    again = _features.features(steps=3, tell=told.append)
    assert len(told) == 3
    x = numbers(scene())
    assert torch.equal(first.maps(x, ["relu2_1"])["relu2_1"], again.maps(x, ["relu2_1"])["relu2_1"])
    assert first.weights == again.weights


def test_the_photographs_come_back_whole():
    photos = _features.photographs()
    assert len(photos) >= 2
    for photo in photos:
        inside = photo.shape[1] // 32 * 32
        at_seams = (photo[:, 32:inside:32] - photo[:, 31 : inside - 1 : 32]).abs().mean()
        elsewhere = (photo[:, 17:inside:32] - photo[:, 16 : inside - 1 : 32]).abs().mean()
        assert at_seams < 1.5 * elsewhere  # patches stand where they were cut


# ---- one picture (row H1) ----------------------------------------------------------------------------------------------


def test_the_gram_loss_falls_by_four_fifths_and_the_content_stays(net):
    found = art.stylise(scene(), weave(), net, steps=60)
    assert found.picture.shape == (48, 64, 3)
    assert found.fell > 0.8
    assert found.content_distance < 0.5 * found.content_apart
    again = art.stylise(scene(), weave(), net, steps=60)
    assert np.array_equal(again.picture, found.picture)


def test_a_picture_in_its_own_style_stays_as_it_is_and_strength_is_strength(net):
    same = art.stylise(scene(), scene(), net, steps=10)
    assert same.style_before < 1e-6
    assert np.abs(same.picture.astype(int) - scene()).mean() < 2
    weak, strong = (art.stylise(scene(), weave(), net, steps=25, strength=s) for s in (0.02, 2.0))
    assert weak.content_distance < strong.content_distance
    assert weak.style_after > strong.style_after


def test_what_makes_no_sense_is_refused(net):
    with pytest.raises(DataError) as error:
        art.stylise(scene(), np.zeros((1, 1, 3), np.uint8), net)
    one_line(error, "style picture is 1x1", "32 pixels")
    with pytest.raises(DataError) as error:
        art.stylise(scene()[:8], weave(), net)
    one_line(error, "the photo is 64x8")
    for wrong in ({"steps": 0}, {"strength": 0.0}, {"strength": -1.0}, {"strength": math.inf}, {"strength": math.nan}):
        with pytest.raises(RecipeError):
            art.stylise(scene(), weave(), net, **wrong)
        with pytest.raises(RecipeError):
            art.learn_style(weave(), net, [scene()], side=40, **wrong)
    with pytest.raises(DataError) as error:
        art.stylise(np.zeros((32, 2049, 3), np.uint8), weave(), net)
    one_line(error, "the photo is 2049x32", "at most 2048")
    with pytest.raises(RecipeError) as error:
        art.sized(scene(), 20_000)
    one_line(error, "20000", "2048")
    with pytest.raises(DataError):
        art.learn_style(np.zeros((1, 1, 3), np.uint8), net, steps=1)
    with pytest.raises(DataError) as error:
        art.learn_style(weave(), net, [scene()[:20]], side=40, steps=1)
    one_line(error, "smaller than the crops")


# ---- films (row H2) ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [(3, 0), (0, -2), (1.5, 2.5)])
def test_flow_finds_how_a_scene_moved(by):
    wide = numbers(scene(3, 80, 96))
    dx, dy = by
    shift = torch.zeros(1, 2, 80, 96)
    shift[:, 0], shift[:, 1] = dx, dy
    now = moved(wide, shift)[:, :, 12:-12, 12:-12]
    before = wide[:, :, 12:-12, 12:-12]
    found = flow(before, now)[0, :, 8:-8, 8:-8]
    slopes = (before[:, :, 1:, :-1] - before[:, :, :-1, :-1]).abs().mean(1)[0, 8:-7, 8:-7] > 0.02
    assert found[0][slopes].median().item() == pytest.approx(dx, abs=0.3)
    assert found[1][slopes].median().item() == pytest.approx(dy, abs=0.3)
    assert (moved(before, flow(before, now)) - now).abs().mean() < 0.3 * (before - now).abs().mean()


def still_film(noise=6, n=6):
    rng = np.random.default_rng(0)
    return [(scene(1, 40, 48) + rng.normal(0, noise, (40, 48, 3))).clip(0, 255).astype(np.uint8) for _ in range(n)]


def moving_film(n=6):
    wide = scene(1, 48, 80)
    return [np.ascontiguousarray(wide[:, 2 * k : 2 * k + 56]) for k in range(n)]


def test_flicker_is_zero_for_what_moves_along_and_its_size_for_what_does_not():
    still = [scene(1, 40, 48)] * 4
    assert art.flicker(still, still) < 0.01
    rng = np.random.default_rng(0)
    noisy = [(np.full((40, 48, 3), 128) + rng.normal(0, 10, (40, 48, 3))).astype(np.uint8) for _ in range(5)]
    assert art.flicker(noisy, still + still[:1]) == pytest.approx(10 * math.sqrt(2), rel=0.05)
    film = moving_film()
    assert art.flicker(film, film) < 6  # the scene moves, but with itself


@pytest.mark.parametrize("film", [still_film, moving_film])
def test_a_film_flickers_less_than_its_frames_painted_alone(painter, film):
    frames = film()
    alone, held = painter.film(frames, hold=0.0), painter.film(frames)
    assert np.array_equal(alone[3], painter(frames[3]))
    assert np.array_equal(alone[0], held[0])
    assert art.flicker(held, frames) < 0.8 * art.flicker(alone, frames)


def test_after_a_cut_nothing_of_the_old_scene_is_left(painter):
    frames = [scene(1, 40, 48)] * 2 + [255 - scene(2, 40, 48)] * 2
    held = painter.film(frames)
    seen = np.abs(held[2].astype(int) - painter(frames[2]))
    assert seen.mean() < 6
    with pytest.raises(RecipeError):
        painter.film(frames, hold=1.0)


def test_a_painter_learns_its_style_and_is_kept(painter, net, tmp_path):
    from bottega.crafts.art import _grams, _style_distance

    photo = scene(9)
    wanted = _grams(net, weave(), "style")
    before, after = (_style_distance(net.maps(numbers(p), net.style), wanted).item() for p in (photo, painter(photo)))
    assert after < 0.6 * before
    path = painter.save(tmp_path / "weave")
    again = art.load_painter(path)
    assert path.suffix == ".safetensors"
    assert np.array_equal(again(photo), painter(photo))
    assert (again.weights, again.losses) == (painter.weights, painter.losses)
    assert painter(scene(0, 33, 50)).shape == (33, 50, 3)  # any size
    with pytest.raises(DataError) as error:
        painter(photo[:4])
    one_line(error, "64x4")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(path.read_bytes()[:300])
    for name in ("other", "cut", "absent"):
        with pytest.raises(CheckpointError) as error:
            art.load_painter(tmp_path / f"{name}.safetensors")
        one_line(error, name)


@pytest.mark.slow
def test_ten_frames_a_second_at_128_pixels_of_one_core():
    painter = art.Painter(Stylist().eval())
    frame = scene(0, 128, 128)
    times = []
    for _ in range(12):
        began = time.process_time()  # what it takes, however busy the machine is
        painter(frame)
        times.append(time.process_time() - began)
    assert sorted(times)[len(times) // 2] < 0.1


# ---- tiles and palettes (row H12) --------------------------------------------------------------------------------------


def test_a_tile_has_no_seam_and_is_like_its_texture(net):
    from bottega.crafts.art import _grams, _style_distance

    texture = weave(61, 61, 16)  # ends where its waves are highest, and begins at their middle
    assert art.seam(texture) > 0.1
    made = art.tile(texture, net, size=48, steps=60)
    assert art.seam(made) < 0.01
    wanted = _grams(net, texture, "texture")
    noise = np.random.default_rng(0).permutation(texture.reshape(-1, 3))[: 48 * 48].reshape(48, 48, 3)
    like, before = (_style_distance(net.maps(numbers(p), net.style, wrap=True), wanted).item() for p in (made, noise))
    assert like < 0.2 * before  # below 0.1 where it was made; it is cut elsewhere, so that halvings fall differently
    assert not np.array_equal(made, art.tile(texture, net, size=48, steps=5, seed=1))


def test_lines_of_a_tile_are_evened_and_nothing_else_suffers(net, monkeypatch):
    """Against the same tiles without it, over textures and seeds: seams fall, likeness and roughness stay."""
    from bottega.crafts.art import _grams, _roughness, _style_distance

    found = {}
    for weight in (art._EVEN, 0.0):
        monkeypatch.setattr(art, "_EVEN", weight)
        for k in range(3):
            texture = weave(61, 61, (8, 12, 16)[k])
            made = art.tile(texture, net, size=64, steps=60, seed=k)
            like = _style_distance(
                net.maps(numbers(made), net.style, wrap=True), _grams(net, texture, "texture")
            ).item()
            rough = (_roughness(numbers(made)) / _roughness(numbers(texture))).item()
            found.setdefault(weight > 0, []).append((art.seam(made), like, rough))
    evened, plain = (np.array(found[on]) for on in (True, False))
    assert evened[:, 0].mean() < 0.6 * plain[:, 0].mean()
    assert evened[:, 0].max() < 0.01
    assert (evened[:, 1] < 1.1 * plain[:, 1] + 0.005).all()
    assert (abs(evened[:, 2] - plain[:, 2]) < 0.1).all()


def test_a_tile_that_does_not_wrap_has_a_seam_wherever_it_is_cut(net, monkeypatch):
    """Planted: convolutions and steps that end at the edge. The cut at the calmest place must not hide it."""
    maps, pad = Vgg.maps, art.F.pad
    monkeypatch.setattr(art, "_EVEN", 0.0)  # only the wrapping changes
    made = {True: art.tile(scene(1, 64, 64), net, size=64, steps=30)}
    monkeypatch.setattr(Vgg, "maps", lambda self, x, names, wrap=False: maps(self, x, names))
    monkeypatch.setattr(art.F, "pad", lambda x, by, *how: x if how == ("circular",) else pad(x, by, *how))
    made[False] = art.tile(scene(1, 64, 64), net, size=64, steps=30)
    at = {wraps: [art.seam(np.roll(p, k, (0, 1))) for k in (0, 17, 32)] for wraps, p in made.items()}
    for found in at.values():
        assert found == pytest.approx([found[0]] * 3)
    assert at[True][0] < 0.025 < 0.04 < at[False][0]


def test_a_photograph_rolled_half_way_has_its_seam_inside():
    photo = (_features.photographs()[0][:, 40:168, 60:188].permute(1, 2, 0).numpy() + 1) * 127.5
    photo = photo.round().astype(np.uint8)
    assert art.seam(photo) > 0.05
    assert art.seam(np.roll(photo, 64, (0, 1))) == pytest.approx(art.seam(photo))
    mirrored = np.concatenate([photo, photo[::-1]])
    mirrored = np.concatenate([mirrored, mirrored[:, ::-1]], 1)  # meets itself as it is
    assert art.seam(mirrored) < 0.5 * art.seam(photo)


def test_the_seam_of_known_pictures():
    y, x = np.mgrid[:32, :32]
    ramp = np.repeat((x * 8)[..., None], 3, -1).astype(np.uint8)
    assert art.seam(ramp) == pytest.approx((248 + 8) / 255)
    wave = np.repeat((np.sin(2 * np.pi * x / 32) * 100 + 128)[..., None], 3, -1).astype(np.uint8)
    assert art.seam(wave) < 0.01
    assert art.seam(np.zeros((8, 8, 3), np.uint8)) == 0


@pytest.mark.parametrize("size", [0, 16, 40, -16, 20_000])
def test_a_tile_of_a_size_that_cannot_wrap_is_refused(net, size):
    with pytest.raises(RecipeError) as error:
        art.tile(weave(), net, size=size)
    one_line(error, size, "16")


def test_a_palette_is_kept_exactly():
    picture = scene(2, 64, 64)
    out, used = art.palette(picture, ["#000000", "white", "#f00"])
    assert used == ["#000000", "#ffffff", "#ff0000"]
    assert {tuple(p) for p in out.reshape(-1, 3).tolist()} <= {(0, 0, 0), (255, 255, 255), (255, 0, 0)}
    out, used = art.palette(picture, 5)
    assert len(used) == 5
    assert {f"#{r:02x}{g:02x}{b:02x}" for r, g, b in out.reshape(-1, 3).tolist()} == set(used)
    assert np.array_equal(art.palette(picture, 5)[0], out)
    finer = art.palette(picture, 40)[0]
    apart = [np.abs(p.astype(int) - picture).mean() for p in (out, finer)]
    assert apart[1] < 0.6 * apart[0]
    few = np.zeros((4, 4, 3), np.uint8)
    few[0, 0] = (9, 200, 30)
    assert np.array_equal(art.palette(few, 8)[0], few)  # fewer colours than were asked for: as it is


def test_a_palette_leaves_alpha_and_finds_nothing_where_nothing_is_seen():
    picture = np.concatenate([scene(2), np.full((48, 64, 1), 255, np.uint8)], -1)
    picture[:10] = (255, 0, 255, 0)
    picture[10:20, :, 3] = 90
    out, used = art.palette(picture, 6)
    assert np.array_equal(out[..., 3], picture[..., 3])
    assert {f"#{r:02x}{g:02x}{b:02x}" for r, g, b in out[10:, :, :3].reshape(-1, 3).tolist()} == set(used)
    assert "#ff00ff" not in used


def test_the_nearest_colour_is_the_nearest_to_the_eye():
    dark_blue, yellowish = np.array([[[0, 0, 140]]], np.uint8), np.array([[[240, 230, 30]]], np.uint8)
    assert art.palette(dark_blue, ["#000000", "#0000ff"])[1]
    assert art.palette(dark_blue, ["#ffff00", "#0000ff"])[0].tolist() == [[[0, 0, 255]]]
    assert art.palette(yellowish, ["#ff0000", "#ffff00"])[0].tolist() == [[[255, 255, 0]]]


@pytest.mark.parametrize("colours", [0, 257, ["#12345"], ["nocolour"], []])
def test_a_palette_that_is_none_is_refused(colours):
    with pytest.raises(RecipeError):
        art.palette(scene(), colours)


# ---- in the style of a folder (row C14) --------------------------------------------------------------------------------


def folders():
    weaves = [weave(48, 48, 5 + k / 3) for k in range(12)]
    scenes = [scene(k) for k in range(12)]
    return weaves, scenes


def test_art_in_the_style_of_a_folder_is_told_from_other_art_and_from_copies(net):
    weaves, scenes = folders()
    new = [weave(48, 48, 5 + (k + 0.5) / 3) for k in range(8)]
    found = art.likeness(new, weaves, scenes, net)
    assert found.own < 0.1 < 0.5 < found.other
    assert found.apart == pytest.approx(found.other, rel=0.3)
    assert found.copies == 0
    assert found.passes
    other = art.likeness(scenes[:6], weaves, scenes[6:], net)
    assert not other.passes  # of the other style
    varied, made = [*weaves[:6], *scenes[:6]], [*weaves[6:9], *scenes[6:9]]
    between = [a // 2 + scene(k, 48, 48) // 2 for k, a in enumerate(weaves[:4])]  # near to both, and like neither
    rows = [art.style_vectors(some, net) for some in (made, varied, between)]
    assert torch.cdist(rows[0], rows[1]).mean() > torch.cdist(rows[0], rows[2]).mean(), (
        "a mean distance would be misled"
    )
    found = art.likeness(made, varied, between, net)
    assert found.own < 0.1 < found.other
    copied = art.likeness(weaves[:8], weaves, scenes, net)
    assert copied.copies == 1
    assert not copied.passes
    forty = [weave(32, 32, 4 + k / 7) for k in range(40)]
    kept_back = Rng(0).permutation(40)[:10].tolist()  # where copies were once not looked for
    found = art.likeness([forty[k] for k in kept_back], forty, scenes, net, side=32)
    assert (found.copies, found.passes) == (1, False)
    with pytest.raises(DataError) as error:
        art.likeness([], weaves, scenes, net)
    one_line(error, "0 made")


# ---- films on disk and the command -------------------------------------------------------------------------------------


def test_a_run_is_held_against_what_it_learned_from(call, tmp_path, monkeypatch):
    """Row C14 in one command; a model that gives out its training pictures is caught, and its held-out ones are not copies."""
    weaves, scenes = [weave(24, 24, 3 + k / 9) for k in range(40)], [scene(k, 24, 24) for k in range(12)]
    for kind, pictures in (("weaves", weaves), ("scenes", scenes)):
        (tmp_path / kind).mkdir()
        for k, value in enumerate(pictures):
            Image.fromarray(value).save(tmp_path / kind / f"{k}.png")
    recipe = write_recipe(tmp_path, "vae", data={"held": 0.2}, codec={"name": "image", "size": 24}, steps=1, batch=8)
    run = bottega.train(recipe, tmp_path / "weaves", tmp_path / "run", judge=False)
    told = call("likeness", run.path, "--others", tmp_path / "scenes")
    assert told["n"] == 64
    assert told["copies"] == 0
    assert told["passes"] is (told["own"] < told["other"])
    real = run.codec.encode(run.codec.read(tmp_path / "weaves")).x
    monkeypatch.setattr(run.model, "sample", lambda n, rng, cond: real[torch.arange(n) % len(real)])
    copied = art.run_likeness(run, scenes, art.features())
    assert copied.own < copied.other
    assert 0.6 < copied.copies < 1, "what was kept back was never learned"
    assert not copied.passes


def test_films_are_read_and_written(tmp_path):
    frames = moving_film(4)
    mark = {"machine_made": "true", "seed": "0"}
    art.write_frames(frames, tmp_path / "film", 25, mark)
    back, rate = art.read_frames(tmp_path / "film")
    assert (len(back), rate) == (4, 25)
    assert all(np.array_equal(a, b) for a, b in zip(frames, back, strict=True))
    assert read_mark(tmp_path / "film" / "00000.png")["machine_made"] == "true"
    art.write_frames(frames, tmp_path / "film.gif", 10, mark)
    back, rate = art.read_frames(tmp_path / "film.gif")
    assert (len(back), rate) == (4, 10)
    assert np.abs(back[2].astype(int) - frames[2]).mean() < 12  # 256 colours
    with Image.open(tmp_path / "film.gif") as film:
        assert json.loads(film.info["comment"])["machine_made"] == "true"
    np.savez(tmp_path / "film.npz", frames=np.stack(frames))
    assert len(art.read_frames(tmp_path / "film.npz")[0]) == 4
    assert art.is_film(tmp_path / "film.gif")
    assert art.is_film(tmp_path / "film")
    assert not art.is_film(tmp_path / "film" / "00000.png")
    Image.fromarray(scene()).save(tmp_path / "film" / "odd.png")
    with pytest.raises(DataError) as error:
        art.read_frames(tmp_path / "film")
    one_line(error, "64x48", "56x48")
    (tmp_path / "cut.gif").write_bytes((tmp_path / "film.gif").read_bytes()[:60])
    with pytest.raises(DataError):
        art.read_frames(tmp_path / "cut.gif")
    (tmp_path / "none.gif").write_bytes(b"no picture at all")
    (tmp_path / "bomb.gif").write_bytes(
        b"GIF89a" + b"\xff\xff" * 2 + bytes(3) + b"," + bytes(4) + b"\xff\xff" * 2 + b"\0\2"
    )
    vast(tmp_path / "vast.gif", 20_000)
    vast(tmp_path / "large.gif", 10_000)  # Pillow only warns of this one, but one picture of that size is refused too
    for name, *words in (
        ("none.gif", "give a whole GIF"),
        ("bomb.gif", "4,294,836,225 pixels", "89,478,485"),
        ("vast.gif", "400,000,000 pixels", "89,478,485", "make it smaller"),
        ("large.gif", "100,000,000 pixels", "89,478,485"),
    ):
        for read in (art.is_film, art.read_frames):
            with pytest.raises(DataError) as error:
                read(tmp_path / name)
            one_line(error, name, *words)
    for ending in ("mp4", "png", "webp"):
        with pytest.raises(OutputError) as error:
            art.write_frames(frames, tmp_path / f"f.{ending}", 25, mark)
        one_line(error, ending, ".gif")
        assert not (tmp_path / f"f.{ending}").exists()


@pytest.fixture
def call(net, monkeypatch, capsys):
    """The command with the small network of these tests."""
    monkeypatch.setattr(art, "features", lambda weights=None, **_: net)

    def call(*args, status=0):
        assert main(["art", *map(str, args), "--json", "-q"]) == status
        said = capsys.readouterr()
        return json.loads(said.out) if status == 0 else said.err

    return call


def test_the_command(call, tmp_path):
    for name, value in (("photo", scene()), ("weave", weave())):
        Image.fromarray(value).save(tmp_path / f"{name}.png")
    photo, style = tmp_path / "photo.png", tmp_path / "weave.png"
    told = call("stylise", photo, "--style", style, "--size", 48, "--steps", 30)
    with Image.open(told["file"]) as picture:
        assert picture.size == (48, 36)
    assert told["style_fell_percent"] > 50
    assert read_mark(tmp_path / "photo-stylised.png")["recipe"] == "art"
    told = call("tile", style, "--size", 32, "--steps", 20, "--out", tmp_path / "t.png")
    assert told["seam_percent"] < 3
    told = call("palette", photo, "--colours", "#000,#ffffff")
    assert told["colours"] == ["#000000", "#ffffff"]
    assert read_mark(tmp_path / "photo-palette.png") == {}, "no model made it"
    call("palette", tmp_path / "photo-stylised.png")
    assert read_mark(tmp_path / "photo-stylised-palette.png")["machine_made"] == "true"
    clear = np.concatenate([scene(), np.full((48, 64, 1), 60, np.uint8)], -1)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    with Image.open(call("palette", tmp_path / "clear.png")["file"]) as picture:
        assert (np.asarray(picture)[..., 3] == 60).all()
    learned = call("learn", style, "--size", 48, "--steps", 3, "--out", tmp_path / "w.safetensors")["file"]
    assert call("stylise", photo, "--style", learned, "--size", 0)["file"]
    art.write_frames(moving_film(3), tmp_path / "film.gif", 10, {})
    assert "film.mp4" in call(
        "stylise", tmp_path / "film.gif", "--style", learned, "--out", tmp_path / "film.mp4", status=2
    )
    told = call("stylise", tmp_path / "film.gif", "--style", learned)
    assert told["frames"] == 3
    assert told["file"].endswith("film-stylised.gif")
    assert told["flicker"] <= told["flicker_frame_by_frame"]
    for kind, pictures in zip(("weaves", "scenes"), folders(), strict=True):
        (tmp_path / kind).mkdir()
        for k, value in enumerate(pictures):
            Image.fromarray(value).save(tmp_path / kind / f"{k}.png")
    told = call("likeness", tmp_path / "weaves", "--to", tmp_path / "weaves", "--others", tmp_path / "scenes")
    assert told["copies"] > 0.5
    assert told["passes"] is False


def test_the_command_tells_mistakes_in_one_line(call, tmp_path):
    Image.fromarray(scene()).save(tmp_path / "photo.png")
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    photo, film = tmp_path / "photo.png", vast(tmp_path / "vast.gif")
    for args, words in (
        (("stylise", photo), "--style"),
        (("stylise", photo, "--style", tmp_path / "dot.png", "--size", 0), "1x1"),
        (("stylise", photo, "--style", tmp_path / "dot.png"), "dot.png is 1x1"),
        (("stylise", photo, "--style", tmp_path / "absent.png"), "absent.png"),
        (("stylise", tmp_path / "absent.png", "--style", photo), "absent.png"),
        (("stylise", photo, "--style", tmp_path / "absent.safetensors"), "absent.safetensors"),
        (("tile", photo, "--size", 40), "40"),
        (("palette", photo, "--colours", "mud"), "mud"),
        (("likeness", photo), "--to"),
        (("tile", photo, "--size", 20_000), "2048"),
        (("stylise", film, "--style", photo), "vast.gif has 400,000,000 pixels and one picture may have 89,478,485"),
        (("stylise", photo, "--style", film), "vast.gif has 400,000,000 pixels and one picture may have 89,478,485"),
        (("palette", photo, "--size", 64), "--size"),
        (("tile", photo, "--strength", 2), "bottega art tile does not use it"),
        (("stylise", photo, "--style", photo, "--data", tmp_path), "--data"),
        (("stylise", photo, "--style", tmp_path / "a.safetensors", "--strength", 2), "learned network does not use it"),
        (("learn", photo, "--colours", 8), "--colours"),
        (("paint", photo), "paint"),
    ):
        said = call(*args, status=2)
        assert words in said
        assert said.strip().count("\n") == 0


def test_a_style_that_an_earlier_version_learned_is_refused(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "old.safetensors"
    save_file(art.Stylist(4).state_dict(), path, {"bottega": '{"craft": "art", "size": 4, "losses": {}}'})
    with pytest.raises(CheckpointError, match="an earlier version learned; learn it again"):
        art.load_painter(path)
