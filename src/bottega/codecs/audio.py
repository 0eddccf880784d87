"""Sound: recordings of any rate, channels and sample format outside; waveforms, mu-law levels or log-mel spectra inside."""

from __future__ import annotations

import base64
import hashlib
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bottega.codecs._labels import class_numbers, numbers_first, word_numbers
from bottega.codecs._noise import noisy
from bottega.codecs._sound_files import decoded, library, read_sound, read_sounds, resampled, write_sound
from bottega.codecs._sound_page import draw_sounds
from bottega.core import Batch, DataError, Encoded, Item, RecipeError, Rng, Sound, Source, Spec, nearest
from bottega.nets.mu_law import mu_law, mu_law_inverse
from bottega.nets.spectrogram import LogMel, fitted, griffin_lim, mel_filters, unmel

__all__ = ["AudioCodec", "mu_law", "mu_law_inverse"]

_DATA = "data:audio/flac;base64,"
_SHORTEST = 16  # samples of an example


class AudioCodec:
    """Recordings as waveforms ``(1, samples)``, levels ``(samples,)`` or pictures of their spectrum ``(1, mels, frames)``.

    ``read`` takes WAV, FLAC, OGG, MP3 and what else libsndfile reads, with 8, 16, 24 or 32 bits or floats, at any rate and
    with any number of channels: one file, a folder at any depth, or an archive (never unpacked to disk). A piece is a
    ``Sound`` at its own rate with all its channels; the mean of the channels, resampled, is what a model sees.

    Args:
        form: ``"mel"``: decibels of ``mels`` bands, ``range_db`` below the loudest of the training data to -1 and 1
            (families and judges of pictures take them); ``"wave"``: samples in [-1, 1]; ``"mulaw"``: whole numbers 0 to
            255, the samples' logarithm (ITU-T G.711, mu = 255).
        rate: samples a second inside; 0 keeps the data's own, which must then be the same for all.
        seconds: of one example; 0 takes the longest piece. Shorter pieces end in silence.
        long: what is done with longer pieces: ``"cut"`` keeps the beginning, ``"all"`` makes an example of each part.
        level: ``"peak"`` brings each piece to a peak of 0.95 first; ``""`` leaves levels alone.
        window: samples of a spectrum's frame, a power of two.
        hop: samples from frame to frame; ``samples / hop`` frames.
        mels: bands.
        range_db: decibels between -1 and 1.
        iterations: of the Griffin-Lim algorithm, by which spectra become sound again.
        labels: ``"auto"`` (class folders), ``"folder"``, ``"none"``, a CSV and its column as pictures have them, or
            ``"name"``: the parts of each file's name (``7_jackson_32.wav`` is ``7 jackson``), and ``"name:1"`` the first.
        cond: what is known of a piece: ``"class"`` (its label) or ``"words"`` (its label word by word).
        degrade: ``"noise"``: what is known is the piece itself with noise of any colour, anew each time that training
            sees it; labels are then left aside. Only of waveforms.
        noise_db: the signal-to-noise ratio of that noise; it varies by 5 dB either way.
        bits: of what is written, 16, 24 or 32.
        on_error: ``"stop"`` at a recording that cannot be read, or ``"skip"`` it (its message is kept in ``skipped``).

    Raises:
        RecipeError: an argument has no such value.

    >>> codec = AudioCodec(form="wave", rate=8000, seconds=0.5).fit([Item(Sound(np.zeros((2, 4410), np.float32), 44100))])
    >>> codec.spec.shape, codec.encode([Item(Sound(np.ones((1, 44100), np.float32) / 2, 44100))]).x.shape
    ((1, 4000), torch.Size([1, 1, 4000]))
    """

    medium = "audio"
    spec: Spec

    def __init__(
        self,
        *,
        form: Literal["mel", "wave", "mulaw"] = "mel",
        rate: int = 16000,
        seconds: float = 1.024,
        long: Literal["cut", "all"] = "cut",
        level: Literal["", "peak"] = "",
        window: int = 1024,
        hop: int = 128,
        mels: int = 128,
        range_db: float = 80.0,
        iterations: int = 64,
        labels: str = "auto",
        cond: Literal["class", "words"] = "class",
        degrade: Literal["", "noise"] = "",
        noise_db: float = 5.0,
        bits: int = 16,
        on_error: Literal["stop", "skip"] = "stop",
    ) -> None:
        for name, value, known in (
            ("form", form, ("mel", "wave", "mulaw")),
            ("long", long, ("cut", "all")),
            ("level", level, ("", "peak")),
            ("cond", cond, ("class", "words")),
            ("degrade", degrade, ("", "noise")),
            ("on_error", on_error, ("stop", "skip")),
        ):
            if value not in known:
                raise RecipeError(f"codec.{name} is {value!r}{nearest(value, known)}")
        if rate < 0 or 0 < rate < 1000:
            raise RecipeError(f"codec.rate is {rate}; give samples a second, at least 1000, or 0 for the data's own")
        if seconds < 0 or not math.isfinite(seconds):
            raise RecipeError(f"codec.seconds is {seconds}; give the length of an example, or 0 for the longest piece")
        if window < 16 or window & (window - 1) or not 1 <= hop <= window // 2:
            raise RecipeError(
                f"codec.window is {window} and hop {hop}; a power of two from 16 on, and at most half of it"
            )
        if mels < 1 or not 10 <= range_db <= 200 or iterations < 1:
            raise RecipeError(
                f"codec.mels, range_db, iterations are {mels}, {range_db}, {iterations}; at least 1, 10 and 1"
            )
        if bits not in (16, 24, 32):
            raise RecipeError(f"codec.bits is {bits}; use 16, 24 or 32")
        if degrade and form != "wave":
            raise RecipeError(f"codec.degrade is {degrade!r} with form {form!r}; noise is for form = 'wave'")
        if labels.startswith("name") and not re.fullmatch(r"name(:[1-9])?", labels):
            raise RecipeError(
                f"codec.labels is {labels!r}; use 'name' for all parts of a file's name, 'name:1' for the first"
            )
        self.form, self.rate, self.seconds, self.long, self.level = form, rate, seconds, long, level
        self.window, self.hop, self.mels, self.range_db, self.iterations = (
            window,
            hop,
            mels,
            float(range_db),
            iterations,
        )
        self.labels, self.cond, self.degrade, self.noise_db = labels, cond, degrade, noise_db
        self.bits, self.on_error = bits, on_error
        self.classes: list[str] = []
        self.words: list[str] = []
        self.skipped: list[str] = []
        self.top_db = 0.0

    # ---- files -> pieces -------------------------------------------------------------------------------------------

    def read(self, source: str | Path) -> list[Item]:
        """Recordings as ``Sound`` with their labels, sorted by name.

        Raises:
            DataError: nothing there, no recording in it, one that cannot be read (cut short, no numbers, no samples).
        """
        self.skipped = []
        skipped = self.skipped if self.on_error == "skip" else None
        return read_sounds(Path(source), labels=self.labels, skipped=skipped)

    # ---- pieces -> examples ----------------------------------------------------------------------------------------

    def fit(self, items: Sequence[Item]) -> Self:
        """Learn rate, length and loudest band of the data, and the names of its classes.

        Raises:
            DataError: no pieces, or pieces of different rates while ``rate`` is 0.
        """
        if not items:
            raise DataError("there are no recordings to learn from; give at least one")
        rates = sorted({item.value.rate for item in items})
        if not self.rate and len(rates) > 1:
            raise DataError(
                f"recordings differ in rate ({', '.join(f'{rate} Hz' for rate in rates)}); set codec.rate to bring them to one"
            )
        self.used_rate = self.rate or rates[0]
        longest = max(math.ceil(item.value.samples.shape[1] * self.used_rate / item.value.rate) for item in items)
        wanted = round(self.seconds * self.used_rate) if self.seconds else longest
        self.samples = max(_SHORTEST, wanted)
        if self.form == "mel":
            self.samples = self.hop * max(1, -(-self.samples // self.hop))
        known = [] if self.labels == "none" or self.degrade else [str(i.cond) for i in items if i.cond is not None]
        self.classes = self.words = []
        self.longest = 0
        if self.cond == "words":
            self.words = sorted({word for caption in known for word in caption.lower().split()})
            self.longest = max((len(caption.split()) for caption in known), default=0)
        else:
            self.classes = sorted(set(known), key=numbers_first) if len(set(known)) > 1 else []
        self._set_spec()
        if self.form == "mel":
            groups = [items[i : i + 64] for i in range(0, len(items), 64)]
            self.top_db = round(max(float(self._mel(self._waves(some)[0]).max()) for some in groups), 2)
            if self.top_db <= -100:
                raise DataError("all recordings are silent; there is nothing to learn from them")
        return self

    def _set_spec(self) -> None:
        given: Spec | None = None
        if self.degrade:
            given = Spec((1, self.samples))
        elif self.words:
            given = Spec((self.longest,), vocab=len(self.words) + 1)  # word 0 is silence
        elif self.classes:
            given = Spec((), vocab=len(self.classes))
        if self.form == "mulaw":
            self.spec = Spec((self.samples,), vocab=256, ordinal=True, cond=given)
        elif self.form == "wave":
            self.spec = Spec((1, self.samples), cond=given)
        else:
            mel_filters(self.used_rate, self.window, self.mels)  # raises where there are too many
            self.spec = Spec((1, self.mels, self.samples // self.hop), cond=given)

    def _whole(self, item: Item) -> NDArray[np.float32]:
        """One channel at the model's rate, ``(n,)``."""
        sound = item.value
        if not isinstance(sound, Sound):
            raise DataError(f"{item.name or 'a piece'} is a {type(sound).__name__} and no sound; give recordings")
        what = item.name or "a recording"
        if not sound.samples.shape[1]:
            raise DataError(f"{what} holds no samples; leave it out")
        if not np.isfinite(sound.samples).all():
            raise DataError(f"{what} has samples that are not finite numbers; export it anew")
        x = resampled(sound.mono(), sound.rate, self.used_rate)
        if self.level == "peak":
            peak = float(np.abs(x).max())
            if not peak:
                raise DataError(f"{what} is silent, so codec.level = 'peak' cannot raise it; leave it out")
            x = x * np.float32(0.95 / peak)
        elif self.form != "mel" and sound.peak > 1:
            raise DataError(
                f"{what} peaks at {sound.peak:.3g}, beyond full scale, which {self.form} would clip; set codec.level = 'peak'"
            )
        return x.clip(-1, 1) if self.form != "mel" else x  # resampling may swing a little beyond full scale

    def _waves(self, items: Sequence[Item]) -> tuple[Tensor, list[int]]:
        """``(rows, samples)`` and which piece each row is of."""
        rows, owner = [], []
        for i, item in enumerate(items):
            x = torch.from_numpy(np.ascontiguousarray(self._whole(item)))
            parts = x.split(self.samples) if self.long == "all" else [x[: self.samples]]
            rows += [fitted(part, self.samples) for part in parts]
            owner += [i] * len(parts)
        return (torch.stack(rows) if rows else torch.zeros(0, self.samples)), owner

    def _mel(self, waves: Tensor) -> Tensor:
        """Decibels ``(..., mels, frames)``; the frame that would be centred on the end is left out."""
        net = LogMel(self.used_rate, self.window, self.hop, self.mels)
        return net(waves)[..., : self.samples // self.hop]

    def _numbers(self, waves: Tensor) -> Tensor:
        if self.form == "mulaw":
            return mu_law(waves)
        if self.form == "wave":
            return waves[:, None]
        db = torch.cat([self._mel(part) for part in waves.split(64)]) if len(waves) else self._mel(waves)
        return (2 * (db - self.top_db) / self.range_db + 1).clamp(-1, 1)[:, None]

    def encode(self, items: Sequence[Item]) -> Batch:
        """``(rows, *spec.shape)``: a row for each piece, or for each part of it with ``long = "all"``."""
        waves, owner = self._waves(items)
        if self.degrade:
            return Batch(self._numbers(waves), self._spoilt(waves)[:, None])
        cond = None
        if self.spec.cond is not None:
            try:
                cond = self.encode_cond([items[i].cond for i in owner])
            except RecipeError as error:
                raise DataError(
                    f"a recording's label is new: {error}; give more of that class, or set codec.labels = 'none'"
                ) from error
        return Batch(self._numbers(waves), cond)

    def _spoilt(self, waves: Tensor) -> Tensor:
        """The same noise for the same piece, at ``noise_db`` to a decibel's part."""
        seeds = [int.from_bytes(hashlib.sha256(row.numpy().tobytes()).digest()[:7], "little") for row in waves]
        rows = [
            noisy(row[None], Rng(seed), self.noise_db, self.noise_db) for row, seed in zip(waves, seeds, strict=True)
        ]
        return torch.cat(rows) if rows else waves

    def source(self, items: Sequence[Item], *, train: bool) -> Source:
        """All rows in memory; in training with ``degrade`` each time under new noise."""
        batch = self.encode(items)
        return _Noisy(batch, self.noise_db - 5, self.noise_db + 5) if train and self.degrade else Encoded(batch)

    def encode_cond(self, values: Sequence[Any]) -> Tensor:
        """Class names as int64 ``(B,)``, None as -1; captions as ``(B, longest)`` word numbers; sounds as ``(B, 1, samples)``.

        A sound is a file, a ``Sound``, a piece (which stands for what is known of it) or a ``data:`` address; it is what is
        known, as it is.

        Raises:
            RecipeError: a class or word that was never seen, with the nearest that was; something that is no sound.
            DataError: a recording that cannot be read.
        """
        if self.spec.cond is None:
            raise RecipeError("this codec knows no classes: the data it was fitted on had none")
        if self.degrade:
            return torch.stack([self._given(value) for value in values])[:, None]
        if self.words:
            return word_numbers(values, self.words, self.longest)
        return class_numbers(values, self.classes)

    def _given(self, value: Any) -> Tensor:
        """``(samples,)``; a piece is spoilt, anything else is taken for what is known."""
        if isinstance(value, Item) and not isinstance(value.cond, Sound):
            return self._spoilt(self._waves([value])[0][:1])[0]
        if isinstance(value, Item):
            value = value.cond
        elif isinstance(value, str) and value.startswith(_DATA):
            value = decoded(base64.b64decode(value.removeprefix(_DATA)), "the given sound")
        elif isinstance(value, str | Path) and Path(value).is_file():
            value = read_sound(value)
        if not isinstance(value, Sound):
            raise RecipeError(f"what is known here is a sound, and there is none at {str(value)!r}; give a recording")
        return self._waves([Item(value, name="the given sound")])[0][0]

    def given_examples(self, items: Sequence[Item], most: int = 8) -> list[str]:
        """What is known of some of ``items``, evenly chosen, as ``data:`` addresses that ``encode_cond`` reads."""
        chosen = [items[i * len(items) // min(most, len(items))] for i in range(min(most, len(items)))]
        sf, out = library("soundfile"), []
        for item in chosen:
            file = io.BytesIO()
            x = self._given(item)
            sf.write(
                file, (x / max(1.0, float(x.abs().max()))).numpy(), self.used_rate, format="FLAC", subtype="PCM_16"
            )
            out.append(_DATA + base64.b64encode(file.getvalue()).decode())
        return out

    # ---- examples -> pieces ----------------------------------------------------------------------------------------

    def waves(self, x: Tensor) -> Tensor:
        """Examples ``(B, *spec.shape)`` as samples ``(B, samples)``; spectra by mel inversion and Griffin-Lim."""
        if self.form == "mulaw":
            return mu_law_inverse(x)
        if self.form == "wave":
            return x[:, 0].float()
        filters = mel_filters(self.used_rate, self.window, self.mels)
        out = []
        for part in x.float().split(32):
            db = (part[:, 0].clamp(-1, 1) - 1) * self.range_db / 2 + self.top_db
            power = 10 ** (db / 10) * (part[:, 0] > -1)  # the floor is silence, not a hiss
            magnitude = unmel(power, filters).sqrt()
            out.append(griffin_lim(magnitude, self.window, self.hop, self.samples, self.iterations))
        return torch.cat(out)

    def decode(self, x: Tensor, cond: Tensor | None = None) -> list[Item]:
        """The inverse of ``encode``: waveforms exactly, mu-law to a level, spectra as near as their phases can be found."""
        waves = self.waves(x.detach().cpu()).numpy()
        said: list[Any] = [None] * len(waves)
        if cond is not None and self.degrade:
            said = [Sound(row.numpy(), self.used_rate) for row in cond.detach().cpu().float()]
        elif cond is not None and self.words:
            said = [" ".join(self.words[k - 1] for k in row if k) or None for row in cond.tolist()]
        elif cond is not None:
            said = [self.classes[k] if k >= 0 else None for k in cond.tolist()]
        return [Item(Sound(wave[None], self.used_rate), c) for wave, c in zip(waves, said, strict=True)]

    def heard(self, x: Tensor) -> Tensor:
        """Examples as log-mel decibels ``(B, 64, frames)``, what judges hear by; spectra as they are."""
        if self.form == "mel":
            return (x[:, 0].float().cpu() - 1) * self.range_db / 2 + self.top_db
        window = 1 << max(6, round(math.log2(0.064 * self.used_rate)))
        net = LogMel(self.used_rate, window, window // 2, min(64, window // 8))
        return torch.cat([net(fitted(self.waves(part.cpu()), max(self.samples, window))) for part in x.split(64)])

    def start_edit(self, source: str | Path | Item, mask: Path | None = None) -> tuple[Batch, Tensor]:
        """A recording to change and which parts to keep: the first half of its time.

        Raises:
            DataError: a mask, which sounds have none of, or a recording that cannot be read.
        """
        if mask is not None:
            raise DataError(f"the mask {mask} means nothing to a sound, whose second half is made anew; leave it out")
        item = source if isinstance(source, Item) else self.read(source)[0]
        batch = self.encode([Item(item.value, item.cond if str(item.cond) in self.classes else None, item.name)]).take(
            slice(0, 1)
        )
        keep = torch.ones(1, *self.spec.shape, dtype=torch.bool)
        keep[..., self.spec.shape[-1] // 2 :] = False
        return batch, keep

    # ---- pieces -> files -------------------------------------------------------------------------------------------

    def write(self, item: Item, path: Path, mark: dict[str, str] | None = None) -> Path:
        """One piece as WAV (or FLAC, where ``path`` says so); see ``write_sound`` of levels beyond full scale."""
        return write_sound(item.value, path, bits=self.bits, mark=mark)

    def show(self, items: Sequence[Item], path: Path) -> Path:
        """A page of up to 16 waveforms, each above its spectrum; where a sound was given, it stands to the left."""
        if any(isinstance(item.cond, Sound) for item in items):
            rows = [row for item in items[:8] for row in (("given", item.cond), ("made", item.value))]
            return draw_sounds(rows, path, columns=4 if len(rows) > 4 else 2)
        return draw_sounds([("" if item.cond is None else str(item.cond), item.value) for item in items], path)

    def show_beside(self, made: Sequence[Item], real: Sequence[Item], path: Path) -> Path:
        """A page of what was given, what was made of it, and the real recording; ``made`` knows what it was given."""
        real = self.decode(self.encode(list(real)).x)
        rows = []
        for m, r in list(zip(made, real, strict=False))[:5]:
            rows += [("given", m.cond), ("made", m.value), ("real", r.value)]
        return draw_sounds(rows, path, columns=3)

    def state(self) -> dict[str, Any]:
        """What ``fit`` learned, JSON-ready."""
        return {
            "rate": self.used_rate, "samples": self.samples, "top_db": self.top_db, "classes": self.classes,
            "words": self.words, "longest": self.longest,
        }  # fmt: skip

    def load_state(self, state: dict[str, Any]) -> Self:
        """The inverse of ``state``; returns self."""
        self.used_rate, self.samples, self.top_db = state["rate"], state["samples"], state["top_db"]
        self.classes, self.words, self.longest = list(state["classes"]), list(state["words"]), state["longest"]
        self._set_spec()
        return self


@dataclass(frozen=True)
class _Noisy(Encoded):
    """The same, under noise that is drawn each time."""

    low_db: float
    high_db: float

    def draw(self, rows: Tensor, rng: Rng) -> Batch:
        x = self.batch.x[rows]
        return Batch(x, noisy(x[:, 0], rng, self.low_db, self.high_db)[:, None])
