"""Speech with its words: log-mel spectra with F0, energy and where each sound lies, given the sounds and the voice."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from bottega.codecs._align import Aligner
from bottega.codecs._phones import Letters, Word, check_language, espeak_phones, has_espeak
from bottega.codecs._say import Clause, clauses, plain_text, spoken_text
from bottega.codecs._sound_files import resampled, write_sound
from bottega.codecs._sound_page import draw_sounds
from bottega.codecs._spoken_files import QUIET, read_spoken, spoken_sound
from bottega.core import Batch, DataError, Encoded, Item, RecipeError, Sound, Source, Spec, nearest
from bottega.nets.pitch import HIGH_HZ, LOW_HZ, pitch_scaled, yin
from bottega.nets.spectrogram import LogMel, fitted, griffin_lim, mel_filters, unmel

__all__ = ["SpeechCodec"]

EXTRA = 3
"""Rows of an example below its mel bands: F0, energy, and the place in the given text that is said."""
START, GAP, END = "^", " ", "$"
MARKS = (",", ".", "?", "!")
_MOST_ALIGNED = 300  # recordings that the aligner learns from
_FAR = 3  # times as long as the middle recording, from where on the longest is told of
_COMMON = 2  # times that a word of the language reference must stand there


class SpeechCodec:
    """Recordings of speech as ``(1, mels + 3, frames)``, and of each its voice and sounds as tokens ``(length,)``.

    Rows of an example, all in [-1, 1]: ``mels`` bands in decibels, ``range_db`` below the loudest of the data to -1 and 1;
    log F0 from 55 Hz (-0.8) to 500 Hz (1), -1 where nothing is voiced; the frame's level; and the place ``i`` of the given
    tokens that is said there, ``2 i / length - 1``: so durations are known, and -1 is what lies behind the end. Places come
    from a monotonic alignment that ``fit`` learns from the recordings and their sounds.

    Given is ``voice|text`` (or a text alone, said in the first voice): a token for the voice, then sounds, with tokens for
    the silence before, short pauses between words (which may last no time), ``, . ? !`` and the end, which is repeated.
    English text is said as ``_say.spoken_text`` has it (5/6/2021 is May 6th in ``en-us``, June 5th elsewhere); sounds are those of the program espeak-ng, or, where that is not
    installed, of the words that ``fit`` met and a small model that it learned then (``_phones.Letters``).

    Args:
        rate: samples a second.
        window: samples of a frame, a power of two.
        hop: samples from frame to frame.
        mels: bands.
        range_db: decibels between -1 and 1.
        seconds: of an example; longer recordings are left out. 0 takes the longest, and every example is as long.
        length: tokens of what is given; 0 takes what the longest text needs, and a fifth more.
        language: of espeak-ng, ``en-us`` for example.
        phones: ``"espeak"``, or ``"letters"``: the letters themselves are the sounds, for any alphabet and without espeak-ng.
        iterations: of the Griffin-Lim algorithm.
        bits: of what is written.
        on_error: ``"stop"`` at a recording that cannot be read or used, or ``"skip"`` it.

    Raises:
        RecipeError: an argument has no such value, or a language that nobody here speaks.
    """

    medium = "audio"
    spec: Spec

    def __init__(
        self,
        *,
        rate: int = 16000,
        window: int = 1024,
        hop: int = 256,
        mels: int = 80,
        range_db: float = 80.0,
        seconds: float = 0.0,
        length: int = 0,
        language: str = "en-us",
        phones: Literal["espeak", "letters"] = "espeak",
        iterations: int = 60,
        bits: int = 16,
        on_error: Literal["stop", "skip"] = "stop",
    ) -> None:
        if rate < 4000 or window < 64 or window & (window - 1) or not 1 <= hop <= window // 2:
            raise RecipeError(f"codec.rate, window, hop are {rate}, {window}, {hop}; at least 4000, a power of two, half of it at most")  # fmt: skip
        if mels < 8 or not 10 <= range_db <= 200 or seconds < 0 or length < 0 or iterations < 1:
            raise RecipeError(f"codec.mels={mels}, range_db={range_db}, seconds={seconds}, length={length}, iterations={iterations}: at least 8, 10, 0, 0 and 1")  # fmt: skip
        for name, value, known in (("phones", phones, ("espeak", "letters")), ("on_error", on_error, ("stop", "skip"))):
            if value not in known:
                raise RecipeError(f"codec.{name} is {value!r}{nearest(value, known)}")
        if bits not in (16, 24, 32):
            raise RecipeError(f"codec.bits is {bits}; use 16, 24 or 32")
        if phones == "espeak":
            check_language(language)
        self.rate, self.window, self.hop, self.mels, self.range_db = rate, window, hop, mels, float(range_db)
        self.seconds, self.length, self.language, self.phones = seconds, length, language, phones
        self.iterations, self.bits, self.on_error = iterations, bits, on_error
        self.skipped: list[str] = []
        self.notes: list[str] = []  # of ``fit`` and ``source``, for whoever trains
        self.without_program = False  # for those who would hear what the small model says where espeak-ng is there, too
        mel_filters(rate, window, mels)

    # ---- files -> pieces -------------------------------------------------------------------------------------------

    def read(self, source: str | Path) -> list[Item]:
        """Recordings with ``voice|text``; see ``_spoken_files.read_spoken`` for how a transcript looks.

        Raises:
            DataError: nothing there, a transcript that is missing, a recording that cannot be read.
        """
        self.skipped = []
        return read_spoken(Path(source), self.skipped if self.on_error == "skip" else None)

    # ---- text -> tokens --------------------------------------------------------------------------------------------

    def clauses(self, text: str) -> list[Clause]:
        """The clauses of a text, as they are said; raises RecipeError where there is no word in it."""
        if self.language.startswith("en"):
            said = spoken_text(text, day_first=not self.language.startswith("en-us"))
        else:
            said = plain_text(text, numbers=self.phones != "letters")
        found = clauses(said)
        if not found:
            raise RecipeError(f"there is no word to say in {text[:60]!r}; give a text with letters or numbers")
        return found

    def _sounds(self, lines: Sequence[Clause]) -> list[list[Word]]:
        if self.phones == "letters":
            return [
                [tuple(c for c in word if unicodedata.category(c)[0] in "LM") for word in line.words] for line in lines
            ]
        if has_espeak() and not self.without_program:
            return espeak_phones(lines, self.language)
        if not hasattr(self, "letters"):
            raise DataError("espeak-ng is not installed (Debian: apt install espeak-ng); set codec.phones = 'letters'")
        return [[self.letters.sounds(word) for word in line.words] for line in lines]

    def _texts(self, texts: Sequence[str]) -> list[list[str]]:
        """The tokens of texts, without their voice, by name."""
        parts = [self.clauses(text) for text in texts]
        sounds = iter(self._sounds([line for some in parts for line in some]))
        out = []
        for some in parts:
            row = [START]
            for i, line in enumerate(some):
                words = [word for word in next(sounds) if word]
                for k, word in enumerate(words):
                    row += [*([GAP] if k else []), *word]
                row.append(line.mark if i < len(some) - 1 or line.mark != "," else ".")
            out.append(row)
        return out

    def _split(self, value: Any) -> tuple[str, str]:
        """What is given as voice and text."""
        if isinstance(value, Item):
            value = value.cond
        text = "" if value is None else str(value)
        voice, bar, rest = text.partition("|")
        if not bar:
            return "", text
        return voice.strip(), rest

    def _number(self, name: str) -> int:
        """The token of a sound; of one never heard that with another stress, or none."""
        if name in self._numbers:
            return self._numbers[name]
        bare = name.lstrip("',")
        for other in (bare, f"'{bare}", f",{bare}", bare.rstrip("2#-:"), bare.rstrip("2#-:") + ":"):
            if other in self._numbers:
                return self._numbers[other]
        raise RecipeError(
            f"the sound {name!r} was never heard in training; give a text of the language {self.language}"
        )

    def encode_cond(self, values: Sequence[Any]) -> Tensor:
        """``voice|text`` (or pieces that know it) as tokens, int64 ``(B, length)``.

        Raises:
            RecipeError: an unknown voice, no word, a sound that was never heard, or a text longer than ``length``.
        """
        split = [self._split(value) for value in values]
        rows = torch.full((len(split), self.used_length), self.spec.cond.vocab - 1)  # type: ignore[union-attr]
        for i, ((voice, text), names) in enumerate(zip(split, self._texts([t for _, t in split]), strict=True)):
            if voice and voice not in self.voices:
                raise RecipeError(f"unknown voice {voice!r}{nearest(voice, self.voices)}")
            numbers = [self.voices.index(voice) if voice else 0, *(self._number(name) for name in names)]
            if len(numbers) > self.used_length:
                raise RecipeError(f"{text[:40]!r} ... has {len(numbers)} sounds and pauses, and at most {self.used_length} are said at once; divide it")  # fmt: skip
            rows[i, : len(numbers)] = torch.tensor(numbers)
        return rows

    def fits(self, text: str) -> int:
        """How many tokens a text needs, its voice included; ``used_length`` are said at once."""
        return 1 + len(self._texts([text])[0])

    # ---- pieces -> examples ----------------------------------------------------------------------------------------

    def _wave(self, item: Item) -> Tensor:
        """One channel at the model's rate, silence at the ends cut to 50 ms, ``(n,)``."""
        sound, what = item.value, item.name or "a recording"
        if not isinstance(sound, Sound):
            raise DataError(f"{what} is a {type(sound).__name__} and no sound; give recordings")
        return self.trimmed(sound, what)[0]

    def trimmed(self, sound: Sound, what: str = "the recording") -> tuple[Tensor, int]:
        """One channel at the model's rate, silence (1 % of the peak) at the ends cut to 50 ms, ``(n,)``; and how many samples were before it.

        Raises:
            DataError: a recording that is silent, at the model's rate too, shorter than 0.1 seconds, or has samples that are no numbers.
        """
        x = resampled(spoken_sound(sound, what).mono(), sound.rate, self.rate)
        peak = np.abs(x).max()
        if peak < QUIET:
            raise DataError(
                f"{what} is silent at {self.rate} samples a second: what it holds is too high for that; leave it out"
            )
        loud = np.flatnonzero(np.abs(x) > 0.01 * peak)
        room = round(0.05 * self.rate)
        first = max(0, int(loud[0]) - room)
        return torch.from_numpy(np.ascontiguousarray(x[first : loud[-1] + room])), first

    def mel_db(self, wave: Tensor) -> Tensor:
        """Decibels ``(mels, frames)`` of samples ``(n,)``, a frame for each started hop."""
        frames = -(-len(wave) // self.hop)
        return LogMel(self.rate, self.window, self.hop, self.mels)(fitted(wave, frames * self.hop))[:, :frames]

    def _features(self, db: Tensor) -> Tensor:
        """What the aligner sees, ``(frames, 26)``: level, 12 cepstra less their mean, and the slopes of all."""
        n = self.mels
        at = torch.arange(n) + 0.5
        basis = torch.cos(math.pi / n * at * torch.arange(1, 13)[:, None]) * (2 / n) ** 0.5
        cepstra = basis @ db.clamp_min(self.top_db - self.range_db)
        level = 10 * (10 ** (db / 10)).sum(0).clamp_min(1e-10).log10()
        loud = level > level.max() - 30
        x = torch.cat([level[None] - level.max(), cepstra - cepstra[:, loud].mean(1, keepdim=True)])
        padded = torch.nn.functional.pad(x[None], (2, 2), mode="replicate")[0]
        slope = 0.2 * (padded[:, 4:] - padded[:, :-4]) + 0.1 * (padded[:, 3:-1] - padded[:, 1:-3])
        return torch.cat([x, 2 * slope]).T.contiguous()

    def fit(self, items: Sequence[Item]) -> Self:
        """Learn voices, sounds, level, lengths, the alignment, and how words sound for where espeak-ng is not.

        Raises:
            DataError: no pieces, none short enough, one without a text, or without a word in it.
        """
        if not items:
            raise DataError("there are no recordings to learn from; give at least one")
        self.notes = []
        for item in items:
            if not self._split(item)[1].strip():
                raise DataError(
                    f"{item.name or 'a recording'} has no transcript; write what is said in it, as voice|text"
                )
        self.voices = sorted({self._split(item)[0] or "voice" for item in items})
        try:
            named = self._texts([self._split(item)[1] for item in items])
        except RecipeError as error:
            raise DataError(f"a transcript cannot be said: {error}") from error
        counts = Counter(name for row in named for name in row)
        sounds = sorted(set(counts) - {START, GAP, *MARKS})
        self.tokens = [START, GAP, *MARKS, *sounds]
        waves = [self._wave(item) for item in items]
        longest = max(len(w) for w in waves)
        if self.seconds and min(len(w) for w in waves) > self.seconds * self.rate:
            raise DataError(f"every recording is longer than codec.seconds = {self.seconds:g}; cut them into sentences")
        most = min(longest, round(self.seconds * self.rate)) if self.seconds else longest
        self.frames = -(-most // self.hop)
        middle = float(np.median([len(w) for w in waves]))
        if not self.seconds and longest > _FAR * middle:
            which = items[max(range(len(waves)), key=lambda i: len(waves[i]))].name or "one recording"
            self.notes.append(
                f"{which} lasts {longest / self.rate:.1f} seconds, and so do all examples, half of which end before "
                f"{middle / self.rate:.1f}; set codec.seconds to leave longer ones out"
            )
        self.used_length = self.length or round(1.2 * (1 + max(len(row) for row in named))) + 1
        self._ready()
        db = [self.mel_db(w) for w in waves]
        self.top_db = round(max(float(x.max()) for x in db), 2)
        self.top_level = round(max(float(_level(x).max()) for x in db), 2)
        every = torch.linspace(0, len(items) - 1, min(len(items), _MOST_ALIGNED)).long().unique().tolist()
        self.aligner = Aligner(len(self.tokens), 26)
        rows = [(self._features(db[i]), *self._alignable(named[i])) for i in every]
        self.aligner.learn([row for row in rows if int((~row[2]).sum()) <= len(row[0])])
        if self.phones == "espeak" and has_espeak():
            self.letters = Letters.learn(self._lexicon([self._split(item)[1] for item in items]))
        return self

    def _alignable(self, names: Sequence[str]) -> tuple[Tensor, Tensor]:
        return torch.tensor([self.tokens.index(name) for name in names]), torch.tensor([name == GAP for name in names])

    def _lexicon(self, texts: Sequence[str]) -> dict[str, Word]:
        """Words of the texts as they are said in them, and common ones of the Python reference, which is always there."""
        lines = [line for text in texts for line in self.clauses(text)]
        heard: dict[str, Counter[Word]] = defaultdict(Counter)
        for line, words in zip(lines, espeak_phones(lines, self.language), strict=True):
            if len(words) == len(line.words):
                for word, sounds in zip(line.words, words, strict=True):
                    heard[word][sounds] += 1
        known = {word: found.most_common(1)[0][0] for word, found in heard.items()}
        if self.language.startswith("en"):
            from pydoc_data.topics import topics

            words = Counter(w for t in topics.values() for w in re.findall(r"\b[a-z]{2,}\b", t.lower()))
            more = [w for w, n in words.items() if n >= _COMMON and w not in known]
            said = espeak_phones([Clause((w,), ".") for w in more], self.language)
            known |= {w: tuple(s for part in sounds for s in part) for w, sounds in zip(more, said, strict=True)}
        letters = {w: tuple(s for s in sounds if s in set(self.tokens)) for w, sounds in known.items() if sounds}
        return {w: s for w, s in sorted(letters.items()) if s}

    def _ready(self) -> None:
        self._numbers = {name: len(self.voices) + i for i, name in enumerate(self.tokens)}
        given = Spec((self.used_length,), vocab=len(self.voices) + len(self.tokens) + 1)
        self.spec = Spec((1, self.mels + EXTRA, self.frames), cond=given)

    def encode(self, items: Sequence[Item]) -> Batch:
        """``(rows, 1, mels + 3, frames)``; recordings longer than ``seconds``, or too short for their text, are left out.

        Raises:
            DataError: a voice that ``fit`` has not met, a recording that cannot be used, or none that is short enough.
        """
        return self._encoded(items)[0]

    def _encoded(self, items: Sequence[Item]) -> tuple[Batch, list[str], list[str]]:
        """The rows, and the names of recordings that are too long, and too short for their text."""
        waves = [self._wave(item) for item in items]
        keep = [i for i, w in enumerate(waves) if len(w) <= self.frames * self.hop]
        if items and not keep:
            raise DataError(f"every recording is longer than {self.frames * self.hop / self.rate:.2f} seconds; cut them into sentences")  # fmt: skip
        try:
            cond = self.encode_cond([items[i] for i in keep])
        except RecipeError as error:
            raise DataError(f"a recording's voice or text is new: {error}") from error
        rows = self.encode_waves([waves[i] for i in keep], cond)
        good = [k for k, row in enumerate(rows) if row is not None]
        if items and not good:
            raise DataError("no recording is long enough for the sounds of its text; check the transcript")
        there = [row for row in rows if row is not None]
        names = [item.name or f"number {i + 1}" for i, item in enumerate(items)]
        long = [name for i, name in enumerate(names) if len(waves[i]) > self.frames * self.hop]
        short = [names[i] for k, i in enumerate(keep) if rows[k] is None]
        return Batch(torch.stack(there) if there else torch.zeros(0, *self.spec.shape), cond[good]), long, short

    def encode_waves(self, waves: Sequence[Tensor], cond: Tensor) -> list[Tensor | None]:
        """Recordings ``(n,)`` at the model's rate and their tokens ``(B, length)``, each as ``(1, mels + 3, frames)``.

        None stands for a recording that is too short for its sounds.
        """
        db = [self.mel_db(wave) for wave in waves]
        rows = []
        for x, given in zip(db, cond, strict=True):
            real = given[1 : int((given != self.spec.cond.vocab - 1).sum())] - len(self.voices)  # type: ignore[union-attr]
            rows.append((self._features(x), real, real == self.tokens.index(GAP)))
        fit = [k for k, (x, _, optional) in enumerate(rows) if int((~optional).sum()) <= len(x)]
        cuts = dict(zip(fit, self.aligner.align([rows[k] for k in fit]), strict=True))
        out: list[Tensor | None] = [None] * len(rows)
        for k, frames in cuts.items():
            made, t = torch.full(self.spec.shape, -1.0), db[k].shape[1]
            places = torch.arange(1, len(frames) + 1).repeat_interleave(frames)
            self.put(made, db[k], yin(waves[k], self.rate, self.hop)[:t])
            made[0, self.mels + 2, :t] = 2 * places / self.used_length - 1
            out[k] = made
        return out

    def put(self, out: Tensor, db: Tensor, f0: Tensor) -> None:
        """Write decibels ``(mels, t)``, F0 in Hz ``(t,)`` and the level into an example ``(1, mels + 3, frames)``."""
        t = min(db.shape[1], out.shape[2])
        out[0, : self.mels, :t] = self.scaled(db[:, :t])
        out[0, self.mels, :t] = pitch_scaled(f0[:t])
        out[0, self.mels + 1, :t] = (2 * (_level(db[:, :t]) - self.top_level) / self.range_db + 1).clamp(-1, 1)

    def scaled(self, db: Tensor) -> Tensor:
        """Decibels as numbers in [-1, 1]."""
        return (2 * (db - self.top_db) / self.range_db + 1).clamp(-1, 1)

    def source(self, items: Sequence[Item], *, train: bool) -> Source:
        """All rows in memory; in training, ``notes`` says which recordings were left out."""
        batch, long, short = self._encoded(items)
        if train and long:
            self.notes.append(f"{len(long)} of {len(items)} recordings are longer than {self.frames * self.hop / self.rate:.1f} seconds and were left out, the first: {long[0]}; cut them into sentences, or raise codec.seconds")  # fmt: skip
        if train and short:
            self.notes.append(f"{len(short)} of {len(items)} recordings are too short for the sounds of their text and were left out, the first: {short[0]}; check the transcript")  # fmt: skip
        return Encoded(batch)

    # ---- examples -> pieces ----------------------------------------------------------------------------------------

    def frames_of(self, x: Tensor) -> Tensor:
        """How many frames of examples ``(B, 1, mels + 3, frames)`` are there, ``(B,)``; the rest lies behind the end."""
        return (x[:, 0, self.mels + 2] > -1 + 1 / self.used_length).sum(1)

    def decibels(self, x: Tensor) -> Tensor:
        """Mel bands of examples in decibels, ``(B, mels, frames)``."""
        return (x[:, 0, : self.mels].float() - 1) * self.range_db / 2 + self.top_db

    def wave(self, db: Tensor) -> Tensor:
        """Decibels ``(mels, t)`` as samples ``(t * hop,)``, by mel inversion and Griffin-Lim."""
        filters = mel_filters(self.rate, self.window, self.mels)
        power = 10 ** (db / 10) * (db > self.top_db - self.range_db)
        return griffin_lim(unmel(power, filters).sqrt(), self.window, self.hop, db.shape[1] * self.hop, self.iterations)

    def decode(self, x: Tensor, cond: Tensor | None = None) -> list[Item]:
        """Samples, as near as phases can be found; what was given comes back as voice and sounds."""
        x = x.detach().cpu()
        said = [None] * len(x) if cond is None else [self.told(row) for row in cond.cpu()]
        out = []
        for row, t, known in zip(self.decibels(x), self.frames_of(x).tolist(), said, strict=True):
            wave = self.wave(row[:, :t]) if t else torch.zeros(self.hop)
            out.append(Item(Sound(wave.numpy()[None].astype(np.float32), self.rate), known))
        return out

    def told(self, cond: Tensor) -> str:
        """Tokens ``(length,)`` as ``voice|[sounds]``, words parted by spaces."""
        names = [self.tokens[k] for k in (cond[1:] - len(self.voices)).tolist() if 0 <= k < len(self.tokens)]
        voice = int(cond[0])
        text = "".join(names).strip(START)
        return f"{self.voices[voice] if voice < len(self.voices) else '?'}|[{text}]"

    def layout(self) -> dict[str, Any]:
        """What judges need to know of examples and of what is given: rows, scales and numbers of tokens."""
        return {
            "mels": self.mels, "range_db": self.range_db, "top_db": self.top_db, "rate": self.rate, "hop": self.hop,
            "voices": len(self.voices), "gap": self._numbers[GAP], "start": self._numbers[START],
            "marks": [self._numbers[m] for m in MARKS], "first": self._numbers["!"] + 1, "low_hz": LOW_HZ, "high_hz": HIGH_HZ,
            "length": self.used_length, "end": self.spec.cond.vocab - 1, "alike": self._alike(),  # type: ignore[union-attr]
        }  # fmt: skip

    def _alike(self) -> list[int]:
        """For each sound the first one that differs from it in stress alone."""
        bare = [_bare(name) for name in self.tokens]
        return [bare.index(name) for name in bare]

    # ---- pieces -> files -------------------------------------------------------------------------------------------

    def write(self, item: Item, path: Path, mark: dict[str, str] | None = None) -> Path:
        """One piece as WAV (or FLAC, where ``path`` says so)."""
        return write_sound(item.value, path, bits=self.bits, mark=mark)

    def show(self, items: Sequence[Item], path: Path) -> Path:
        """A page of up to 16 waveforms, each above its spectrum."""
        return draw_sounds([("" if item.cond is None else str(item.cond)[:48], item.value) for item in items], path)

    def show_beside(self, made: Sequence[Item], real: Sequence[Item], path: Path) -> Path:
        """A page of what was made and the real recording of the same words."""
        rows = []
        for m, r in list(zip(made, real, strict=False))[:6]:
            rows += [(f"made: {r.cond}"[:48], m.value), ("real", r.value)]
        return draw_sounds(rows, path, columns=2)

    def state(self) -> dict[str, Any]:
        """What ``fit`` learned, JSON-ready."""
        return {
            "voices": self.voices, "tokens": self.tokens, "frames": self.frames, "length": self.used_length,
            "top_db": self.top_db, "top_level": self.top_level,
            "mean": [[round(v, 3) for v in row] for row in self.aligner.mean.tolist()],
            "var": [[round(v, 3) for v in row] for row in self.aligner.var.tolist()],
            "letters": self.letters.state() if hasattr(self, "letters") else {},
        }  # fmt: skip

    def load_state(self, state: dict[str, Any]) -> Self:
        """The inverse of ``state``; returns self."""
        self.voices, self.tokens = list(state["voices"]), list(state["tokens"])
        self.frames, self.used_length = state["frames"], state["length"]
        self.top_db, self.top_level = state["top_db"], state["top_level"]
        self.aligner = Aligner(len(self.tokens), 26)
        self.aligner.mean, self.aligner.var = torch.tensor(state["mean"]), torch.tensor(state["var"])
        if state["letters"]:
            self.letters = Letters.of_state(state["letters"])
        self._ready()
        return self


def _level(db: Tensor) -> Tensor:
    """Of a frame in dB, all bands together: ``(mels, t) -> (t,)``."""
    return 10 * (10 ** (db / 10)).sum(0).clamp_min(1e-10).log10()


def _bare(name: str) -> str:
    """A sound without its stress and without espeak-ng's marks of variants that sound the same."""
    bare = name.lstrip("',") or name
    return bare if len(bare) == 1 or bare == "a#" else bare.rstrip("2#") or bare
