"""Composing: what is given stays to the note, what is written keeps the rules, files are marked, bad input is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from bottega.cli import main
from bottega.codecs.music import MusicCodec
from bottega.core import BottegaError, DataError, Item, RecipeError
from bottega.core.score import Key, Note, Part, Score
from bottega.core.voicing import RANGES, allowed, faults, moments, parallels
from bottega.crafts import compose
from bottega.crafts._chorus import _tempered
from bottega.families.gpt import GPT
from bottega.trust.mark import read as read_mark
from bottega.workshop.recipe import load_recipe
from bottega.workshop.run import Run
from chorales import PARTS, chorale


def tune(pitches=(72, 74, 76, 74, 72, 71, 72, 72)) -> Score:
    return Score.of(
        [Note(8 * k, 8, p) for k, p in enumerate(pitches)], ticks=8, parts=(Part("Tune"),), keys=((0, Key(0)),)
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A model that has learned nothing: rules must hold without its help."""
    plan = load_recipe("chorales", {"family.size": 1, "codec.length": 256})
    codec = MusicCodec(**{k: v for k, v in plan.codec.items() if k != "name"}).fit([Item(chorale())])
    torch.manual_seed(0)
    return Run(tmp_path_factory.mktemp("run"), plan, codec, GPT(codec.spec, size=1).eval(), {"step": 0})


def test_rules_find_each_fault_and_nothing_else():
    def lines(*chords):
        return [[Note(k, 1, p) for k, p in enumerate(v)] for v in zip(*chords, strict=True)]

    assert faults(lines((72, 67, 64, 48), (71, 67, 62, 55))) == []
    for chords, rule in (
        (((72, 67, 64, 48), (74, 67, 65, 50)), "octaves"),
        (((72, 67, 60, 53), (74, 67, 62, 55)), "fifths"),
        (((67, 69, 64, 48),), "crossing"),
        (((79, 60, 55, 48),), "spacing"),
        (((72, 67, 64, 34),), "range"),
        (((72, 67, 64, 40), (72, 67, 64, 51)), "leap"),
        (((72, 67, 64, 40), (72, 67, 64, 54)), "leap"),
    ):
        assert rule in {f.rule for f in faults(lines(*chords))}, (chords, rule)
    assert {f.rule for f in faults(lines((85, 74, 67, 48)), given=(0,))} == set()
    again = lines((72, 67, 60, 53), (72, 67, 60, 53))
    assert parallels(moments(again)) == ([], 0)  # struck again is no motion


def test_what_the_rules_leave_is_exactly_what_has_no_fault():
    chance = np.random.default_rng(0)
    for _ in range(60):
        before = [int(chance.integers(a, b + 1)) for a, b in RANGES.values()]
        before.sort(reverse=True)
        now = [int(np.clip(before[0] + chance.integers(-4, 5), 60, 79))]
        for v in (1, 2, 3):
            left = allowed(before, now)
            for pitch in chance.permutation(np.arange(30, 85))[:12].tolist():
                chords = [before[: v + 1], [*now, pitch]]
                found = faults([[Note(k, 1, c[u]) for k, c in enumerate(chords)] for u in range(v + 1)])
                own = {f.rule for f in found if f.tick == 1 and v in f.voices}
                low, high = list(RANGES.values())[v]
                spaced = now[-1] - pitch <= (12, 12, 24)[v - 1]
                good = low <= pitch <= high and spaced and not own
                assert bool(left[pitch]) == good, (before, now, pitch, own)
            options = np.flatnonzero(left)
            if not len(options):
                break
            now.append(int(chance.choice(options)))


def test_a_melody_is_harmonised_without_a_fault_in_several_ways(run):
    made = compose.harmonise(run, tune(), n=3, particles=4)
    assert len({m.score.notes for m in made}) == 3
    for one in made:
        assert faults(one.score, given=(0,)) == one.faults == []
        assert [(n.onset, n.duration, n.pitch) for n in one.score.lines()[0]] == [
            (n.onset, n.duration, n.pitch) for n in tune().notes
        ]
        assert all(one.score.lines())
        assert one.score.in_key(Key(0)) < 1.01
    strict = compose.harmonise(run, tune(), n=1, particles=4, accidentals=0.0)[0]
    assert strict.score.in_key(Key(0)) == 1.0
    again = compose.harmonise(run, tune(), n=3, particles=4)
    assert [m.score for m in again] == [m.score for m in made]


def test_a_piece_goes_on_and_its_beginning_stays(run):
    begun = chorale(2, key=2)
    (made,) = compose.continue_(run, begun, bars=2, particles=4)
    assert made.score.length == 2 * begun.length
    base = begun.rescaled(made.score.ticks)
    assert [n for n in made.score.notes if n.onset < base.length] == list(base.notes)
    assert made.faults == []
    assert faults(made.score.cut(base.length, made.score.length)) == []
    short = compose.continue_(run, begun, bars=1, keep_bars=1, particles=4)[0].score
    assert short.length == base.length


def test_a_temperature_says_which_notes_are_struck_and_not_how_long_they_last():
    logits = torch.tensor(
        [[0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, -torch.inf], [-torch.inf, -torch.inf, -torch.inf, 0.0]]
    )
    cold = _tempered(logits, 3, 0.5).exp()
    plain = logits.softmax(1)
    assert torch.allclose(cold[:, 3], plain[:, 3])
    squared = plain[:2, :3] ** 2
    assert torch.allclose(cold[:2, :3], squared / squared.sum(1, keepdim=True) * (1 - plain[:2, 3:]))
    assert torch.allclose(_tempered(logits, 3, 1.0).exp(), plain)


class Lingering(GPT):
    """Has learned nothing, but for that a voice goes on in four moments of five."""

    def step(self, *args, **knobs):
        inner, hold = super().step(*args, **knobs), self.hold

        class Step:
            take = inner.take

            def __call__(self, tokens):
                out = inner(tokens).clone()
                rest = out.clone()
                rest[:, hold] = -torch.inf
                out[:, hold] = (rest.logsumexp(1) + np.log(4.0 / len(hold)))[:, None]
                return out

        return Step()


def test_a_cold_model_writes_notes_as_long_as_a_warm_one(run, tmp_path):
    torch.manual_seed(0)
    model = Lingering(run.codec.spec, size=1).eval()
    model.hold = [run.codec.number[f"{v}:hold"] for v in range(4)]
    slow = Run(tmp_path, run.recipe, run.codec, model, {"step": 0})
    long = []
    for temperature in (0.3, 1.0):
        made = compose.continue_(slow, chorale(2), bars=4, n=3, temperature=temperature, rules=False)
        long.append(
            np.mean([n.duration / m.score.ticks for m in made for n in m.score.notes if n.onset >= 8 * m.score.ticks])
        )
    assert long[0] == pytest.approx(long[1], rel=0.3)


def test_bars_are_filled_and_the_others_stay(run):
    piece = chorale(4)
    (made,) = compose.infill(run, piece, 2, 3, particles=8)
    ticks = made.score.ticks
    old, (a, b) = piece.rescaled(ticks), made.written
    assert (a, b) == (4 * ticks, 12 * ticks)
    outside = [n for n in made.score.notes if not a <= n.onset < b]
    assert outside == [n for n in old.notes if not a <= n.onset < b]
    assert [n for n in made.score.notes if a <= n.onset < b] != [n for n in old.notes if a <= n.onset < b]
    assert made.faults == []


def test_another_setting_of_a_piece_differs(run):
    piece = chorale(2)
    made = compose.reharmonise(run, piece, n=2, particles=4)
    shares = [compose.differ(m.score, piece) for m in made]
    assert shares[0] >= shares[1] > 0.2
    assert compose.differ(piece, piece) == 0
    assert [n.pitch for n in made[0].score.lines()[0]] == [n.pitch for n in piece.lines()[0]]


def test_files_are_marked_and_say_the_same_notes(run, tmp_path):
    (made,) = compose.harmonise(run, tune(), n=1, particles=4)
    paths = compose.save(run, made, tmp_path / "tune")
    assert [p.name for p in paths] == ["tune.mid", "tune.musicxml", "tune.wav", "tune.png", "tune-score.png"]
    for path in paths:
        said = read_mark(path)
        assert said["machine_made"] == "true"
        assert said["weights"] == run.weights_hash
    for path in paths[:2]:
        back = MusicCodec().read(path)[0].value.rescaled(made.score.ticks)
        assert [(n.onset, n.duration, n.pitch) for n in back.notes] == [
            (n.onset, n.duration, n.pitch) for n in made.score.notes
        ]


def test_wishes_stand_before_the_notes(run):
    (made,) = compose.new(run, n=1, wishes={"mode": "minor"}, temperature=0.9)
    assert made.score.keys[0][1] == Key(9, "minor")
    with pytest.raises(RecipeError, match="cannot be asked for a density"):
        compose.new(run, wishes={"density": "dense"})
    with pytest.raises(RecipeError, match="minor"):
        compose.new(run, wishes={"mode": "minr"})


def test_bad_input_is_refused(run):
    two = Score.of(
        [*tune().notes, *(n._replace(pitch=n.pitch - 4, part=1) for n in tune().notes)], ticks=8, parts=PARTS[:2]
    )
    with pytest.raises(DataError, match="2 voices, and one single line"):
        compose.harmonise(run, two)
    with pytest.raises(DataError, match="two notes at once"):
        compose.harmonise(run, two.with_notes([n._replace(part=0) for n in two.notes], parts=PARTS[:1]))
    with pytest.raises(DataError, match=r"transpose it by -7"):
        compose.harmonise(run, tune().transposed(12))
    with pytest.raises(DataError, match="bars 1 to 4; there is no bar 9"):
        compose.infill(run, chorale(4), 9)
    with pytest.raises(DataError, match="no bar 7"):
        compose.continue_(run, chorale(2), keep_bars=7)
    with pytest.raises(DataError, match="2 voices, and four"):
        compose.continue_(run, two)
    for wrong in ({"temperature": 0.0}, {"top_p": 1.5}, {"accidentals": -0.1}, {"particles": 0}):
        (name,) = wrong
        with pytest.raises(RecipeError, match=rf"^{name} is {wrong[name]}; give a number [a-z0-9 ]*$"):
            compose.continue_(run, chorale(2), **wrong)
    other = Run(run.path, run.recipe, MusicCodec(tokens="frames").fit([Item(chorale())]), run.model, {"step": 0})
    with pytest.raises(BottegaError, match="does not write four voices"):
        compose.continue_(other, chorale(2))


def test_damaged_and_empty_files_are_one_line(tmp_path, capsys):
    whole = tmp_path / "whole.mid"
    MusicCodec().write(Item(chorale()), whole)
    cut = tmp_path / "cut.mid"
    cut.write_bytes(whole.read_bytes()[:60])
    empty = tmp_path / "empty.mid"
    MusicCodec().write(Item(Score.of([], length=16)), empty)
    for path, said in ((cut, "cut.mid"), (empty, "no notes"), (tmp_path / "none.mid", "there is no")):
        assert main(["compose", "accompany", str(path)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert said in error, error
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut.mid", "empty.mid", "whole.mid"]


def test_ten_thousand_notes_in_a_bar(tmp_path):
    chance = np.random.default_rng(0)
    notes = [Note(int(chance.integers(0, 1920)), 1, int(chance.integers(30, 100))) for _ in range(10_000)]
    MusicCodec().write(Item(Score.of(notes)), tmp_path / "dense.mid")
    with pytest.raises(DataError, match="notes; the most is"):
        compose.one_piece(tmp_path / "dense.mid")


def test_notes_shorter_than_the_grid_are_thinned_and_kept_in_the_piece(run):
    quick = chorale(2)
    notes = [n for n in quick.notes if n.onset or n.part] + [
        Note(0, 1, 72, 80, 0),
        Note(1, 1, 74, 80, 0),
        Note(2, 2, 76, 80, 0),
    ]
    quick = quick.with_notes(notes)
    codec = run.codec
    told = codec.canonical(quick)
    assert [n.onset for n in told.lines()[0]][:2] == [0, 1]  # of two sixteenths in an eighth one is left
    (made,) = compose.continue_(run, quick, bars=1, particles=4)
    assert list(quick.rescaled(made.score.ticks).notes) == [
        n for n in made.score.notes if n.onset < 8 * made.score.ticks
    ]


def test_the_command_line_fills_a_bar_that_is_there_only(run, tmp_path, capsys, monkeypatch):
    import bottega.workshop.run as workshop

    monkeypatch.setattr(workshop, "load", lambda path, device="auto": run)
    MusicCodec().write(Item(chorale(3)), tmp_path / "piece.mid")
    args = [
        "compose",
        "infill",
        "runs/any",
        str(tmp_path / "piece.mid"),
        "--out",
        str(tmp_path / "out"),
        "--particles",
        "8",
        "-q",
    ]
    assert main([*args, "--bars", "2", "--formats", "mid", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["pieces"][0]["faults"] == 0
    assert (tmp_path / "out" / "piece-filled.mid").is_file()
    assert main([*args, "--bars", "12"]) == 2
    assert "there is no bar 12" in capsys.readouterr().err
    assert main([*args, "--bars", "2", "--formats", "mp3"]) == 2
    assert "no format called 'mp3'" in capsys.readouterr().err
