"""Speak: text in a voice of a run or of a person who allowed it, said as is wished."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bottega.codecs._say import Clause
from bottega.codecs._sound_files import write_sound
from bottega.core import DataError, RecipeError, Rng, Sound, nearest
from bottega.crafts.speak_manner import EMOTIONS, Manner, manner
from bottega.crafts.speak_voice import Profile
from bottega.nets.pitch import pitch_hz
from bottega.trust.consent import Consent, check
from bottega.trust.mark import mark
from bottega.trust.watermark import watermarked
from bottega.workshop.run import Run, load

__all__ = ["EMOTIONS", "Manner", "Speaker", "manner"]


_PAUSES = {",": 0.12, ".": 0.35, "?": 0.4, "!": 0.35, "¶": 0.7}
_NEAR = 100  # characters on either side of a cut that are read to see whether it changes anything


def scripts(text: str) -> Counter[str]:
    """How many letters a text has of which script, by the first word of their Unicode names.

    >>> scripts("Ja, \u0434\u0430 \uff21!") == Counter(LATIN=3, CYRILLIC=2)
    True
    """
    letters = (c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) in {"Lu", "Ll", "Lt", "Lo"})
    return Counter(unicodedata.name(c, "UNKNOWN").partition(" ")[0].partition("-")[0] for c in letters)


def _words(clauses: Sequence[Clause]) -> list[str]:
    return [word for clause in clauses for word in clause.words]


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
            if not hasattr(self.vocoder.model, "waves"):
                raise RecipeError(f"{self.vocoder.path} makes no waves of spectra; train a vocoder: bottega train speech-vocoder")  # fmt: skip
            same = ("rate", "window", "hop", "mels")
            ours, theirs = ([getattr(c, name, None) for name in same] for c in (self.codec, self.vocoder.model))
            if ours != theirs:
                raise RecipeError(f"{self.vocoder.path} is no vocoder for {self.run.path}: {', '.join(same)} are {theirs} there and {ours} here; bottega train speech-vocoder")  # fmt: skip

    @classmethod
    def of(cls, run: str | Path, vocoder: str | Path | None = None, device: str = "auto") -> Speaker:
        """From the folders of runs."""
        return cls(load(run, device), None if vocoder is None else load(vocoder, device))

    @property
    def voices(self) -> list[str]:
        """The voices that the run was trained on."""
        return list(self.codec.voices)

    def voice(self, who: str | Profile | None, consent: Consent | None = None, use: str = "clone") -> Tensor:
        """A unit vector ``(1, D)``.

        Args:
            who: a voice of the run, its first one by default, or a profile.
            consent: of whose voice a profile is; voices of the run need none.
            use: what the consent has to allow.

        Raises:
            DataError: a profile without a consent that allows ``use`` of it today.
            RecipeError: a voice that is not there, or a profile that this run did not hear.
        """
        if isinstance(who, Profile):
            check(consent, who.recordings, use)
            wide = self._model.voices.weight.shape[1]
            if who.weights != self.run.weights_hash:
                raise RecipeError(
                    f"the profile {who.name!r} was heard by another run; make it anew with bottega speak profile"
                )
            if len(who.vector) != wide or not np.isfinite(who.vector).all():
                raise DataError(f"the profile {who.name!r} has no vector of {wide} finite numbers, as this run's have; make it anew with bottega speak profile")  # fmt: skip
            return torch.tensor([who.vector], device=self.run.device)
        name = who or self.voices[0]
        if name not in self.voices:
            near = nearest(name, self.voices) if len(self.voices) <= 12 else ""
            raise RecipeError(f"unknown voice {name!r}{near}; bottega speak voices --run {self.run.path} lists them")
        at = torch.tensor([self.voices.index(name)], device=self.run.device)
        return torch.nn.functional.normalize(self._model.voices(at), dim=1).detach()

    @functools.cached_property
    def _scripts(self) -> set[str]:
        """Of the words that the run learned; empty where it kept none."""
        letters = getattr(self.codec, "letters", None)
        words = letters.pairs if letters is not None else [t for t in self.codec.tokens if len(t) == 1]
        return {script for word in words for script in scripts(word)}

    def foreign(self, text: str) -> list[str]:
        """The words of a text with letters of a script in which the run learned no word."""
        known = self._scripts
        return [w for w in re.findall(r"\w+", text) if known and set(scripts(w)) - known]

    def cannot(self, text: str) -> str:
        """Why a text cannot be said by this run; empty where it can.

        A program of sounds spells or skips letters of other scripts, so what is half written in them, or more, would come out
        as something else.
        """
        if not self._clauses(text):
            digits = self.codec.phones == "espeak" or self.codec.language.startswith(
                "en"
            )  # letters have no sounds for them
            return (
                f"there is no word to say in {text[:60]!r}; give a text with letters{' or numbers' if digits else ''}"
            )
        found = scripts(text)
        other = {script: n for script, n in found.items() if script not in self._scripts}
        most = (
            found.total() / 2 if self.codec.phones == "espeak" else 1
        )  # letters as sounds are said only where they were heard
        if self._scripts and other and sum(other.values()) >= most:
            told = " and ".join(sorted(s.capitalize() if s != "CJK" else s for s in other))
            return f"{text[:40]!r} is written in {told} letters, and {self.run.path} learned {self.codec.language}; give a text in its language"  # fmt: skip
        return ""

    def pieces(self, text: str) -> list[Piece]:
        """A text cut where it is said in one breath: sentences, and clauses of those that are too long for the run.

        Where a sentence ends is asked of what reads the text (``codec.clauses``): it is cut only where the parts are read as they
        are in the whole, so not behind ``Dr.`` and not within ``$3.50``.

        Raises:
            RecipeError: no word in it, or half of it in letters of a script in which the run learned no word.
        """
        if why := self.cannot(text):
            raise RecipeError(why)
        out: list[Piece] = []
        for paragraph in re.split(r"\n\s*\n", text):
            before = len(out)
            for sentence in self._sentences(" ".join(paragraph.split())):
                if found := self._clauses(sentence):
                    out += self._short(sentence, _PAUSES.get(found[-1].mark, _PAUSES["."]))
            if len(out) > before:
                out[-1] = Piece(out[-1].text, _PAUSES["¶"])
        return out

    def _clauses(self, text: str) -> list[Clause]:
        """As the codec reads a text; none where there is no word in it."""
        try:
            return list(self.codec.clauses(text))
        except RecipeError:
            return []

    def _sentences(self, text: str) -> list[str]:
        """The sentences of a paragraph without line ends."""
        cuts = [0]
        for match in re.finditer(r"[.!?…]+[\"')\]”’»]*\s+", text):
            before, after, both = self._read(text, match.end())
            if both == before + after and (not before or before[-1].mark in ".?!"):
                cuts.append(match.end())
        return [text[a:b].strip() for a, b in zip(cuts, [*cuts[1:], len(text)], strict=True)]

    def _read(self, text: str, cut: int) -> tuple[list[Clause], list[Clause], list[Clause]]:
        """What stands near a cut on either side, as it is read alone, and together."""
        first, last = max(0, cut - _NEAR), cut + _NEAR
        return self._clauses(text[first:cut]), self._clauses(text[cut:last]), self._clauses(text[first:last])

    def _short(self, text: str, pause: float, plain: bool = False) -> Iterator[Piece]:
        """As few pieces as fit: cut behind a clause, else a word, near the middle, and not within what is read as one.

        Where there is no such place (one long number, an address), words are cut as they are read, which makes the text ``plain``.
        """
        if self.codec.fits(text) <= 0.95 * self.codec.used_length or len(text) < 2:
            yield Piece(text, pause)
            return
        behind = [[m.end() for m in re.finditer(mark, text)] for mark in (r"[,;:—]\s+", r"\s+")]
        cuts = [cut for some in behind for cut in sorted(some, key=lambda k: abs(2 * k - len(text)))]
        for cut in cuts:
            before, after, both = self._read(text, cut)
            if _words(before) + _words(after) == _words(both):
                break
        else:
            if not plain:
                yield from self._short(" ".join(" ".join(c.words) + c.mark for c in self._clauses(text)), pause, True)
                return
            cut = cuts[0] if cuts else len(text) // 2
        for part, rest in ((text[:cut].strip(), _PAUSES[","]), (text[cut:].strip(), pause)):
            if self._clauses(part):
                yield from self._short(part, rest, plain)

    @torch.no_grad()
    def examples(self, texts: Sequence[str], who: str | Profile | None = None, how: Manner = EMOTIONS["neutral"], seed: int = 0, *, consent: Consent | None = None, **knobs: Any) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Texts, each short enough, as examples and the tokens that were given; raises as ``voice`` does."""
        vector = self.voice(who, consent).expand(len(texts), -1)
        device = self.run.device
        cond = self.codec.encode_cond([f"|{text}" for text in texts]).to(device)
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
        self, text: str, who: str | Profile | None = None, how: Manner = EMOTIONS["neutral"], seed: int = 0, *,
        consent: Consent | None = None,
    ) -> Sound:  # fmt: skip
        """A text of any length as sound, with the watermark in it.

        Args:
            text: what is said.
            who: a voice of the run, or a profile.
            how: the manner.
            seed: of a decoder that draws.
            consent: of whose voice a profile is; voices of the run need none.

        Raises:
            DataError: a profile without a consent that allows to clone it today.
            RecipeError: no word in it, letters that the run never met, an unknown voice.
        """
        return self.joined(self.parts(self.pieces(text), who, how, seed, consent=consent))

    def parts(
        self, pieces: Sequence[Piece], who: str | Profile | None = None, how: Manner = EMOTIONS["neutral"], seed: int = 0, *,
        consent: Consent | None = None,
    ) -> Iterator[NDArray[np.float32]]:  # fmt: skip
        """Piece by piece, each with the silence behind it, ``(n,)``; ``joined`` puts the watermark over all. Raises as ``voice`` does."""
        for first in range(0, len(pieces), 8):
            some = pieces[first : first + 8]
            x, _ = self.examples([p.text for p in some], who, how, seed + first, consent=consent)
            for one, piece in zip(x, some, strict=True):
                rest = np.zeros(round(piece.pause * how.pause / how.speed * self.codec.rate), np.float32)
                yield np.concatenate([self.wave(one), rest])

    def joined(self, parts: Iterator[NDArray[np.float32]] | Sequence[NDArray[np.float32]]) -> Sound:
        """Parts as one sound, within full scale, with the watermark in it."""
        x = np.concatenate([np.zeros(0, np.float32), *parts], dtype=np.float32)
        x /= max(0.98, float(x.max(initial=0.0)), -float(x.min(initial=0.0))) / 0.98
        return watermarked(Sound(x[None], self.codec.rate))

    def save(
        self, sound: Sound, path: Path, *, seed: int = 0, task: str = "say", said: dict[str, str] | None = None
    ) -> Path:
        """Write what ``joined`` made as WAV or FLAC, marked in its comment as made by this run; ``said`` goes there, too."""
        about = mark(self.run.weights_hash, seed, recipe=f"{self.run.recipe.name}; speak {task}")
        return write_sound(sound, path, mark=about | (said or {}))
