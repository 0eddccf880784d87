"""Speak: text in a voice of a run or of a person who allowed it, said as is wished."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bottega.codecs._sound_files import write_sound
from bottega.core import RecipeError, Rng, Sound, nearest
from bottega.crafts.speak_voice import Profile
from bottega.nets.pitch import pitch_hz
from bottega.trust.mark import mark
from bottega.trust.watermark import watermarked
from bottega.workshop.run import Run, load

__all__ = ["EMOTIONS", "Manner", "Speaker", "manner"]


class Manner(NamedTuple):
    """How something is said.

    Attributes:
        speed: times as fast.
        pitch: semitones higher.
        pitch_range: times the melody's range.
        energy: dB louder.
        pause: times as long between clauses and sentences.
    """

    speed: float = 1.0
    pitch: float = 0.0
    pitch_range: float = 1.0
    energy: float = 0.0
    pause: float = 1.0


EMOTIONS: dict[str, Manner] = {
    "neutral": Manner(),
    "happy": Manner(1.08, 2.0, 1.4, 2.0, 0.9),
    "excited": Manner(1.18, 3.0, 1.7, 4.0, 0.7),
    "angry": Manner(1.1, 1.0, 1.4, 6.0, 0.8),
    "sad": Manner(0.84, -2.0, 0.6, -4.0, 1.4),
    "calm": Manner(0.92, -1.0, 0.75, -2.0, 1.25),
    "fearful": Manner(1.15, 3.0, 0.8, -2.0, 0.9),
}
"""What emotions do to a voice, in the directions that Scherer 2003 ("Vocal communication of emotion", table 4) found."""

_PAUSES = {",": 0.12, ".": 0.35, "?": 0.4, "!": 0.35, "¶": 0.7}
_LIMITS = {"speed": (0.25, 4.0), "pitch": (-24.0, 24.0), "pitch_range": (0.0, 5.0), "energy": (-30.0, 20.0), "pause": (0.0, 10.0)}  # fmt: skip


def manner(emotion: str = "neutral", **changes: float | None) -> Manner:
    """An emotion's manner, further moved: speeds and ranges are multiplied, semitones and dB added.

    Raises:
        RecipeError: an unknown emotion, or a number out of range.

    >>> manner("sad", speed=1.0, pitch=2.0).pitch
    0.0
    """
    if emotion not in EMOTIONS:
        raise RecipeError(f"unknown emotion {emotion!r}{nearest(emotion, EMOTIONS)}")
    out = EMOTIONS[emotion]._asdict()
    for name, value in changes.items():
        if value is not None:
            out[name] = out[name] + value if name in {"pitch", "energy"} else out[name] * value
    for name, (low, high) in _LIMITS.items():
        if not low <= out[name] <= high:
            raise RecipeError(f"{name} would be {out[name]:g}; it must lie between {low:g} and {high:g}")
    return Manner(**out)


class Piece(NamedTuple):
    """Text that is said at once, and the silence behind it in seconds."""

    text: str
    pause: float


@dataclass
class Speaker:
    """A run that speaks, and what makes sound of its spectra.

    Attributes:
        run: of the codec ``speech`` and a family that speaks it.
        vocoder: a run that makes waves of mel bands; None for Griffin-Lim.
    """

    run: Run
    vocoder: Run | None = None
    _model: Any = field(init=False, repr=False)
    codec: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._model, self.codec = self.run.model.eval(), self.run.codec
        if not hasattr(self.codec, "layout") or not hasattr(self._model, "speak"):
            raise RecipeError(f"{self.run.path} is no run of speech; train one: bottega train speech")
        if self.vocoder is not None:
            same = ("rate", "window", "hop", "mels")
            ours, theirs = ([getattr(c, name, None) for name in same] for c in (self.codec, self.vocoder.model))
            if not hasattr(self.vocoder.model, "waves") or ours != theirs:
                raise RecipeError(f"{self.vocoder.path} is no vocoder for {self.run.path}: {', '.join(same)} are {theirs} there and {ours} here; bottega train speech-vocoder")  # fmt: skip

    @classmethod
    def of(cls, run: str | Path, vocoder: str | Path | None = None, device: str = "auto") -> Speaker:
        """From the folders of runs."""
        return cls(load(run, device), None if vocoder is None else load(vocoder, device))

    @property
    def voices(self) -> list[str]:
        """The voices that the run was trained on."""
        return list(self.codec.voices)

    def voice(self, who: str | Profile | None) -> Tensor:
        """A unit vector ``(1, D)``; raises RecipeError for a voice that is not there."""
        if isinstance(who, Profile):
            if who.weights != self.run.weights_hash:
                raise RecipeError(
                    f"the profile {who.name!r} was heard by another run; make it anew with bottega speak profile"
                )
            return torch.tensor([who.vector], device=self.run.device)
        name = who or self.voices[0]
        if name not in self.voices:
            raise RecipeError(f"unknown voice {name!r}{nearest(name, self.voices)}")
        at = torch.tensor([self.voices.index(name)], device=self.run.device)
        return torch.nn.functional.normalize(self._model.voices(at), dim=1).detach()

    def pieces(self, text: str) -> list[Piece]:
        """A text cut where it is said in one breath: sentences, and clauses of those that are too long for the run."""
        out: list[Piece] = []
        for paragraph in re.split(r"\n\s*\n", text):
            flat = " ".join(paragraph.split())
            before = len(out)
            for sentence in re.findall(r"[^.!?…]+(?:[.!?…]+[\"')\]]*(?=\s|$)|[.!?…]+|$)", flat):
                if any(c.isalnum() for c in sentence):
                    out += self._short(
                        sentence.strip(), _PAUSES.get(sentence.strip().rstrip("\"')]")[-1:], _PAUSES["."])
                    )
            if len(out) > before:
                out[-1] = Piece(out[-1].text, _PAUSES["¶"])
        if not out:
            self.codec.clauses(text)  # raises with the reason
        return out

    def _short(self, text: str, pause: float) -> Iterator[Piece]:
        """As few pieces as fit: by clauses, else by words."""
        most = 0.95 * self.codec.used_length
        if self.codec.fits(text) <= most:
            yield Piece(text, pause)
            return
        parts = re.split(r"(?<=[,;:—])\s+", text)
        if len(parts) == 1:
            words = text.split()
            if len(words) == 1:
                half = len(text) // 2
                parts = [text[:half], text[half:]]
            else:
                middle = len(words) // 2
                parts = [" ".join(words[:middle]), " ".join(words[middle:])]
        elif len(parts) > 2:
            middle = len(parts) // 2
            parts = [" ".join(parts[:middle]), " ".join(parts[middle:])]
        for i, part in enumerate(parts):
            if any(c.isalnum() for c in part):
                yield from self._short(part, pause if i == len(parts) - 1 else _PAUSES[","])

    @torch.no_grad()
    def examples(self, texts: Sequence[str], who: str | Profile | None = None, how: Manner = EMOTIONS["neutral"], seed: int = 0, **knobs: Any) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Texts, each short enough, as examples and the tokens that were given."""
        device = self.run.device
        cond = self.codec.encode_cond([f"|{text}" for text in texts]).to(device)
        vector = self.voice(who).expand(len(texts), -1)
        wanted = {"speed": how.speed, "pitch": how.pitch, "pitch_range": how.pitch_range, "energy": how.energy}
        rng = Rng.for_rows([seed + i for i in range(len(texts))], device)
        return self._model.sample(len(texts), rng, cond, voice=vector, **wanted, **knobs).cpu(), cond.cpu()

    @torch.no_grad()
    def wave(self, x: Tensor) -> NDArray[np.float32]:
        """One example ``(1, mels + 3, frames)`` as samples ``(n,)``."""
        t = int(self.codec.frames_of(x[None])[0])
        if not t:
            return np.zeros(0, np.float32)
        db = self.codec.decibels(x[None])[0, :, :t]
        if self.vocoder is None:
            return np.asarray(self.codec.wave(db).numpy(), np.float32)
        model: Any = self.vocoder.model.eval()
        f0 = pitch_hz(x[0, self.codec.mels, :t])
        made = model.waves(*(part[None].to(self.vocoder.device) for part in (db, f0)))
        return np.asarray(made[0].cpu().numpy(), np.float32)

    def say(
        self, text: str, who: str | Profile | None = None, how: Manner = EMOTIONS["neutral"], seed: int = 0
    ) -> Sound:
        """A text of any length as sound.

        Raises:
            RecipeError: no word in it, an unknown voice.
        """
        return self.joined(self.parts(self.pieces(text), who, how, seed))

    def parts(self, pieces: Sequence[Piece], who: str | Profile | None = None, how: Manner = EMOTIONS["neutral"], seed: int = 0) -> Iterator[NDArray[np.float32]]:  # fmt: skip
        """Piece by piece, each with the silence behind it, ``(n,)``."""
        for first in range(0, len(pieces), 8):
            some = pieces[first : first + 8]
            x, _ = self.examples([p.text for p in some], who, how, seed + first)
            for one, piece in zip(x, some, strict=True):
                rest = np.zeros(round(piece.pause * how.pause / how.speed * self.codec.rate), np.float32)
                yield np.concatenate([self.wave(one), rest])

    def joined(self, parts: Iterator[NDArray[np.float32]] | Sequence[NDArray[np.float32]]) -> Sound:
        """Parts as one sound, within full scale."""
        x = np.concatenate([np.zeros(0, np.float32), *parts])
        return Sound((x / max(1.0, float(np.abs(x).max(initial=0.0)) / 0.98))[None].astype(np.float32), self.codec.rate)

    def save(
        self, sound: Sound, path: Path, *, seed: int = 0, task: str = "say", said: dict[str, str] | None = None
    ) -> Path:
        """Write WAV or FLAC, marked as made by this run in its comment and in the sound; ``said`` goes into the comment."""
        about = mark(self.run.weights_hash, seed, recipe=f"{self.run.recipe.name}; speak {task}")
        return write_sound(watermarked(sound), path, mark=about | (said or {}))
