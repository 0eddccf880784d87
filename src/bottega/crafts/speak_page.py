"""A picture of what was said: waveform, mel bands, F0 and the sounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bottega.codecs._speech_page import draw_speech
from bottega.core import Sound
from bottega.crafts.speak import EMOTIONS, Manner, Speaker
from bottega.crafts.speak_voice import Profile
from bottega.nets.pitch import yin
from bottega.trust.consent import Consent

__all__ = ["draw_said"]


def draw_said(
    speaker: Speaker, text: str, path: Path, who: str | Profile | None = None, how: Manner = EMOTIONS["neutral"], seed: int = 0, *,
    consent: Consent | None = None,
) -> Path:  # fmt: skip
    """The first sentence of a text as it is said, drawn as PNG; F0 is measured in the sound. Returns the path; raises as ``Speaker.say`` does."""
    codec = speaker.codec
    piece = speaker.pieces(text)[0]
    x, cond = speaker.examples([piece.text], who, how, seed, consent=consent)
    t = int(codec.frames_of(x)[0])
    wave = speaker.wave(x[0])
    places = ((x[0, 0, codec.mels + 2, :t] + 1) / 2 * codec.used_length).round().long()
    frames = torch.bincount(places, minlength=codec.used_length)[1:].tolist()
    names = [codec.tokens[k - len(codec.voices)] for k in cond[0, 1:].tolist() if k < codec.spec.cond.vocab - 1]
    shown = [(name.replace("^", "").replace(".", ""), n) for name, n in zip(names, frames, strict=False)]
    f0 = yin(torch.from_numpy(np.ascontiguousarray(wave)), codec.rate, codec.hop)[:t]
    sound = Sound(wave[None] / max(1.0, float(np.abs(wave).max(initial=0.0))), codec.rate)
    return draw_speech(
        sound, codec.decibels(x)[0, :, :t], f0, shown, path, hop=codec.hop, window=codec.window, title=piece.text
    )
