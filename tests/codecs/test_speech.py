"""Text as it is said, sounds, alignment, and the codec of speech, on formant speech whose words and timing are known."""

import numpy as np
import pytest
import torch

pytest.importorskip("soundfile", reason="sound files need soundfile, extra audio, which is not installed")
pytest.importorskip("soxr", reason="resampling needs soxr, extra audio, which is not installed")

from bottega.codecs import _phones
from bottega.codecs._align import Aligner, monotonic, monotonic_many
from bottega.codecs._phones import Letters
from bottega.codecs._say import cardinal, clauses, ordinal, spoken_text
from bottega.codecs._sound_files import write_sound
from bottega.codecs.speech import SpeechCodec
from bottega.core import DataError, Item, RecipeError, Sound
from bottega.data import worlds
from bottega.nets.pitch import pitch_hz
from helpers import one_line

WITHOUT = pytest.mark.skipif(not _phones.has_espeak(), reason="the program espeak-ng is not installed")


@pytest.fixture(scope="module")
def world():
    return worlds.load("speech", n=48, words=2, label="transcript")


@pytest.fixture(scope="module")
def codec(world):
    return SpeechCodec(phones="letters").fit(world.items)


# ---- text ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "said"), [
    ("It cost $3.50.", "It cost three dollars and fifty cents."),
    ("£1,000,000 or €2.5 million", "one million pounds or two point five million euros"),
    ("May 5th, 2021", "May fifth, twenty twenty one"),
    ("2024-02-29", "February twenty ninth, twenty twenty four"),
    ("in 1905 and 2000", "in nineteen oh five and two thousand"),
    ("at 7:05 or 10:00", "at seven oh five or ten o'clock"),
    ("Dr. Who vs. Mr. No, etc.", "doctor Who versus mister No, et cetera"),
    ("3-4 kg, 1 km, 5 ft", "three to four kilograms, one kilometre, five feet"),
    ("the 21st of 1,234", "the twenty first of one thousand two hundred thirty four"),
    ("007 is -5", "zero zero seven is minus five"),
    ("he said: \u201cno!\u201d \u2014 twice", "he said, no! twice"),
    ("isn't it?!", "isn't it?"),
    ("a \U0001f642 b", "a b"),
])  # fmt: skip
def test_text_is_written_as_it_is_said(text, said):
    assert spoken_text(text) == said


def test_numbers_count_up():
    assert [cardinal(n) for n in (0, 13, 40, 101, 999_999)] == [
        "zero", "thirteen", "forty", "one hundred one", "nine hundred ninety nine thousand nine hundred ninety nine"]  # fmt: skip
    assert [ordinal(n) for n in (1, 2, 3, 8, 12, 30, 101)] == [
        "first", "second", "third", "eighth", "twelfth", "thirtieth", "one hundred first"]  # fmt: skip
    assert clauses("... , !") == []


# ---- sounds --------------------------------------------------------------------------------------------------------


def test_letters_learn_a_made_orthography_and_say_new_words():
    """``ph`` is F, a final ``e`` is silent, ``x`` is two sounds: words that were not seen come out right."""

    def said(word):
        out, i = [], 0
        while i < len(word):
            if word[i : i + 2] == "ph":
                out, i = [*out, "f"], i + 2
                continue
            if word[i] == "x":
                out += ["k", "s"]
            elif not (word[i] == "e" and i == len(word) - 1):
                out.append(word[i])
            i += 1
        return tuple(out)

    rng = np.random.default_rng(0)
    parts = ["ba", "do", "phi", "xa", "lu", "mi", "pho", "te", "ne", "axe"]
    words = sorted({"".join(rng.choice(parts, rng.integers(2, 5))) for _ in range(400)})
    model = Letters.learn({w: said(w) for w in words[::2]})
    right = [model.sounds(w) == said(w) for w in words[1::2]]
    assert np.mean(right) > 0.95
    again = Letters.of_state(model.state())
    assert [again.sounds(w) for w in words] == [model.sounds(w) for w in words]


@pytest.mark.system
@WITHOUT
def test_espeak_says_each_clause_of_many():
    rows = _phones.espeak_phones(clauses("well, the cat sat. the cat sat."), "en-us")
    assert len(rows) == 3
    assert rows[1] == rows[2]
    assert len(rows[1]) == 3
    assert rows[1][1][0] == "k"


# ---- alignment -----------------------------------------------------------------------------------------------------


def test_the_alignment_is_the_best_of_all():
    """Against every monotonic cut of a small case, with a token that may be passed over."""
    import itertools

    rng = torch.Generator().manual_seed(0)
    optional = torch.tensor([False, False, True, False])
    for _ in range(20):
        score = torch.randn(4, 6, generator=rng)
        best = -np.inf
        for cut in itertools.product(range(7), repeat=4):
            if sum(cut) != 6 or min(cut[0], cut[1], cut[3]) < 1:
                continue
            value = score.repeat_interleave(torch.tensor(cut), 0)
            ways = float(sum(score[i, t] for t, i in enumerate(np.repeat(range(4), cut))))
            assert len(value) == 6
            best = max(best, ways)
        found = monotonic(score, optional)
        assert abs(float(sum(score[i, t] for t, i in enumerate(np.repeat(range(4), found.tolist())))) - best) < 1e-5


def test_many_at_once_are_each_alone():
    rng = torch.Generator().manual_seed(1)
    scores = [torch.randn(n, t, generator=rng) for n, t in ((3, 9), (5, 7), (2, 2))]
    skips = [torch.zeros(len(s), dtype=torch.bool) for s in scores]
    for s, alone in zip(scores, monotonic_many(scores, skips), strict=True):
        assert torch.equal(monotonic(s), alone)
    with pytest.raises(ValueError, match="do not fit"):
        monotonic(torch.zeros(5, 4))


def test_the_aligner_finds_made_segments():
    """Gaussian frames of known kinds: cuts are found from a flat start within a frame."""
    rng = torch.Generator().manual_seed(0)
    centres = 3 * torch.randn(6, 8, generator=rng)
    rows, truth = [], []
    for _ in range(40):
        tokens = torch.cat([torch.tensor([0]), 1 + torch.randperm(5, generator=rng), torch.tensor([0])])
        cut = torch.randint(3, 9, (7,), generator=rng)
        x = centres[tokens.repeat_interleave(cut)] + torch.randn(int(cut.sum()), 8, generator=rng)
        x[:, 0] = torch.where(tokens.repeat_interleave(cut) == 0, -50.0, 0.0)
        rows.append((x, tokens, torch.zeros(7, dtype=torch.bool)))
        truth.append(cut)
    aligner = Aligner(6, 8)
    aligner.learn(rows)
    off = torch.cat([(a.cumsum(0) - b.cumsum(0)).abs() for a, b in zip(aligner.align(rows), truth, strict=True)])
    assert (off <= 1).float().mean() > 0.95


# ---- the codec -----------------------------------------------------------------------------------------------------


def test_examples_hold_bands_pitch_and_places(world, codec):
    batch = codec.encode(world.items[:8])
    assert batch.x.shape == (8, *codec.spec.shape)
    assert batch.cond.shape == (8, *codec.spec.cond.shape)
    assert batch.x.abs().max() <= 1
    for i in range(8):
        there = int(codec.frames_of(batch.x)[i])
        places = ((batch.x[i, 0, codec.mels + 2, :there] + 1) / 2 * codec.used_length).round()
        steps = places.diff()
        assert places[0] == 1
        assert (steps >= 0).all()
        assert (steps <= 2).all()
        assert codec.told(batch.cond[i]).partition("|")[0] == world.truth["voices"][i]
        letters = world.truth["words"][i].replace(" ", "")
        assert codec.told(batch.cond[i]).partition("|")[2].strip("[].").replace(" ", "") == letters
    heard = pitch_hz(batch.x[0, 0, codec.mels])
    assert heard.max() < 500
    middle = float(np.median([f for f in world.truth["f0_hz"][0] if f > 0]))
    assert abs(np.log2(float(heard[heard > 0].median()) / middle)) < 0.1


def test_what_was_encoded_comes_back(world, codec):
    batch = codec.encode(world.items[:2])
    for item, real in zip(codec.decode(batch.x, batch.cond), world.items, strict=False):
        assert abs(item.value.seconds - real.value.seconds) < 0.2
        again = codec.mel_db(torch.from_numpy(item.value.mono()))
        want = codec.decibels(batch.x)[0, :, : again.shape[1]] if item.cond == codec.told(batch.cond[0]) else None
        if want is not None:
            loud = want > codec.top_db - 40
            assert (again - want)[loud].abs().mean() < 3
    again = SpeechCodec(phones="letters").load_state(codec.state())
    assert torch.allclose(again.encode(world.items[:2]).x, batch.x, atol=1e-2)


def test_a_folder_is_read_with_its_transcript(tmp_path, world):
    for i, item in enumerate(world.items[:3]):
        write_sound(item.value, tmp_path / f"{i}.wav")
    codec = SpeechCodec(phones="letters")
    with pytest.raises(DataError) as error:
        codec.read(tmp_path)
    one_line(error, "no transcript", "metadata.csv", "0.txt")
    (tmp_path / "metadata.csv").write_text("0|one two\n1|three.\n2|four\n")
    assert [i.cond for i in codec.read(tmp_path)] == ["voice|one two", "voice|three.", "voice|four"]
    (tmp_path / "metadata.csv").write_text('file,text,voice\n0.wav,"one, two",ann\n1.wav,three,bob\n')
    with pytest.raises(DataError) as error:
        codec.read(tmp_path)
    one_line(error, "2.wav", "no line in metadata.csv")
    codec = SpeechCodec(phones="letters", on_error="skip")
    assert [i.cond for i in codec.read(tmp_path)] == ["ann|one, two", "bob|three"]
    assert "2.wav" in codec.skipped[0]
    (tmp_path / "metadata.csv").unlink()
    for i in range(3):
        (tmp_path / f"{i}.txt").write_text(f"said {i}\n")
    assert [i.cond for i in SpeechCodec(phones="letters").read(tmp_path)] == [f"voice|said {i}" for i in range(3)]
    (tmp_path / "1.txt").write_text(" \n")
    with pytest.raises(DataError) as error:
        SpeechCodec(phones="letters").read(tmp_path)
    one_line(error, "1.txt is empty")


def test_what_cannot_be_said_is_refused(codec):
    for text, words in (("\U0001f642\U0001f642", "no word"), ("", "no word"), ("bass|...", "no word"), ("nobody|one", "unknown voice"),
                        ("one " * 60, "divide it"), ("bass|quick", "never heard")):  # fmt: skip
        with pytest.raises(RecipeError) as error:
            codec.encode_cond([text])
        one_line(error, words)
    with pytest.raises(RecipeError) as error:
        SpeechCodec(language="klingon")
    one_line(error, "unknown language 'klingon'")


def test_what_cannot_be_heard_is_refused(codec):
    sounds = {
        "not finite": np.full((1, 16000), np.nan, np.float32), "silent": np.zeros((1, 16000), np.float32),
        "lasts": np.ones((1, 1), np.float32),
    }  # fmt: skip
    for why, samples in sounds.items():
        with pytest.raises(DataError) as error:
            codec.encode([Item(Sound(samples, 16000), "bass|one", "a.wav")])
        one_line(error, "a.wav", why)
    with pytest.raises(DataError) as error:
        SpeechCodec(phones="letters").fit([Item(Sound(np.ones((1, 16000), np.float32), 16000), None, "a.wav")])
    one_line(error, "a.wav has no transcript")


@pytest.mark.slow
@pytest.mark.system
@WITHOUT
def test_without_the_program_known_words_sound_the_same():
    items = worlds.load("espeak", n=12, voices="max,linda").items
    codec = SpeechCodec().fit(items)
    texts = [item.cond for item in items]
    by_program = codec.encode_cond(texts)
    codec = SpeechCodec().load_state(codec.state())
    codec.without_program = True
    same = (codec.encode_cond(texts) == by_program).float().mean()
    assert same > 0.6  # words that espeak-ng runs together move what follows
    assert codec.encode_cond(["max|reference"]).shape == by_program[:1].shape
