"""Judges of speech on a made world: sounds are bands, voices a colour; what is right and wrong is planted."""

import math

import numpy as np
import pytest
import torch

from bottega.core import Batch, Family, Item, Sound, Spec
from bottega.judge import Case, _spoken, run_all
from bottega.judge._listener import WordLoop, bootstrap, equal_error, word_errors
from bottega.judge._spoken import paired
from bottega.judge.spectral_distance import log_spectral_distance

MELS, FRAMES, LENGTH, VOICES = 16, 64, 14, 4
TOKENS = ["^", " ", ",", ".", "?", "!", "a", "b", "c", "d", "e"]
VOCAB = VOICES + len(TOKENS) + 1
SPEC = Spec((1, MELS + 3, FRAMES), cond=Spec((LENGTH,), vocab=VOCAB))
WORDS = ["ab", "ba", "cd", "dc", "eb", "ce"]
LAYOUT = {
    "mels": MELS, "range_db": 80.0, "top_db": 0.0, "rate": 16000, "hop": 256, "voices": VOICES, "gap": VOICES + 1,
    "start": VOICES, "marks": [VOICES + k for k in (2, 3, 4, 5)], "first": VOICES + 6, "low_hz": 55.0, "high_hz": 500.0,
    "length": LENGTH, "end": VOCAB - 1, "alike": list(range(len(TOKENS))),
}  # fmt: skip


def made(n, seed=0, voice=None):
    rng = np.random.default_rng(seed)
    x, cond = torch.full((n, 1, MELS + 3, FRAMES), -1.0), torch.full((n, LENGTH), VOCAB - 1)
    for i in range(n):
        who = int(rng.integers(VOICES)) if voice is None else voice
        names = ["^", *" ".join(rng.choice(WORDS, 3)), "."]
        cond[i, 0] = who
        at = 0
        for k, name in enumerate(names, 1):
            token = TOKENS.index(name)
            cond[i, k] = VOICES + token
            long = 0 if name == " " else int(rng.integers(4, 8))
            part = slice(at, at := min(FRAMES, at + long))
            x[i, 0, :MELS, part] = (
                -0.6 + 0.05 * torch.from_numpy(rng.normal(size=(MELS, part.stop - part.start))).float()
            )
            if token >= 6:
                x[i, 0, token - 6 : token - 4, part] = 0.6
            x[i, 0, 8 + 2 * who : 10 + 2 * who, part] += 0.5
            x[i, 0, MELS + 2, part] = 2 * k / LENGTH - 1
    return Batch(x, cond)


class Copy(Family):
    """Says what was recorded, from memory; ``wrong`` turns its bands upside down."""

    def __init__(self, held, wrong=False):
        super().__init__(SPEC)
        self.held, self.wrong = held, wrong

    @classmethod
    def accepts(cls, spec):
        return ""

    def sample(self, n, rng, cond=None, **knobs):
        rows = [int((self.held.cond == c).all(1).nonzero()[0]) for c in cond]
        x = self.held.x[rows].clone()
        if self.wrong:
            x[:, 0, :8] = x[:, 0, :8].flip(1)
        return x


def case(samples, train, held, model=None):
    def decode(x, cond=None):
        hum = torch.sin(2 * math.pi * 150 * torch.arange(FRAMES * 256) / 16000).numpy()
        return [Item(Sound(0.3 * hum[None], 16000)) for _ in x]

    return Case("audio", SPEC, train, held, samples.x, samples.cond, model, decode, facts={"speech": LAYOUT})


@pytest.fixture(scope="module")
def heard():
    """Measures of good samples, of wrong ones, and of samples in another voice, by the same ears."""
    patch = pytest.MonkeyPatch()
    patch.setattr(_spoken, "_EAR_STEPS", 60)
    patch.setattr(_spoken, "_VOICE_STEPS", 60)
    train, held, out, cache = made(160), made(60, 1), {}, {}
    good = made(60, 2)
    wrong = Batch(good.x.clone(), good.cond)
    wrong.x[:, 0, :8] = wrong.x[:, 0, :8].flip(1)
    other = Batch(good.x.clone(), good.cond.clone())
    other.cond[:, 0] = (other.cond[:, 0] + 2) % VOICES
    for name, samples, model in (
        ("good", good, Copy(held)),
        ("wrong", wrong, Copy(held, wrong=True)),
        ("other", other, None),
    ):
        one = case(samples, train, held, model)
        one.cache.update({k: v for k, v in cache.items() if k in {"ear", "voices"}})
        found, _ = run_all(one, ["word_accuracy", "voice_match", "spectral_distance", "pitch_error"])
        out[name] = {m.name: m for m in found}
        cache = one.cache
    patch.undo()
    return out


def test_words_that_were_asked_for_are_heard_and_others_not(heard):
    good, wrong = (heard[k]["word_accuracy"] for k in ("good", "wrong"))
    assert good.value > 0.9
    assert good.ceiling > 0.9
    assert wrong.value < 0.5
    assert good.low <= good.value <= good.high


def test_voices_are_verified(heard):
    assert heard["good"]["speaker_eer"].value < 0.1
    assert heard["other"]["speaker_eer"].value > 0.5
    assert heard["good"]["speaker_eer"].better == "lower"


def test_spectra_of_a_copy_are_no_way_off(heard):
    assert heard["good"]["log_spectral_distance_db"].value < 0.5  # sentences that come twice are said as the first was
    assert heard["wrong"]["log_spectral_distance_db"].value > 5
    assert "f0_error_cents" not in heard["good"]  # nothing is voiced in these recordings
    assert heard["good"]["voicing_error"].value > 0.9  # and what is decoded hums throughout


def test_a_case_without_words_is_not_judged_by_them():
    plain = case(made(4), made(4), made(4))
    plain.facts = {}
    _, skipped = run_all(plain, ["word_accuracy"])
    assert "codec speech" in skipped["word_accuracy"]


def test_what_is_the_same_is_no_way_off():
    a = torch.randn(9, 4)
    assert log_spectral_distance(a, a) == 0
    assert log_spectral_distance(a, a + 3) == pytest.approx(3, rel=1e-5)


def test_the_search_finds_the_words_in_clean_frames():
    words, row = [(0, 1), (1, 0), (2, 3)], [5, 5, 0, 0, 1, 2, 2, 3, 3, 5, 1, 0]
    scores = np.full((len(row), 6), np.log(0.02))
    scores[range(len(row)), row] = np.log(0.9)
    scores[3] = np.log([0.3, 0.02, 0.02, 0.6, 0.02, 0.04])  # one frame is misheard
    assert WordLoop(words, [5]).hear(scores) == [(0, 1), (2, 3), (1, 0)]


def test_error_rates_are_those_of_their_definition():
    assert [word_errors(list("abc"), list(b)) for b in ("abc", "ac", "abxc", "xyz", "")] == [0, 1, 1, 3, 3]
    value, low, high = bootstrap([0, 1, 0, 1], [4, 4, 4, 4])
    assert (value, low < value < high) == (0.875, True)
    rng = np.random.default_rng(0)
    rate, threshold = equal_error(rng.normal(2, 1, 20000), rng.normal(0, 1, 20000))
    assert rate == pytest.approx(0.1587, abs=0.01)  # of two Gaussians 2 apart: the mass beyond 1
    assert threshold == pytest.approx(1, abs=0.05)


def test_warped_copies_are_paired_again():
    rng = torch.Generator().manual_seed(0)
    a = 20 * torch.randn(30, 16, generator=rng)
    at = torch.tensor(sorted([*range(30), *range(0, 30, 3)]))
    one, two = paired(a, a[at])
    assert log_spectral_distance(a[one], a[at][two]) < 1e-3
