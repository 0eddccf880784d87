"""Composing, measured: copies found, cues met, a player accompanied, listeners served, melodies set by a model of chorales.

- ``copies``: planted copies (another key, another pace; then also one note in ten changed) among made tunes and Bach's
  chorales, and pieces that are none: other made tunes, and folk tunes of Nottingham beside the chorales.
- ``cues``: made cue lists; how far onsets lie from the cues, and how loudness follows the curve.
- ``accompany``: melodies of the built-in chorales replayed; milliseconds of each answer, faults of voice leading.
- ``playlist``: made listeners; NDCG of the first 10 by taste and by fame.
- ``chorales``: needs ``--run``, a run of the recipe: held-out chorales gone on with and their melodies set.
- ``moods``: trains recipe ``moods``; whether mode, tempo and density that were asked for are heard.
- ``genres``: trains recipe ``genres``, and with its settings on jigs, reels, waltzes and hornpipes of Nottingham; whether the genre that was
  asked for is heard in the notes: by the world's truth, and by a classifier of rhythm learned from other real tunes.
- ``arrange``: made tunes and folk tunes of Nottingham for three groups; ways without a fault, and chords that are those of the players.
- ``codes``: trains recipe ``tunes-vae``; how much of held-out pieces comes back, and whether attributes grow as asked.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression

import bottega
from benchmarks._common import held_rows, keep, options, scored, shared, told
from bottega.codecs.music import MusicCodec
from bottega.core import BottegaError, Item, mean_interval
from bottega.core.files import write_atomically
from bottega.core.measure import wilson
from bottega.core.score import Score
from bottega.core.voicing import faults
from bottega.crafts import compose, compose_accompany, compose_arrange, compose_blend, compose_cues, compose_playlist
from bottega.crafts._chords import Chord, chords
from bottega.crafts._rows import codes_of, decoded
from bottega.crafts.compose_arrange import melody_of
from bottega.crafts.compose_check import Library, tune
from bottega.crafts.compose_demo import corpus
from bottega.data import worlds
from bottega.data._tunes import GENRES, MOODS, genre, mood
from bottega.data.builtin import load
from bottega.workshop.build import find_data
from bottega.workshop.training import divide


def share(hits: Sequence[bool]) -> dict[str, Any]:
    """A share with its 95 % interval."""
    low, high = wilson(float(np.mean(hits)), len(hits))
    return {"share": float(np.mean(hits)), "low": low, "high": high, "n": len(hits)}


def planted(score: Score, chance: np.random.Generator, edits: float) -> Score:
    """A copy in another key at another pace, some notes of it changed by up to two semitones."""
    by, slower = int(chance.choice([-5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6])), int(chance.integers(1, 4))
    notes = [n._replace(onset=n.onset * slower, duration=n.duration * slower) for n in score.transposed(by).notes]
    wrong = [
        n._replace(pitch=n.pitch + int(chance.choice([-2, -1, 1, 2]))) if chance.random() < edits else n for n in notes
    ]
    return Score.of(wrong, ticks=score.ticks, parts=score.parts)


def folk(n: int, chance: np.random.Generator) -> list[Item]:
    """Drawn tunes of Nottingham, of at least 20 notes."""
    out: list[Item] = []
    with (
        zipfile.ZipFile(shared() / "nottingham" / "nottingham_midi.zip") as archive,
        tempfile.TemporaryDirectory() as folder,
    ):
        names = sorted(name for name in archive.namelist() if name.lower().endswith(".mid"))
        for k in chance.permutation(len(names)):
            if len(out) == n:
                break
            path = Path(folder, f"{k}.mid")
            path.write_bytes(archive.read(names[k]))
            out += [i for i in MusicCodec().read(path) if len(tune(i.value)) >= 20]
    return out


def copies(args: argparse.Namespace) -> dict[str, Any]:
    """Found and false, in a made world and in real music."""
    chance, out = np.random.default_rng(0), {}
    made = worlds.load("tunes", n=400, seed=11).items
    bach = load("bach").items
    some = folk(args.n, chance)
    for name, known, others in (("tunes", made[:200], made[200:]), ("bach", bach, some)):
        library = Library(known)
        chosen = [known[i] for i in chance.permutation(len(known))[: args.n]]
        row: dict[str, Any] = {"library": len(library.names)}
        for edits in (0.0, 0.1):
            found = [library.compare(planted(item.value, chance, edits)) for item in chosen]
            row[f"found, {edits:.0%} of notes changed"] = share([m is not None and m.copy for m in found])
        honest = [m for item in others[: args.n] if (m := library.compare(item.value)) is not None]
        row["false alarms"] = share([m.copy for m in honest])
        out[name] = row
    return out


def cues(args: argparse.Namespace) -> dict[str, Any]:
    """Twelve films of drawn cues."""
    chance, off, follow = np.random.default_rng(1), [], []
    for seed in range(12):
        times = np.sort(chance.choice(np.arange(2, 58, 0.5), 6, replace=False) + chance.uniform(0, 0.2, 6))
        marks = [compose_cues.Cue(0.0, float(chance.uniform()))]
        marks += [compose_cues.Cue(float(t), float(chance.uniform())) for t in times]
        film = compose_cues.Film(tuple(marks), 60.0)
        score = compose_cues.compose(film, seed)
        off += compose_cues.misses(score, film)
        follow.append(compose_cues.followed(score, film))
    return {
        "cues": len(off), "most_milliseconds_off": 1000 * max(off), "wanted_below": 50, "films": 12,
        "correlation_mean": float(np.mean(follow)), "correlation_least": float(np.min(follow)), "wanted_correlation": 0.8,
    }  # fmt: skip


def accompany(args: argparse.Namespace) -> dict[str, Any]:
    """Sopranos of chorales, their key heard as they come."""
    spent, broken, rests, notes = [], 0, 0, 0
    for item in load("bach").items[: args.n // 2]:
        score: Score = item.value
        line = (score.voices() or [[]])[0]
        played = compose_accompany.replay(score.with_notes([n._replace(part=0) for n in line], parts=score.parts[:1]))
        spent += played.milliseconds
        broken += len(faults(played.score, given=(0,)))
        rests, notes = rests + played.rests, notes + len(line)
    return {
        "melodies": args.n // 2, "notes": notes, "median_ms": float(np.median(spent)), "p99_ms": float(np.quantile(spent, 0.99)),
        "most_ms": float(np.max(spent)), "below_50_ms": share([s < 50 for s in spent]), "faults": broken, "rests": rests,
        "load": list(os.getloadavg()),
    }  # fmt: skip


def playlist(args: argparse.Namespace) -> dict[str, Any]:
    """Five worlds of 200 listeners."""
    ours, fame = [], []
    for seed in range(5):
        world = compose_playlist.made_listeners(seed=seed)
        ranker = compose_playlist.Ranker(world.plays, seed=seed)
        ours += [compose_playlist.ndcg(ranker.rank(i), later) for i, later in enumerate(world.later)]
        fame += [compose_playlist.ndcg(compose_playlist.popularity(world.plays, i), later) for i, later in enumerate(world.later)]  # fmt: skip
    gain = np.array(ours) - np.array(fame)
    half = 1.96 * gain.std() / len(gain) ** 0.5
    return {"listeners": len(gain), "ndcg_at_10": float(np.mean(ours)), "popularity": float(np.mean(fame)), "gain": float(gain.mean()), "low": float(gain.mean() - half), "high": float(gain.mean() + half)}  # fmt: skip


def chorales(args: argparse.Namespace) -> dict[str, Any]:
    """Held-out chorales: gone on with, and melodies set in three ways."""
    run = bottega.load(args.run)
    codec: Any = run.codec
    model: Any = run.model
    parts = divide(run.recipe, find_data(run.recipe, None, codec))
    batch = held_rows(run, 100)
    nats = -scored(model.log_prob, batch, 8)
    notes = sum(len(i.value.notes) for i in codec.decode(batch.x))
    real = corpus(list(parts.train))
    some: list[Item] = [i for i in parts.held if min(n.pitch for n in i.value.voices()[0]) >= 57][: args.pieces]
    set_, went, began = [], [], time.process_time()
    for item in some:
        score: Score = item.value
        tune_ = score.with_notes([n._replace(part=0) for n in score.voices()[0]], parts=score.parts[:1])  # type: ignore[index]
        set_ += compose.harmonise(run, tune_, n=3, accidentals=0.5)
        went += compose.continue_(run, score, bars=6, keep_bars=4, accidentals=0.5)
    seconds = time.process_time() - began
    return {
        "steps": run.step, "nats_per_note": float(nats.sum() / notes), "corpus": real, "pieces": len(some),
        "harmonised": {
            "ways": len(set_), "faults": sum(len(m.faults) for m in set_), "in_key": float(np.mean([m.said["in_key"] for m in set_])),
            "parallels": sum(m.said["parallels"] for m in set_), "nats_per_note": float(np.mean([m.nats_per_note for m in set_])),
        },
        "continued": {
            "pieces": len(went), "faults": sum(len(m.faults) for m in went), "in_key": float(np.mean([m.said["in_key"] for m in went])),
            "parallels": sum(m.said["parallels"] for m in went),
        },
        "processor_seconds": seconds,
    }  # fmt: skip


def moods(args: argparse.Namespace) -> dict[str, Any]:
    """Tunes asked for by mode and density (and tempo, which is set and not learned): what is heard in the notes that come."""
    run = bottega.train("moods", None, args.runs / "moods", judge=False)
    right: dict[str, list[bool]] = {"mode": [], "density": [], "both": []}
    for mode, (slow, fast), density in MOODS.values():
        wishes = {"mode": mode, "tempo": str((slow + fast) // 2), "density": density}
        for made in compose.new(run, n=args.n // 3, seed=0, wishes=wishes):
            heard = mood(made.score)
            hits = {"mode": heard["mode"] == mode, "density": heard["density"] == density}
            for name, hit in (hits | {"both": all(hits.values())}).items():
                right[name].append(hit)
    real = find_data(run.recipe, None, run.codec)
    known = [tuple(mood(i.value).values()) == _wanted(i.value.genre) for i in real.items[:400]]
    return {**told(run), **{name: share(hits) for name, hits in right.items()}, "real": share(known), "wanted": 0.8}


KINDS = {"jigs": "jig", "reels": "reel", "waltzes": "waltz", "hpps": "hornpipe"}  # how Nottingham's files begin


def rhythm(score: Score) -> np.ndarray:
    """How often the melody's notes begin at each sixteenth of a bar, and last how many, ``(34,)``."""
    line = melody_of(score)
    bars = np.array([t for t, _ in score.bars()])
    at = [4 * (n.onset - bars[np.searchsorted(bars, n.onset, side="right") - 1]) / score.ticks for n in line]
    long = [4 * n.duration / score.ticks for n in line]
    return np.concatenate([np.histogram(v, np.arange(-0.5, 17))[0] for v in (at, long)]) / len(line)


def genres(args: argparse.Namespace) -> dict[str, Any]:
    """Genres asked for and heard, in the made world and after real tunes."""
    run = bottega.train("genres", None, args.runs / "genres", judge=False)
    heard = {name: [genre(m.score) for m in compose.new(run, n=args.n // 3, wishes={"genre": name})] for name in GENRES}
    fresh = worlds.load("tunes", n=args.n, bars=4, genres=True, seed=9).items
    like = [compose.wishes_like(run, replace(i.value, genre=""))["genre"] == i.value.genre for i in fresh]
    out: dict[str, Any] = {
        "made": {
            **told(run), "asked": share([g == name for name, found in heard.items() for g in found]),
            "by_genre": {name: found.count(name) / len(found) for name, found in heard.items()}, "like": share(like),
            "chance": 1 / len(GENRES),
        }
    }  # fmt: skip
    folder = args.runs / "genres-folk"
    with zipfile.ZipFile(shared() / "nottingham" / "nottingham_midi.zip") as archive:
        for name in archive.namelist():
            kind = next((KINDS[k] for k in KINDS if name.startswith(k)), None)
            if kind is not None:
                write_atomically(folder / kind / name, archive.read(name))
    items = MusicCodec().read(folder)
    x, y = np.stack([rhythm(i.value) for i in items]), np.array([i.value.genre for i in items])
    held = np.arange(len(y)) % 4 == 0  # sorted by folder: a quarter of each
    judge = LogisticRegression(C=100, class_weight="balanced", max_iter=5000).fit(x[~held], y[~held])
    run = bottega.train("genres", folder, args.runs / "genres-folk-run", set={"codec.length": 200}, judge=False)
    right, by, short = [], {}, 0
    for kind in KINDS.values():
        made = [m.score for m in compose.new(run, n=args.n // 3, wishes={"genre": kind})]
        short += sum(len(score.notes) <= 8 for score in made)  # nobody would know such a one: a miss
        hits = [len(s.notes) > 8 and bool(judge.predict(rhythm(s)[None])[0] == kind) for s in made]
        right += hits
        by[kind] = float(np.mean(hits))
    real = judge.predict(x[held]) == y[held]
    metres = np.array(["{1}/{2}".format(*i.value.metres[0]) for i in items])
    usual = {m: Counter(y[metres == m]).most_common(1)[0][0] for m in set(metres)}  # what the metre alone says
    by_metre = [float(np.mean([usual[m] == kind for m in metres[y == kind]])) for kind in KINDS.values()]
    out["nottingham"] = {
        **told(run), "tunes": dict(Counter(y.tolist())), "asked": share(right), "by_genre": by, "of_at_most_8_notes": short, "by_the_metre_alone": float(np.mean(by_metre)),
        "real_held_out": share(real.tolist()), "real_by_genre": {k: float(real[y[held] == k].mean()) for k in KINDS.values()}, "chance": 1 / len(KINDS),
    }  # fmt: skip
    return out


def harmony(score: Score) -> list[tuple[int, int, set[int]]]:
    """Start, end and pitch classes of each chord of the second part."""
    found: dict[tuple[int, int], set[int]] = {}
    for n in score.lines()[1]:
        found.setdefault((n.onset, n.onset + n.duration), set()).add(n.pitch % 12)
    return [(a, b, tones) for (a, b), tones in sorted(found.items())]


def same_chords(score: Score, found: Sequence[Chord]) -> tuple[float, float]:
    """Ticks in which a found chord and the players' are of the same triad, and ticks of all that are triads."""
    same = total = 0.0
    for start, end, tones in harmony(score):
        if len(tones) >= 3:
            total += end - start
            same += sum(max(0, min(end, c.end) - max(start, c.start)) for c in found if set(c.tones[:3]) <= tones)
    return same, total


def arrange(args: argparse.Namespace) -> dict[str, Any]:
    """Tunes for three groups, three ways each."""
    chance, out = np.random.default_rng(3), {}
    some = {"tunes": worlds.load("tunes", n=args.n // 3, seed=12).items, "nottingham": folk(args.n // 3, chance)}
    for name, items in some.items():
        kept, missed, ways, seconds = [], Counter(), 0, time.process_time()
        for item in items:
            for group in ("folk trio", "string quartet", "piano"):
                try:
                    made = compose_arrange.arrange(item.value, compose_arrange.players(group), n=3)
                    ways += len({m.score.notes for m in made if not compose_arrange.faults(m)})
                    kept.append(True)
                except BottegaError as error:
                    kept.append(False)
                    missed[str(error)] += 1
        seconds = time.process_time() - seconds
        chords_of = {"with chords": lambda s: s, "melody alone": lambda s: s.with_notes(s.lines()[0])}
        found = {}
        for how, of in chords_of.items():
            sums = np.array([same_chords(i.value, chords(of(i.value))) for i in items if len(i.value.parts) > 1])
            found[how] = float(sums[:, 0].sum() / sums[:, 1].sum())
        out[name] = {
            "pieces": len(items), "three ways without a fault": share(kept), "ways": ways, "refused": dict(missed),
            "seconds_a_way": seconds / max(1, ways), "time of the players' chords": found,
        }  # fmt: skip
    return out


def _wanted(genre: str) -> tuple[str, str, str]:
    mode, (slow, _), density = MOODS[genre]
    return mode, "slow" if slow < 93 else "fast", density


def codes(args: argparse.Namespace) -> dict[str, Any]:
    """Pieces as codes: how much of held-out ones comes back, and whether an attribute grows along its direction."""
    run = bottega.train("tunes-vae", None, args.runs / "tunes-vae", judge=False)
    codec: Any = run.codec
    parts = divide(run.recipe, find_data(run.recipe, None, codec))
    items = list(parts.held)[: args.n]
    batch = codec.encode(items)
    back = codec.decode(decoded(run, codes_of(run, batch)))
    kept = [notes_kept(a.value, b.value) for a, b in zip(codec.decode(batch.x), back, strict=True)]
    known = {tuple(row) for row in codec.encode(list(parts.train)).x.tolist()}  # short tunes repeat by nature
    new = [k for k, row in zip(kept, batch.x.tolist(), strict=True) if tuple(row) not in known]
    found: dict[str, Any] = {
        "notes_back": mean(kept) | {"wanted": 0.9},
        "notes_back_of_pieces_not_in_training": mean(new),
    }
    ends = [
        compose_blend.blend(run, a.value, b.value, n=5)
        for a, b in zip(items[: args.pieces], items[args.pieces : 2 * args.pieces], strict=True)
    ]
    found["blends"] = {
        "ways": len(ends), "ends_kept": float(np.mean([k for way in ends for k in way.kept])),
        "in_key": float(np.mean([m.said["in_key"] for way in ends for m in way.pieces])),
    }  # fmt: skip
    some = [item.value for item in items[: args.pieces * 3]]
    for name in compose_blend.ATTRIBUTES:
        known = compose_blend.survey(run, name)
        found[name] = {
            how: moved([compose_blend.move(run, piece, name, tries=tries, known=known) for piece in some], name)
            for how, tries in (("chosen", 9), ("even_steps", 1))
        }
    heard = [item.value for item in codec.decode(batch.x[: len(some)])]  # in the one key that the codec knows
    found["notes_shared_by_chance"] = float(np.mean([notes_kept(a, b) for a, b in pairwise(heard)]))
    return {**told(run), **found}


def moved(ways: Sequence[compose_blend.Way], name: str) -> dict[str, Any]:
    """How an attribute goes along ways of five pieces, and what the piece in the middle shares with those beside it."""
    values = [way.attribute[name] for way in ways]
    rank = [spearmanr(range(len(v)), v).statistic if len(set(v)) > 1 else 0.0 for v in values]
    beside = [notes_kept(way.pieces[2].score, way.pieces[k].score) for way in ways for k in (1, 3)]
    return {
        "monotone": share([v == sorted(v) and v[-1] > v[0] for v in values]), "correlation": float(np.mean(rank)),
        "from_to": [float(np.mean([v[0] for v in values])), float(np.mean([v[-1] for v in values]))],
        "steps_that_rise": float(np.mean([np.diff(v) > 0 for v in values])), "notes_shared_with_the_next": float(np.mean(beside)),
    }  # fmt: skip


def mean(values: Sequence[float]) -> dict[str, Any]:
    """A mean with its 95 % interval."""
    value, low, high = mean_interval(torch.tensor(values, dtype=torch.float64))
    return {"share": value, "low": low, "high": high, "n": len(values)}


def notes_kept(a: Score, b: Score) -> float:
    """The share of the notes of ``a`` (onset in quarters, pitch) that ``b`` has."""
    one, two = ({(n.onset / s.ticks, n.pitch) for n in s.notes} for s in (a, b))
    return len(one & two) / max(1, len(one))


MEASURES = (copies, cues, accompany, playlist, arrange, chorales, moods, genres, codes)


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("compose", __doc__, "", "--only copies", "--only chorales --run runs/chorales")
    parser.add_argument("--only", choices=[measure.__name__ for measure in MEASURES])
    parser.add_argument("--n", type=int, default=150, help="pieces of each kind")
    parser.add_argument("--pieces", type=int, default=10, help="held-out chorales")
    parser.add_argument("--run", type=Path, help="of recipe chorales")
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path("runs"),
        help="where runs of recipes moods, genres and tunes-vae are kept; a stopped one goes on",
    )
    args = parser.parse_args(argv)
    for measure in MEASURES:
        if args.only in {None, measure.__name__} and (measure is not chorales or args.run is not None):
            keep("compose", {measure.__name__: measure(args)}, args, beside=True)
