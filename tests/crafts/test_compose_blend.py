"""Ways through codes of music: where they begin and end, which way is more, and what is refused."""

import json

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import bottega
from bottega.cli import main
from bottega.codecs.music import MusicCodec
from bottega.core import BottegaError, DataError, Item, RecipeError
from bottega.core.score import Note, Score
from bottega.crafts import compose_blend as craft
from bottega.crafts._rows import codes_of, decoded
from bottega.data import worlds
from recipes import write_recipe

CODEC = {"name": "music", "tokens": "voices", "steps": 1, "length": 36, "key": "common"}
TUNES = {"name": "tunes", "n": 1500, "bars": 2}


def trained(here, steps, **more):
    sizes = {
        "family.size": 64,
        "family.latent": 16,
        "family.segment": 17,
        "family.beta": 0.05,
        "family.word_dropout": 0.5,
    }
    toml = write_recipe(here, "musicvae", data=TUNES, codec=CODEC, steps=steps, batch=32)
    return bottega.train(toml, out=here / "run", set={**sizes, "optim.lr": 5e-3, **more}, judge=False)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("fresh"), 2)


@pytest.fixture(scope="module")
def pieces():
    return [item.value for item in worlds.load("tunes", n=40, bars=2, seed=9).items]


def test_attributes_are_what_they_say():
    score = Score.of([Note(0, 4, 60), Note(4, 4, 64), Note(8, 8, 61)], ticks=4)
    assert craft.ATTRIBUTES["density"](score) == 3 / 4
    assert craft.ATTRIBUTES["height"](score) == (60 + 64 + 2 * 61) / 4
    assert craft.ATTRIBUTES["leaps"](score) == 3.5
    with pytest.raises(RecipeError, match="did you mean 'density'"):
        craft.attribute("densty")


def test_an_arc_keeps_to_the_sphere_and_to_its_ends():
    a, b = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 5.0])
    torch.testing.assert_close(craft._arc(a, b, 0.0), a)
    torch.testing.assert_close(craft._arc(a, b, 1.0), b)
    torch.testing.assert_close(craft._arc(a, b, 0.5), 4 * torch.tensor([0.5, 0.5]).sqrt())
    torch.testing.assert_close(craft._arc(a, 2 * a, 0.5), 1.5 * a)


def test_a_way_has_its_pieces_and_files(fresh, pieces, tmp_path, capsys):
    codec = MusicCodec()
    for name, score in zip("ab", pieces, strict=False):
        codec.write(Item(score), tmp_path / f"{name}.mid")
    out = ["--out", str(tmp_path / "out"), "--formats", "mid", "--json"]
    assert (
        main(["compose", "blend", str(fresh.path), *(str(tmp_path / f"{n}.mid") for n in "ab"), "-n", "3", *out]) == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told["at"] == [0, 0.5, 1]
    assert len(told["pieces"]) == len(list((tmp_path / "out").glob("a-b-*.mid"))) == 3
    assert main(["compose", "move", str(fresh.path), str(tmp_path / "a.mid"), "--of", "height", "-n", "2", *out]) == 0
    assert len(json.loads(capsys.readouterr().out)["height"]) == 2
    assert main(["compose", "move", str(fresh.path), str(tmp_path / "a.mid"), "--of", "joy", *out]) == 2
    assert "no attribute called 'joy'" in capsys.readouterr().err


def test_a_survey_that_was_made_serves_many_pieces(fresh, pieces):
    found = craft.survey(fresh, "height")
    assert craft.move(fresh, pieces[0], "height", n=3, known=found) == craft.move(fresh, pieces[0], "height", n=3)
    with pytest.raises(RecipeError, match="no attribute called 'hieght'; did you mean 'height'"):
        craft.move(fresh, pieces[0], "hieght", known=found)


def test_a_direction_is_that_of_the_pieces_near():
    """Along the first number the attribute grows on the right and falls on the left; along the second it grows everywhere."""
    z = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0))
    z[:2000, 0] += 20
    known = craft.Known(z, torch.where(z[:, 0] > 10, z[:, 0], -z[:, 0]) + z[:, 1])
    right, spread = craft.direction(known, torch.tensor([20.0, 0.0]))
    left, _ = craft.direction(known, torch.tensor([0.0, 0.0]))
    half = 0.5**0.5
    torch.testing.assert_close(right, torch.tensor([half, half]), atol=0.1, rtol=0)
    torch.testing.assert_close(left, torch.tensor([-half, half]), atol=0.1, rtol=0)
    assert spread == pytest.approx((z @ right).std().item())
    assert craft.direction(known)[0][0] > 0.99, "of all, it is the way from the left to the right"


def test_a_direction_widens_until_two_pieces_differ_and_wants_codes_that_differ():
    z = torch.arange(1000.0)[:, None]
    known = craft.Known(z, (z[:, 0] >= 500).float())
    torch.testing.assert_close(craft.direction(known, torch.zeros(1))[0], torch.ones(1))
    with pytest.raises(DataError, match="have the same codes; train the run for longer"):
        craft.direction(craft.Known(torch.zeros(1000, 1), known.values))


def test_of_many_ways_the_one_that_rises_is_taken():
    off = torch.tensor([0.0, 0.1, 0.2])
    assert craft._rising(torch.tensor([[1.0, 5, 5], [2, 0, 0], [3, 0, 9]]), off) == [0, 0, 0], "the least off"
    assert craft._rising(torch.tensor([[3.0, 1, 0], [0, 0, 2], [2, 2, 3]]), off) == [1, 2, 2], "two rises"
    assert craft._rising(torch.tensor([[2.0, 2, 2], [2, 2, 1], [0, 1, 2]]), off) == [0, 0, 2], (
        "to stand still is no fall"
    )
    assert craft._rising(torch.tensor([[2.0, 2, 2], [1, 1, 1], [0, 3, 0]]), off) == [0, 0, 1], (
        "one fall, where it must be"
    )


def test_a_step_that_goes_the_wrong_way_stays_where_the_one_before_is():
    assert craft._staying([1, 2, 3, 4, 5]) == [0, 1, 2, 3, 4]
    assert craft._staying([1, 4, 3, 2, 2.5]) == [0, 2, 2, 2, 2], "seen from the middle"
    assert craft._staying([1, 0, 3, 9, 4]) == [1, 1, 2, 3, 3]
    assert craft._staying([2, 1]) == [1, 1]


def test_moves_keep_the_piece_itself_and_choose_beside_it(fresh, pieces):
    plain = craft.move(fresh, pieces[0], "leaps", n=5, tries=1)
    assert plain.at == [-2, -1, 0, 1, 2]
    some = craft.move(fresh, pieces[0], "leaps", n=5, most=4.0)
    assert some.at[2] == 0
    assert some.pieces[2].score == plain.pieces[2].score
    assert all(abs(a - b) <= 1 for a, b in zip(some.at, [-4, -2, 0, 2, 4], strict=True)), "never over to the next step"
    for piece in pieces[:5]:
        values = craft.move(fresh, piece, "leaps").attribute["leaps"]
        assert values == sorted(values)


def test_what_is_refused(fresh, pieces, tmp_path):
    with pytest.raises(RecipeError, match="two ends"):
        craft.blend(fresh, *pieces[:2], n=1)
    with pytest.raises(RecipeError, match="most is 0"):
        craft.move(fresh, pieces[0], "density", most=0.0)
    with pytest.raises(RecipeError, match="tries is 0"):
        craft.move(fresh, pieces[0], "density", tries=0)
    one = pieces[0].with_notes([n for n in pieces[0].notes if n.part == 0])
    with pytest.raises(
        DataError, match="the last piece has 1 voice, and musicvae takes 4 single voices; give a piece of 4"
    ):
        craft.blend(fresh, pieces[0], one)
    with pytest.raises(DataError, match="the piece has 1 voice,"):
        craft.move(fresh, one, "density")
    toml = write_recipe(tmp_path, "ngram", data=TUNES, codec=CODEC, size=2, steps=1)
    plain = bottega.train(toml, out=tmp_path / "plain", judge=False)
    with pytest.raises(BottegaError, match="^family ngram has no codes of real numbers"):
        craft.blend(plain, *pieces[:2])
    points = bottega.train(write_recipe(tmp_path, "vae", steps=1), out=tmp_path / "points", judge=False)
    with pytest.raises(BottegaError, match="not music"):
        craft.blend(points, *pieces[:2])


@pytest.mark.slow
def test_a_trained_model_gives_pieces_back_and_moves_them(tmp_path, pieces):
    """Of a run half as large as the recipe, trained for three fifths as long; `benchmarks compose --only codes` measures the recipe."""
    run = trained(tmp_path, 900)
    batch = run.codec.encode([Item(piece) for piece in pieces])
    back = run.codec.decode(decoded(run, codes_of(run, batch)))

    def notes(item):
        return {(n.onset / item.value.ticks, n.pitch) for n in item.value.notes}

    kept = [len(notes(a) & notes(b)) / len(notes(a)) for a, b in zip(run.codec.decode(batch.x), back, strict=True)]
    assert np.mean(kept) > 0.72  # measured 0.81
    assert min(craft.blend(run, *pieces[:2], n=5).kept) > 0.6  # moments of the two ends
    for name, even_growth in (("height", 9), ("leaps", 6)):
        known = craft.survey(run, name)
        even = [craft.move(run, piece, name, tries=1, known=known).attribute[name] for piece in pieces[:10]]
        assert sum(w[-1] > w[0] for w in even) >= even_growth, "the direction alone leads to more"
        ways = [craft.move(run, piece, name, known=known).attribute[name] for piece in pieces[:10]]
        assert sum(w[-1] > w[0] for w in ways) >= 9
        assert np.mean([spearmanr(range(5), w).statistic if len(set(w)) > 1 else 0.0 for w in ways]) > 0.75
