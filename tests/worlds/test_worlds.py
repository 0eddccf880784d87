"""What a made world says of itself is true."""

import math
import shutil
from collections import Counter

import numpy as np
import pytest
import torch

from bottega.core import DataError
from bottega.data import worlds
from bottega.data._faces import Look, Person, draw_face
from bottega.data.dataset import fingerprint


def stacked(data):
    return torch.from_numpy(np.stack([item.value for item in data.items]))


@pytest.mark.parametrize("name", worlds.names())
def test_a_world_belongs_to_its_seed(name):
    if name == "espeak" and shutil.which("espeak-ng") is None:
        pytest.skip("the program espeak-ng is not installed")
    n = 2 if name == "multitrack" else 12
    one, same, other = (worlds.load(name, n=n, seed=seed) for seed in (3, 3, 4))
    assert fingerprint(one.items) == fingerprint(same.items) != fingerprint(other.items)
    assert len(one.items) == n
    assert one.medium in {"points", "text", "image", "table", "labels", "music", "audio"}
    assert one.licence
    assert one.about
    assert one.truth


def grid_integral(log_density, low, high, steps=600):
    line = torch.linspace(low, high, steps, dtype=torch.float64)
    x = torch.cartesian_prod(line, line)
    return (log_density(x).exp().sum() * (line[1] - line[0]) ** 2).item()


@pytest.mark.parametrize(
    ("name", "arguments"), [("ring", {}), ("ring", {"modes": 3, "sigma": 0.1}), ("grid", {"side": 3})]
)
def test_gaussians(name, arguments):
    data = worlds.load(name, n=8000, **arguments)
    x, truth = stacked(data), data.truth
    assert grid_integral(truth["log_density"], -2, 2) == pytest.approx(1, abs=1e-4)
    assert -truth["log_density"](x).mean().item() == pytest.approx(truth["entropy_nats"], abs=0.04)
    modes = torch.from_numpy(truth["modes"])
    away, closest = torch.cdist(x, modes).min(1)
    assert (torch.bincount(closest) / len(x)).sub(1 / len(modes)).abs().max() < 0.03
    assert (away.square().mean() / 2).sqrt().item() == pytest.approx(truth["sigma"], rel=0.02)
    share, covered = truth["good"](x)
    assert share > 0.999  # 4 sigma hold 1 - exp(-8) = 99.97 % of a Gaussian in the plane
    assert covered == len(modes)
    assert truth["is_member"](x).double().mean().item() == share
    one_mode = modes[:1] + 0.01 * torch.randn(100, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert truth["good"](one_mode) == (1.0, 1)
    assert truth["good"](torch.full((100, 2), 50.0)) == (0.0, 0)


def test_ring_by_its_name():
    truth = worlds.load("ring", n=10).truth
    assert np.allclose(np.linalg.norm(truth["modes"], axis=1), 1)
    assert truth["sigma"] == 0.05
    assert worlds.load("grid", n=10).truth["modes"].shape == (25, 2)
    labelled = worlds.load("ring", n=100, labels=True)
    for item in labelled.items:
        assert np.linalg.norm(labelled.truth["modes"][int(item.cond)] - item.value) < 0.3


@pytest.mark.parametrize("noise", [0.05, 0.1, 0.3])
def test_moons_density(noise):
    data = worlds.load("moons", n=4000, noise=noise)
    log_density = data.truth["log_density"]
    assert grid_integral(log_density, -3, 4, round(15 / noise)) == pytest.approx(1, abs=1e-4)
    x = stacked(data)[:5]  # against a plain sum over a million points of the arcs
    t = (torch.arange(200_000, dtype=torch.float64) + 0.5) * math.pi / 200_000
    for point in x:
        arcs = (torch.stack([t.cos(), t.sin()], 1), torch.stack([1 - t.cos(), 0.5 - t.sin()], 1))
        p = sum((-(point - arc).square().sum(1) / (2 * noise**2)).exp().mean() for arc in arcs) / 2
        assert log_density(point[None]).item() == pytest.approx((p / (math.tau * noise**2)).log().item(), abs=1e-8)
    share, arcs = data.truth["good"](stacked(data))
    assert share > 0.999
    assert arcs == 2
    assert not data.truth["is_member"](torch.tensor([[5.0, 5.0]])).any()


@pytest.mark.parametrize("depth", [0, 2, 3])
def test_grammar_entropy(depth):
    """The closed form against the mean of -log p, which sums over derivations: a false or ambiguous grammar would differ."""
    data = worlds.load("grammar", n=10_000, depth=depth, seed=1)
    truth = data.truth
    counts = Counter(item.value for item in data.items)
    costs = {sentence: -truth["log_prob"](sentence) for sentence in counts}
    mean = sum(costs[s] * k for s, k in counts.items()) / len(data.items)
    assert mean == pytest.approx(truth["entropy_nats"], rel=0.01)
    letters = np.mean([len(item.value) for item in data.items])
    assert letters == pytest.approx(truth["mean_characters"], rel=0.01)
    words = [len(item.value.split()) for item in data.items]
    assert np.mean(words) == pytest.approx(truth["mean_words"], rel=0.01)
    assert max(words) <= truth["most_words"]
    assert truth["entropy_nats_per_character"] == truth["entropy_nats"] / truth["mean_characters"]


def test_grammar_probabilities_sum_to_one():
    nouns = ("painter", "apprentice", "sculptor", "patron", "singer", "cat")
    log_prob = worlds.load("grammar", n=1, depth=0).truth["log_prob"]
    sentences = [
        f"{the} {noun} {does}."
        for the in ("the", "a", "every")
        for noun in (*nouns, *(f"{a} {n}" for a in ("old", "young", "patient", "proud") for n in nouns))
        for does in ("sleeps", "works", "laughs", "waits")
    ]
    costs = np.array([-log_prob(s) for s in sentences])
    assert np.exp(-costs).sum() == pytest.approx(1, abs=1e-12)
    assert (np.exp(-costs) * costs).sum() == pytest.approx(worlds.load("grammar", n=1, depth=0).truth["entropy_nats"])


@pytest.mark.parametrize(
    "sentence",
    ["", "the painter", "painter the sleeps.", "the painter sleeps", "the painter sleeps .", "the  cat sleeps."],
)
def test_grammar_knows_its_own(sentence):
    truth = worlds.load("grammar", n=1).truth
    assert truth["is_member"]("the painter that sleeps praises a proud cat.")
    assert not truth["is_member"](sentence)
    assert truth["log_prob"](sentence) == -math.inf


def test_grammar_sums_over_derivations():
    twice = worlds.Grammar(
        {"S": [(1, ("A",)), (3, ("B",))], "A": [(1, ("x",))], "B": [(1, ("x",)), (1, ("y", "x"))]}, "S"
    )
    assert math.exp(twice.log_prob(("x",))) == pytest.approx(0.25 + 0.375)
    assert math.exp(twice.log_prob(("y", "x"))) == pytest.approx(0.375)
    assert twice.longest() == 2


def test_shapes_are_read_from_their_pixels():
    data = worlds.load("shapes", n=1000)
    for item in data.items:
        assert worlds.read_shapes(item.value) == worlds.caption_attributes(item.cond)
        assert data.truth["is_member"](item.value)
    assert len({item.cond for item in data.items}) > 370
    assert data.items[0].value.shape == (32, 32, 3)
    assert data.items[0].value.dtype == np.uint8


def test_shapes_refuse_what_is_none():
    truth = worlds.load("shapes", n=60).truth
    rng = np.random.default_rng(0)
    assert not truth["is_member"](rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    assert worlds.read_shapes(np.full((32, 32, 3), 245, np.uint8)) == {}
    items = worlds.load("shapes", n=60).items
    two = np.minimum(items[0].value, np.roll(items[0].value, 12, axis=1))
    assert not truth["is_member"](two)
    noisy = [np.clip(i.value + rng.normal(0, 8, (32, 32, 3)), 0, 255).astype(np.uint8) for i in items]
    scores = truth["good"](noisy, [i.cond for i in items])
    assert scores["all"] >= 0.9  # a reader for generated pictures must bear some noise
    wrong = truth["good"]([i.value for i in items], [items[-1].cond] * 60)
    assert wrong["all"] < 0.2
    with pytest.raises(DataError, match="is no caption of shapes; write like 'a small red circle at the top left'"):
        worlds.caption_attributes("a huge red circle at the top left")


def test_shapes_of_one_radius_have_one_area():
    cover = worlds.draw_shapes(range(4), np.full(4, 16.0), np.full(4, 16.3), np.full(4, 6.0))
    assert np.allclose(cover.sum((1, 2)), math.pi * 36, rtol=0.02)


def test_faces_are_people_seen_in_other_ways():
    data = worlds.load("faces", n=200, people=10)
    pixels = np.stack([item.value for item in data.items]).astype(float)
    apart = ((pixels[:, None, 4:-4, 8:-8] - pixels[None, :, 4:-4, 8:-8]) ** 2).mean((2, 3, 4))
    who = np.array([item.cond for item in data.items])
    same = who[:, None] == who
    np.fill_diagonal(apart, np.inf)
    nearest = apart.argmin(1)
    assert (who == who[nearest]).mean() > 0.8
    assert apart[same & np.isfinite(apart)].min() > 10  # no look comes twice
    assert data.truth["landmarks"].shape == (200, 5, 2)
    with pytest.raises(DataError, match="faces with people=30, n=20"):
        worlds.load("faces", n=20, people=30)


@pytest.mark.parametrize("roll", [-1, 0, 1])
def test_landmarks_of_a_face_follow_its_pose(roll):
    who = Person(0.3, 0.1, 0.4, *[0.5] * 7, 1.0, 0.2, 0.2, 0.0)
    look = Look(across=1, down=-1, roll=roll, near=1, light=0, smile=0.8, open=1, ground=0)
    pixels, marks = draw_face(who, look, side=128)
    seen = [pixels[round(y), round(x)].astype(int) for x, y in marks]
    for eye in seen[:2]:
        assert np.abs(eye - who.colour("eyes")).max() < 25
    for x, y in marks[3:]:  # the lips, which are red, end there
        near = pixels[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3].astype(int)
        beyond = pixels[round(y), round(x + 10 * np.sign(x - marks[2, 0]))].astype(int)
        assert (near[..., 0] - near[..., 1]).max() > 100
        assert beyond[0] - beyond[1] < 60


def test_dependence():
    data = worlds.load("dependence", n=40_000, seed=2)
    rows = [item.value for item in data.items]
    told = data.truth["mutual_information"]
    bins = {"temperature": 40, "length": 24, "width": 24}

    def codes(name):
        values = [row[name] for row in rows]
        if name not in bins:
            return np.unique(values, return_inverse=True)[1]
        known = np.array([math.nan if v is None else v for v in values])
        return np.where(
            np.isnan(known), -1, np.searchsorted(np.nanquantile(known, np.linspace(0, 1, bins[name] + 1)[1:-1]), known)
        )

    for pair, nats in told.items():
        a, b = (codes(name) for name in pair.split("|"))
        kept = (a >= 0) & (b >= 0)
        joint = np.zeros((a.max() + 1, b.max() + 1))
        np.add.at(joint, (a[kept], b[kept]), 1 / kept.sum())
        free = np.outer(joint.sum(1), joint.sum(0))
        seen = joint > 0
        plug_in = (joint[seen] * np.log(joint[seen] / free[seen])).sum()
        bias = (joint.shape[0] - 1) * (joint.shape[1] - 1) / (2 * kept.sum())  # Miller & Madow 1955
        assert plug_in - bias == pytest.approx(nats, abs=0.02), pair
    assert sum(row["width"] is None for row in rows) / len(rows) == pytest.approx(
        data.truth["missing"]["width"], abs=0.005
    )
    log_density = data.truth["log_density"]
    discrete = (
        told["season|weather"] + told["weather|umbrella"]
    )  # H = sum of entropies - what they share, down the chain
    entropies = {n: -sum(k / len(rows) * math.log(k / len(rows)) for k in Counter(r[n] for r in rows).values())
                 for n in ("season", "weather", "umbrella", "coin")}  # fmt: skip
    normal = 0.5 * math.log(math.tau * math.e)
    gap = data.truth["missing"]["width"]
    wanted = (
        sum(entropies.values()) - discrete + normal + math.log(3) + normal + math.log(10)
        + (1 - gap) * (normal + math.log(4 * 0.6)) - gap * math.log(gap) - (1 - gap) * math.log(1 - gap)
    )  # fmt: skip
    assert -np.mean([log_density(row) for row in rows]) == pytest.approx(wanted, abs=0.03)
    assert log_density({**rows[0], "season": "monsoon"}) == -math.inf


def test_bad_arguments():
    with pytest.raises(DataError, match="no made world called 'rings'; did you mean 'ring'"):
        worlds.load("rings")
    with pytest.raises(DataError, match="ring with 8 modes of sigma 0.2 on radius 1.0 overlap"):
        worlds.load("ring", sigma=0.2)
    for name, arguments in (("grid", {"side": 0}), ("moons", {"noise": 0}), ("grammar", {"n": 0}), ("shapes", {"n": 0}),
                            ("dependence", {"n": 0}), ("ring", {"n": 0})):  # fmt: skip
        with pytest.raises(DataError, match=f"{name} with"):
            worlds.load(name, **arguments)


def test_stripes_are_on_half_of_the_pictures_and_nothing_else_tells_the_halves_apart():
    data = worlds.load("stripes", n=600)
    label = np.array([item.cond == "striped" for item in data.items])
    found = data.truth["striped"]([item.value for item in data.items])
    assert label.mean() == pytest.approx(0.5, abs=0.07)
    assert found[label] == pytest.approx(1, abs=0.35)
    assert found[~label] == pytest.approx(0, abs=0.35)
    rows = stacked(data).double()[..., 0]
    blob = rows.unflatten(1, (4, 4)).mean(2)  # over four rows, two bright and two dark, the stripes cancel
    apart = blob[label].mean(0) - blob[~label].mean(0)
    assert apart.abs().max() < 5 * blob.std() / 12


def test_the_moods_of_tunes_are_read_from_their_notes():
    """Mode as heard, tempo and density: what a piece that was asked for is held against."""
    data = worlds.load("tunes", n=200, bars=4, moods=True)
    wanted = {"calm": ("major", "slow", "sparse"), "sad": ("minor", "slow", "sparse"),
              "happy": ("major", "fast", "dense"), "tense": ("minor", "fast", "dense")}  # fmt: skip
    read = [tuple(data.truth["read"](item.value).values()) for item in data.items]
    right = sum(r == wanted[m] for r, m in zip(read, data.truth["moods"], strict=True))
    assert right >= 194
    assert set(data.truth["moods"]) == set(wanted)
