"""Voices of people: profiles heard in recordings, cloning and conversion with their consent, and nothing without it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bottega.codecs._sound_files import resampled
from bottega.codecs._spoken_files import QUIET
from bottega.core import Batch, DataError, Rng, Sound
from bottega.core.files import write_atomically
from bottega.core.sound import audible
from bottega.crafts.speak_manner import within
from bottega.nets.pitch import LEAST, yin
from bottega.trust.consent import Consent, check

if TYPE_CHECKING:
    from bottega.crafts.speak import Speaker

__all__ = ["Profile", "convert", "heard_profile", "read_profile", "write_profile"]

LEAST_SECONDS, ADVISED_SECONDS, LEAST_OF_MANY, LEAST_SAID = 3.0, 10.0, 0.5, 0.3


@dataclass(frozen=True)
class Profile:
    """A voice as a run hears it.

    Attributes:
        name: of the person, for messages and marks.
        vector: a unit vector.
        recordings: SHA-256 of what it was heard in; a consent names them.
        seconds: of speech that was heard.
        weights: of the run; other runs hear otherwise.
        consent: the seal of the record that allowed to hear it. A later record of the same recordings serves, too.
    """

    name: str
    vector: tuple[float, ...]
    recordings: tuple[str, ...]
    seconds: float
    weights: str
    consent: str

    @property
    def seal(self) -> str:
        """SHA-256 of everything in it, 64 hexadecimal digits: a file that was changed by hand is noticed."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def digest(sound: Sound) -> str:
    """What a consent calls a recording: 64 hexadecimal digits of its samples."""
    return sound.digest().hex()


def usable(sound: Sound, what: str, least: float = LEAST_SECONDS) -> float:
    """How many seconds of a recording are heard: 20 ms each that reach 2 % of its peak.

    Raises:
        DataError: samples that are not finite, silence, or less than ``least`` seconds of sound.
    """
    x = np.abs(audible(sound, what, least_peak=QUIET, mono=True).mono())
    frame = max(1, sound.rate // 50)
    some = x[: len(x) // frame * frame].reshape(-1, frame).max(1) if len(x) >= frame else x[None].max(1)
    heard = min(sound.seconds, float((some > 0.02 * x.max()).sum() * frame / sound.rate))
    if heard < least:
        raise DataError(
            f"{what} holds {heard:.2f} seconds of speech; give at least {least:g}, better {ADVISED_SECONDS:g}"
        )
    return heard


def example_of(speaker: Speaker, sound: Sound) -> list[tuple[Tensor, Tensor]]:
    """A recording in parts of at most the run's length: each as an example whose places say only where it is, and its samples."""
    codec = speaker.codec
    x = torch.from_numpy(np.ascontiguousarray(resampled(sound.mono(), sound.rate, codec.rate)))
    most = codec.frames * codec.hop
    out = []
    while len(x) > codec.hop * 4:
        cut = len(x)
        if cut > most:  # where it is quietest in the last third
            frames = x[: most // codec.hop * codec.hop].view(-1, codec.hop).square().mean(1)
            from_ = 2 * len(frames) // 3
            cut = (from_ + int(frames[from_:].argmin())) * codec.hop
        part, x = x[:cut], x[cut:]
        db = codec.mel_db(part)
        made = torch.full(codec.spec.shape, -1.0)
        codec.put(made, db, yin(part, codec.rate, codec.hop)[: db.shape[1]])
        made[0, codec.mels + 2, : db.shape[1]] = 2 / codec.used_length - 1
        out.append((made, part))
    return out


@torch.no_grad()
def heard_profile(
    speaker: Speaker, sounds: Sequence[Sound], consent: Consent | None, refine: int = 40, *, use: str = "clone"
) -> Profile:
    """The voice of recordings: the mean over their parts of what the network hears, then moved towards what was recorded.

    For the second, sounds are heard in the recordings as ``convert`` hears them, and the vector is moved until the decoder
    says them more nearly as they are (``refine`` steps; 0 leaves the mean).

    Args:
        speaker: the run that hears.
        sounds: recordings of one voice.
        consent: of whose voice it is; nothing is heard without one that names these recordings.
        refine: steps.
        use: what the consent has to allow, ``"clone"`` or ``"convert"``.

    Raises:
        DataError: no consent that allows it today; a recording that is silent, damaged or too short (all together at least 3 seconds of speech).
    """
    record = check(consent, [digest(s) for s in sounds], use)
    name = record.who
    model: Any = speaker.run.model
    total = 0.0
    for i, sound in enumerate(sounds):
        what = f"recording {i + 1} of {name}" if len(sounds) > 1 else f"the recording of {name}"
        total += usable(sound, what, LEAST_SECONDS if len(sounds) == 1 else LEAST_OF_MANY)
    if total < LEAST_SECONDS:
        raise DataError(f"the recordings of {name} hold {total:.2f} seconds of speech; give at least {LEAST_SECONDS:g}, better {ADVISED_SECONDS:g}")  # fmt: skip
    rows = [made for sound in sounds for made, _ in example_of(speaker, sound)]
    weight = torch.stack([speaker.codec.frames_of(r[None]).float() for r in rows])
    x = torch.stack(rows).to(speaker.run.device)
    vectors = model.represent(Batch(x)).cpu()
    mean = torch.nn.functional.normalize((vectors * weight).sum(0), dim=0)
    if refine and hasattr(model, "nearer"):
        given = torch.cat([heard_sounds(speaker, row) for row in rows[:8]])
        mean = model.nearer(
            torch.stack(rows[:8]).to(speaker.run.device), given, mean[None].to(speaker.run.device), refine
        )[0].cpu()
    return Profile(name, tuple(round(v, 6) for v in mean.tolist()), tuple(digest(s) for s in sounds), round(total, 2),
                   speaker.run.weights_hash, record.seal)  # fmt: skip


def heard_sounds(speaker: Speaker, example: Tensor) -> Tensor:
    """The tokens ``(1, length)`` that are heard in an example, whose places are written into it; its voice is the first."""
    codec, device = speaker.codec, speaker.run.device
    family: Any = speaker.run.model
    t = int(codec.frames_of(example[None])[0])
    log_probs = family.hear(example[None].to(device))[0, :t].cpu()
    tokens, frames = segments(log_probs, len(codec.voices), codec.used_length - 2)
    cond = torch.full((1, codec.used_length), codec.spec.cond.vocab - 1)
    cond[0, 0] = 0
    cond[0, 1 : 1 + len(tokens)] = torch.tensor(tokens)
    places = torch.repeat_interleave(torch.arange(1, len(tokens) + 1), torch.tensor(frames))
    example[0, codec.mels + 2, :t] = 2 * places / codec.used_length - 1
    return cond.to(device)


def write_profile(profile: Profile, path: Path) -> Path:
    """As JSON with its seal; raises OutputError where the place cannot be written."""
    write_atomically(path, json.dumps(asdict(profile) | {"seal": profile.seal}, ensure_ascii=False) + "\n")
    return path


def read_profile(path: Path) -> Profile:
    """The inverse of ``write_profile``.

    Raises:
        DataError: no such file, no profile, a vector of other than finite numbers or of another length than 1, or a seal
            that does not fit.
    """
    again = "make one with bottega speak profile"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read the profile {path}: {error.strerror}; {again}") from error
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is no profile of a voice, as it is no JSON; {again}") from error
    wanted = [f.name for f in fields(Profile)]
    if not isinstance(found, dict) or (lacks := [name for name in (*wanted, "seal") if name not in found]):
        raise DataError(f"{path} is no profile of a voice{f', without {lacks[0]!r}' if isinstance(found, dict) else ''}; {again}")  # fmt: skip
    try:
        out = Profile(
            str(found["name"]), tuple(map(float, found["vector"])), tuple(map(str, found["recordings"])), float(found["seconds"]),
            str(found["weights"]), str(found["consent"]))  # fmt: skip
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{path} is no profile of a voice ({error}); {again}") from error
    if not all(abs(v) <= 1.01 for v in out.vector) or abs(float(np.linalg.norm(out.vector)) - 1) > 0.01:
        raise DataError(f"{path} has no vector of finite numbers and length 1; {again}")
    if out.seal != found["seal"]:
        raise DataError(f"{path} was changed after it was made: its seal does not fit; {again}")
    return out


@torch.no_grad()
def convert(
    speaker: Speaker, sound: Sound, who: str | Profile, consent: Consent | None, *, pitch: float = 0.0, seed: int = 0
) -> Sound:
    """What is said in a recording, with its timing, melody and loudness, in another voice, and the watermark in it.

    A network hears which sound each frame is (phonetic posteriors, as Sun et al. 2016 convert by); the likeliest row of sounds, none shorter than two frames,
    is said again with the durations that were heard. F0 is moved as a whole to where the voice speaks.

    Args:
        speaker: the run.
        sound: speech.
        who: a voice of the run, or a profile.
        consent: of whose voice the profile is; into a voice of the run, of who speaks in the recording.
        pitch: semitones higher than that.
        seed: of a decoder that draws.

    Raises:
        DataError: no consent that allows to convert today; a recording that is silent, damaged or too short.
        RecipeError: an unknown voice, or a pitch beyond 24 semitones.
    """
    within("pitch", pitch)
    if not isinstance(who, Profile):
        check(consent, [digest(sound)], "convert")
    vector = speaker.voice(who, consent, "convert")
    usable(sound, "the recording", LEAST_SAID)
    family: Any = speaker.run.model
    device = speaker.run.device
    heard = []
    for example, _ in example_of(speaker, sound):
        cond = heard_sounds(speaker, example)
        real = family.said(example[None].to(device))
        heard.append((cond, real, family.plan(cond, vector).pitch, (real.voiced * (real.frames > 0)).bool()))
    if not heard:
        raise DataError(f"the recording is too short to be said again; give at least {LEAST_SAID:g} seconds")
    # one shift for all parts: of a part with few voiced frames, the guess alone would be another height each time
    sure = torch.cat([guess[where] - real.pitch[where] for _, real, guess, where in heard])
    shift = sure.mean() if len(sure) else torch.zeros((), device=device)
    parts = []
    for cond, real, _, _ in heard:
        plan = real._replace(pitch=(real.pitch + shift).clamp(LEAST, 1))
        plan = family.moved(plan, cond, pitch=pitch)
        made = family.speak(cond, plan, Rng(seed, device=device), vector).cpu()
        parts.append(speaker.wave(made[0]))
    return speaker.joined(parts)


def segments(
    log_probs: Tensor, first: int, most: int, least: int = 2, stay: float = 2.0
) -> tuple[list[int], list[int]]:
    """The likeliest row of sounds of frames ``(T, vocab)`` and how many frames each takes; none shorter than ``least``.

    A hidden Markov model with a state for each of the first ``least`` frames of a sound; going to another sound costs ``stay`` nats.

    Args:
        log_probs: of each frame; tokens from ``first`` to the last but one are sounds.
        first: the first sound.
        most: sounds at most; where there are more, the shortest neighbours are joined.
        least: frames.
        stay: nats.
    """
    scores = log_probs[:, first:-1].double().numpy()
    t, n = scores.shape
    best = np.full((least, n), -np.inf)
    best[0] = scores[0]
    came = np.zeros((t, n), np.int64)  # where a sound began: from which
    held = np.zeros((t, n), bool)
    for k in range(1, t):
        enter = best[-1].max() - stay
        origin = int(best[-1].argmax())
        new = np.full_like(best, -np.inf)
        new[0] = enter
        came[k] = origin
        for s in range(1, least):
            new[s] = best[s - 1]
        if least == 1:
            new[0] = np.maximum(enter, best[0])
            held[k] = best[0] >= enter
        else:
            held[k] = best[-1] >= best[-2]
            new[-1] = np.maximum(best[-2], best[-1])
        best = new + scores[k]
    at, state = int(best[-1].argmax()), least - 1
    if not np.isfinite(best[-1]).any():
        return [first + int(scores.mean(0).argmax())], [t]
    labels = np.zeros(t, np.int64)
    for k in range(t - 1, -1, -1):
        labels[k] = at
        if k == 0:
            break
        if state == least - 1 and held[k, at]:
            continue
        if state > 0:
            state -= 1
        else:
            at, state = int(came[k, at]), least - 1
    edges = np.flatnonzero(np.diff(labels)) + 1
    runs = [(int(part[0]), len(part)) for part in np.split(labels, edges)]
    while len(runs) > most:
        k = min(range(len(runs)), key=lambda i: runs[i][1])
        j = k - 1 if k else 1
        runs[j] = (runs[j][0], runs[j][1] + runs[k][1])
        del runs[k]
    return [first + token for token, _ in runs], [frames for _, frames in runs]
