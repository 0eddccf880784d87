"""Speech: words heard, voices cloned and converted, prosody that obeys, decoders and vocoders beside each other.

Ears are trained here on real recordings of 20 voices that no run of speech was trained on (cast ``others``), with other
sentences. They hear what comes out as sound, through the vocoder that is named. A closed vocabulary: the words of their own training
sentences and of those asked. Sentences asked were in no training.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks._common import keep, options, told
from bottega.codecs._phones import Letters, espeak_phones
from bottega.codecs._say import Clause
from bottega.core import Rng, Sound
from bottega.core.measure import wilson
from bottega.crafts.speak import Manner, Speaker
from bottega.crafts.speak_voice import convert, digest, heard_profile
from bottega.data import worlds
from bottega.data._voices import CASTS, Line, render, sentences
from bottega.families.fastspeech import FastSpeech
from bottega.judge._listener import (
    Ear,
    VoiceNet,
    Word,
    WordLoop,
    bootstrap,
    equal_error,
    train_ear,
    train_voices,
    word_errors,
)
from bottega.judge._spoken import heard_by, sounds_of, words_of
from bottega.judge.spectral_distance import log_spectral_distance
from bottega.judge.voice_match import embedded
from bottega.nets.pitch import yin
from bottega.nets.spectrogram import decibels, stft
from bottega.trust.consent import PURPOSES, Consent

ASKED = 9000  # seed of the sentences that are asked for


class Ears:
    """Words and voices, by networks that heard the cast ``others``."""

    def __init__(self, speaker: Speaker, n: int, steps: int, kept: Path | None = None, throats: int = 5) -> None:
        self.codec = speaker.codec
        self.layout = self.codec.layout()
        self.about = {"recordings": n, "throats": throats, "steps": steps}
        # what they hear are the run's own bands and sounds
        hears = [self.codec.tokens, *(self.layout[k] for k in ("mels", "rate", "hop"))]
        asked = {k: str(v) for k, v in self.about.items()} | {
            "hears": sha256(json.dumps(hears).encode()).hexdigest()[:12]
        }
        there = {} if kept is None or not kept.is_file() else kept_ears(kept, asked)
        data = worlds.load("espeak", n=n, voices="others", throats=throats, seed=ASKED - 4000)
        known = [i.cond.partition("|")[2] for i in data.items]
        self.loop = self._words(known)
        self.mels = [self.mel(i.value) for i in data.items]
        self.ear = Ear(self.layout["mels"], self.layout["end"] - self.layout["voices"])
        cond = self.codec.encode_cond([f"|{t}" for t in known])
        rows = self.codec.encode_waves([torch.from_numpy(i.value.samples[0]) for i in data.items], cond)
        fits = [k for k, row in enumerate(rows) if row is not None]
        sounds = sounds_of(self.layout, torch.stack([rows[k] for k in fits]), cond[fits])
        mels = [self.mels[k][: len(s)] for k, s in zip(fits, sounds, strict=True)]
        sounds = [s[: len(m)] for m, s in zip(mels, sounds, strict=True)]
        torch.manual_seed(0)
        if there:
            self.ear.load_state_dict({k[4:]: v for k, v in there.items() if k.startswith("ear.")})
        else:
            train_ear(self.ear, mels, sounds, Rng(0), steps)
        names = sorted({i.cond.partition("|")[0] for i in data.items})
        self.net = VoiceNet(self.layout["mels"], len(names))
        if there:
            self.net.load_state_dict({k[4:]: v for k, v in there.items() if k.startswith("net.")})
        else:
            train_voices(
                self.net,
                self.mels,
                [names.index(i.cond.partition("|")[0]) for i in data.items],
                Rng(1),
                max(1, 2 * steps // 5),
            )
            if kept is not None:
                weights = {f"ear.{k}": v for k, v in self.ear.state_dict().items()}
                save_file(weights | {f"net.{k}": v for k, v in self.net.state_dict().items()}, kept, asked)
        self.ear.eval(), self.net.eval()

    def _words(self, texts: Sequence[str]) -> WordLoop:
        cond = self.codec.encode_cond([f"|{t}" for t in [*texts, *sentences(200, ASKED)]])
        known = sorted({w for c in cond for w in words_of(self.layout, c)[0]})
        parts = [t - self.layout["voices"] for t in (self.layout["gap"], self.layout["start"], *self.layout["marks"])]
        return WordLoop(known, parts)

    def mel(self, sound: Sound) -> Tensor:
        """Decibels ``(T, mels)``."""
        x = torch.from_numpy(np.ascontiguousarray(sound.mono()))
        return self.codec.mel_db(x).T.contiguous()

    def said(self, text: str) -> list[Word]:
        """The words of a text as sounds."""
        return words_of(self.layout, self.codec.encode_cond([f"|{text}"])[0])[0]

    def accuracy(self, texts: Sequence[str], sounds: Sequence[Sound]) -> dict[str, Any]:
        """Word accuracy of sounds that should say texts."""
        heard = heard_by(self.ear, self.loop, [self.mel(s) for s in sounds])
        said = [self.said(t) for t in texts]
        errors = [word_errors(a, b) for a, b in zip(said, heard, strict=True)]
        value, low, high = bootstrap(errors, [len(s) for s in said])
        return {"value": value, "low": low, "high": high, "sentences": len(texts), "words": sum(map(len, said))}

    def voices(self, sounds: Sequence[Sound]) -> Tensor:
        """Unit vectors ``(N, D)``."""
        return embedded(self.net, [self.mel(s) for s in sounds])


def kept_ears(path: Path, asked: dict[str, str]) -> dict[str, Tensor]:
    """Weights of ears from their file; exits where they are other ears than those that are asked for."""
    with safe_open(path, "pt") as file:
        about = file.metadata() or {}
    other = [f"{k} {about.get(k, 'unknown')}, not {v}" for k, v in asked.items() if about.get(k) != v]
    if other:
        raise SystemExit(f"{path} holds other ears than asked ({'; '.join(other)}); name another file with --ears")
    return load_file(path)


def voices_of(speaker: Speaker) -> list[str]:
    """The voices that the program itself has; not those of other throats, which differ from them by 7 %."""
    everyone = {name for cast in CASTS.values() for name in cast}
    return [name for name in speaker.voices if name in everyone]


def real(texts: Sequence[str], voices: Sequence[str], seed: int = 0) -> list[Sound]:
    """Texts as espeak-ng itself says them."""
    everyone = {name: voice for cast in CASTS.values() for name, voice in cast.items()}
    out = []
    for text, name in zip(texts, voices, strict=True):
        voice = everyone[name]
        out.append(Sound(render(Line(text, voice, voice.pitch, voice.speed, 100))[None], 16000))
    return out


def allowing(who: str, sounds: Sequence[Sound]) -> Consent:
    """A consent for today; voices of espeak-ng are nobody's."""
    day = date.today()
    return Consent(who, tuple(map(digest, sounds)), "a benchmark", PURPOSES, day, day + timedelta(1))


def spoken(ears: Ears, speaker: Speaker, plain: Speaker, n: int) -> dict[str, Any]:
    """Word accuracy on sentences never seen, of the run with its vocoder, with Griffin-Lim, and of espeak-ng itself."""
    texts = sentences(n, ASKED)
    names = [voices_of(speaker)[i % len(voices_of(speaker))] for i in range(n)]
    own = real(texts, names)
    out: dict[str, Any] = {"espeak_itself": ears.accuracy(texts, own)}
    scores = {v: ears.accuracy(*zip(*[(t, s) for t, s, n_ in zip(texts, own, names, strict=True) if n_ == v], strict=True)) for v in set(names)}  # fmt: skip
    lost = sorted(v for v, score in scores.items() if score["value"] < 0.5)
    out["voices_not_understood_as_espeak_says_them"] = lost  # whoever says it, these ears hear nothing in such a voice
    kept = [i for i, v in enumerate(names) if v not in lost]
    out["espeak_itself"]["others"] = ears.accuracy([texts[i] for i in kept], [own[i] for i in kept])
    for name, who in {"vocoder": speaker, "griffin_lim": plain}.items():
        if name == "vocoder" and speaker.vocoder is None:
            continue
        began = time.process_time()
        sounds = [who.say(t, v) for t, v in zip(texts, names, strict=True)]
        took = (time.process_time() - began) / sum(s.seconds for s in sounds)
        out[name] = ears.accuracy(texts, sounds) | {
            "others": ears.accuracy([texts[i] for i in kept], [sounds[i] for i in kept]),
            "processor_seconds_a_second": took,
        }
    return out


def prosody(speaker: Speaker, n: int) -> dict[str, Any]:
    """How often a control moves what is measured in the sound in the direction that was asked (I11)."""
    texts = sentences(n, ASKED + 1)
    right: dict[str, list[bool]] = {}
    moves: dict[str, list[float]] = {}
    unheard: dict[str, int] = {}

    def measured(sound: Sound) -> dict[str, float]:
        x = torch.from_numpy(np.ascontiguousarray(sound.mono()))
        f0 = yin(x, sound.rate, 256, threshold=0.35)  # phases by Griffin-Lim are less regular than a throat
        log = f0[f0 > 0].log2() * 12 if (f0 > 0).sum() > 15 else torch.full((1,), torch.nan)
        loud = x.unfold(0, 400, 400).square().mean(1)
        return {
            "speed": sound.seconds, "pitch": float(log.median()), "pitch_range": float(log.quantile(0.9) - log.quantile(0.1)),
            "energy": float(10 * loud[loud > 1e-6].mean().log10()),
        }  # fmt: skip

    for i, text in enumerate(texts):
        name = voices_of(speaker)[i % len(voices_of(speaker))]
        base = measured(speaker.say(text, name))
        for control, value, sign in (
            ("speed", 1.25, -1), ("speed", 0.8, 1), ("pitch", 3.0, 1), ("pitch", -3.0, -1), ("energy", 5.0, 1),
            ("energy", -5.0, -1), ("pitch_range", 2.0, 1), ("pitch_range", 0.3, -1),
        ):  # fmt: skip
            moved = measured(speaker.say(text, name, Manner()._replace(**{control: value})))[control] - base[control]
            key = f"{control} {value:g}"
            if moved != moved:  # a low voice whose F0 cannot be heard in what Griffin-Lim made
                unheard[key] = unheard.get(key, 0) + 1
                continue
            right.setdefault(key, []).append(sign * moved > 0)
            moves.setdefault(key, []).append(moved)
    out = {}
    for key, found in right.items():
        share = sum(found) / len(found)
        out[key] = {
            "right": share,
            "low": wilson(share, len(found))[0],
            "n": len(found),
            "median_move": statistics.median(moves[key]),
            "f0_not_heard": unheard.get(key, 0),
        }
    return out


def cloned(ears: Ears, speaker: Speaker, per_voice: int) -> dict[str, Any]:
    """Clones of the cast ``new`` from about 10 seconds, verified against other recordings of the same voices (I13)."""
    names = sorted(CASTS["new"])
    heard = sentences(4, ASKED + 2)
    check = sentences(6, ASKED + 3)
    asked = sentences(per_voice, ASKED + 4)
    enrolled = {v: torch.nn.functional.normalize(ears.voices(real(check, [v] * 6)).mean(0), dim=0) for v in names}
    tests = {v: ears.voices(real(sentences(6, ASKED + 5), [v] * 6)) for v in names}
    same = np.array([float(t @ enrolled[v]) for v in names for t in tests[v]])
    other = np.array([float(t @ enrolled[w]) for v in names for w in names if w != v for t in tests[v]])
    eer, threshold = equal_error(same, other)
    consents, profiles, lengths = {}, {}, []
    for v in names:
        sounds = real(heard, [v] * 4)
        lengths.append(sum(s.seconds for s in sounds))
        consents[v] = allowing(v, sounds)
        profiles[v] = heard_profile(speaker, sounds, consents[v])
    strict = float(np.quantile(other, 0.95))  # where one of 20 strangers is taken for the speaker
    accept, at_five, wrong, nearest, words = [], [], [], [], {"texts": [], "sounds": []}
    own, strangers = [], []
    for v in names:
        sounds = [speaker.say(text, profiles[v], consent=consents[v]) for text in asked]
        words["texts"] += asked
        words["sounds"] += sounds
        for vector in ears.voices(sounds):
            scores = {w: float(vector @ enrolled[w]) for w in names}
            accept.append(scores[v] > threshold)
            at_five.append(scores[v] > strict)
            own.append(scores[v])
            strangers += [scores[w] for w in names if w != v]
            wrong += [scores[w] > threshold for w in names if w != v]
            nearest.append(max(scores, key=lambda w: scores[w]) == v)
    share = sum(accept) / len(accept)
    five = sum(at_five) / len(at_five)
    return {
        "reference_seconds": statistics.mean(lengths), "voices": len(names),
        "eer_of_real": eer, "threshold": threshold, "real_trials": len(same),
        "accepted": {"value": share, "interval": wilson(share, len(accept)), "n": len(accept)},
        "accepted_at_5_percent_false": {"value": five, "interval": wilson(five, len(at_five)), "threshold": strict},
        "eer_of_clones": equal_error(np.array(own), np.array(strangers))[0],
        "accepted_as_another": sum(wrong) / len(wrong), "nearest_is_right": sum(nearest) / len(nearest),
        "word_accuracy": ears.accuracy(words["texts"], words["sounds"]), "wanted": {"accepted": 0.9},
    }  # fmt: skip


def converted(ears: Ears, speaker: Speaker, n: int) -> dict[str, Any]:
    """Recordings of voices of the run said again in another of them: whose voice is heard, and which words (I14)."""
    names = voices_of(speaker)
    centres = torch.stack(
        [
            torch.nn.functional.normalize(ears.voices(real(sentences(5, ASKED + 6), [v] * 5)).mean(0), dim=0)
            for v in names
        ]
    )
    texts = sentences(n, ASKED + 7)
    out = {}
    for kind, sources in {"voices of the run": names, "voices never heard": sorted(CASTS["new"])}.items():
        source = [sources[i % len(sources)] for i in range(n)]
        target = [names[(7 * i + 5) % len(names)] for i in range(n)]
        target = [
            names[(names.index(t) + 1) % len(names)] if t == s else t for s, t in zip(source, target, strict=True)
        ]
        given = real(texts, source)
        made = [convert(speaker, g, t, allowing(s, [g])) for g, t, s in zip(given, target, source, strict=True)]
        said = [names[int(k)] for k in (ears.voices(made) @ centres.T).argmax(1)]
        flips = sum(a == b for a, b in zip(said, target, strict=True)) / n
        away = sum(a != b for a, b in zip(said, source, strict=True)) / n
        was = [names[int(k)] for k in (ears.voices(given) @ centres.T).argmax(1)]
        out[kind] = {
            "flips_to_target": {"value": flips, "interval": wilson(flips, n), "n": n}, "left_the_source": away,
            "source_named_right": sum(a == b for a, b in zip(was, source, strict=True)) / n,
            "word_accuracy": ears.accuracy(texts, made), "word_accuracy_of_the_source": ears.accuracy(texts, given),
        }  # fmt: skip
    return out | {"wanted": {"flips_to_target": 0.9, "content_error": 0.1}}


def decoders(speaker: Speaker, n: int, steps: int) -> dict[str, Any]:
    """Mel distance of a diffusion decoder, an autoregressive one and the plain one, of held-out sentences with true timing (E8).

    The run's encoder, predictors and voices stay as they are; each decoder of the other kinds is trained beside the plain one, so many
    steps of 12 sentences.
    """
    codec, plain = speaker.codec, speaker.run.model
    data = worlds.load("espeak", n=1200)
    held = worlds.load("espeak", n=n, seed=ASKED + 8)
    train, test = codec.encode(data.items[:600]), codec.encode(held.items)
    cond = test.cond
    found: dict[str, Any] = {}
    each: dict[str, list[float]] = {}
    floor = codec.top_db - codec.range_db

    @torch.no_grad()
    def distance(name: str, model: Any, **knobs: Any) -> dict[str, float]:
        out, l1 = [], []
        for k in range(0, len(test), 16):
            part = test.take(slice(k, k + 16))
            plan = model.said(part.x)
            made = model.speak(part.cond, plan, Rng(0), **knobs)
            for a, b in zip(codec.decibels(made), codec.decibels(part.x), strict=True):
                t = int((b > floor).any(0).nonzero().max()) + 1
                out.append(log_spectral_distance(a[:, :t].T.clamp_min(floor), b[:, :t].T.clamp_min(floor)))
                l1.append(float((a - b)[:, :t].abs().mean()))
        each[name] = out
        spread = 1.96 * statistics.stdev(out) / len(out) ** 0.5
        texture = statistics.mean(l1)
        return {
            "log_spectral_distance_db": statistics.mean(out),
            "half_interval_db": spread,
            "mean_error_db": texture,
            "n": len(out),
        }

    found["plain"] = distance("plain", plain.eval())
    for kind in ("autoregressive", "diffusion"):
        torch.manual_seed(0)
        options_ = {k: v for k, v in speaker.run.recipe.family.items() if k not in {"name", "decoder"}}
        model = FastSpeech(codec.spec, **options_, decoder=kind)  # type: ignore[arg-type]
        model.load_state_dict(plain.state_dict(), strict=False)
        extra = [p for name, p in model.named_parameters() if name not in dict(plain.named_parameters())]
        for p in model.parameters():
            p.requires_grad_(False)
        for p in extra:
            p.requires_grad_(True)
        optim = torch.optim.AdamW(extra, lr=2e-3)
        rng = Rng(0)
        began = time.process_time()
        for step in range(steps):
            for group in optim.param_groups:
                group["lr"] = 2e-3 * min(1, (step + 1) / 30) * (0.5 + 0.5 * np.cos(np.pi * step / steps))
            rows = rng.integers(len(train), 12)
            loss = model.loss(train.take(rows), rng).parts["residual"].mean()
            optim.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(extra, 1.0)
            optim.step()
        model.eval()
        minutes = (time.process_time() - began) / 60
        if kind == "diffusion":
            for temperature in (0.0, 0.5, 1.0):
                name = f"{kind}, temperature {temperature:g}"
                found[name] = distance(name, model, temperature=temperature)
        else:
            found[kind] = distance(kind, model)
        found[f"{kind} minutes"] = minutes
    assert cond is not None
    for name in list(each):  # sentence by sentence, what is above 0 is nearer than the autoregressive one
        gain = [a - b for a, b in zip(each["autoregressive"], each[name], strict=True)]
        half = 1.96 * statistics.stdev(gain) / len(gain) ** 0.5
        found[name]["nearer_than_autoregressive_db"] = [
            statistics.mean(gain) - half,
            statistics.mean(gain),
            statistics.mean(gain) + half,
        ]
    return found


def vocoders(speaker: Speaker, n: int) -> dict[str, Any]:
    """Copies of real recordings by way of their mel bands: log-spectral distance of 513 bins, and speed."""
    texts = sentences(n, ASKED + 9)
    names = [voices_of(speaker)[i % len(voices_of(speaker))] for i in range(n)]
    sounds = real(texts, names)
    codec = speaker.codec
    ways = {"griffin_lim": Speaker(speaker.run)} | ({"vocoder": speaker} if speaker.vocoder else {})
    out: dict[str, Any] = {}
    for name, who in ways.items():
        far, mel_far, spent, seconds = [], [], 0.0, 0.0
        for sound in sounds:
            x = torch.from_numpy(np.ascontiguousarray(sound.mono()))
            db = codec.mel_db(x)
            began = time.process_time()
            if who.vocoder is None:
                made = codec.wave(db)
            else:
                f0 = yin(x, codec.rate, codec.hop)[: db.shape[1]]
                made = who.vocoder.model.waves(db[None], f0[None])[0]  # type: ignore[operator]
            spent += time.process_time() - began
            seconds += len(x) / codec.rate
            m = min(len(made), len(x))
            a, b = (decibels(stft(y[:m].float(), codec.window, codec.hop).abs().square()).T for y in (made, x))
            floor = float(b.max()) - 60
            loud = b.max(1).values > floor + 10
            far.append(log_spectral_distance(a.clamp_min(floor)[loud], b.clamp_min(floor)[loud]))
            mel_far.append(
                log_spectral_distance(
                    codec.mel_db(made).T.clamp_min(-60)[: db.shape[1]], db.T.clamp_min(-60)[: len(codec.mel_db(made).T)]
                )
            )
        out[name] = {
            "log_spectral_distance_db": statistics.mean(far), "half_interval_db": 1.96 * statistics.stdev(far) / len(far) ** 0.5,
            "mel_distance_db": statistics.mean(mel_far), "processor_seconds_a_second": spent / seconds, "n": n,
        }  # fmt: skip
    return out


def letters() -> dict[str, Any]:
    """Sounds of words that the small model never saw, against espeak-ng's own."""
    import re
    from pydoc_data.topics import topics

    words = sorted({w for t in topics.values() for w in re.findall(r"\b[a-z]{2,}\b", t.lower())})
    said = espeak_phones([Clause((w,), ".") for w in words], "en-us")
    lexicon = {w: s for w, groups in zip(words, said, strict=True) if (s := tuple(p for g in groups for p in g))}
    order = Rng(0).permutation(len(lexicon)).tolist()
    names = list(lexicon)
    test, train = [names[i] for i in order[:300]], [names[i] for i in order[300:]]
    model = Letters.learn({w: lexicon[w] for w in train})
    bare = lambda s: [(hash(p.lstrip("',")),) for p in s]  # noqa: E731
    errors = [word_errors(bare(lexicon[w]), bare(model.sounds(w))) for w in test]
    value, low, high = bootstrap(errors, [len(lexicon[w]) for w in test])
    return {"sound_error_rate": 1 - value, "low": 1 - high, "high": 1 - low, "words": len(test), "trained_on": len(train),
            "words_right": sum(e == 0 for e in errors) / len(test)}  # fmt: skip


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options(
        "speech", __doc__, "--run runs/speech --vocoder runs/speech-vocoder", "--run runs/speech --only prosody"
    )
    parser.add_argument("--run", type=Path, default=Path("runs/speech"), help="of bottega train speech")
    parser.add_argument("--vocoder", type=Path, help="of bottega train speech-vocoder")
    parser.add_argument("--only", default="", help="parts, with commas between")
    parser.add_argument("--n", type=int, default=96, help="sentences")
    parser.add_argument("--ear-steps", type=int, default=5000)
    parser.add_argument("--ears", type=Path, help="a file that keeps the ears' weights, for another run of this")
    parser.add_argument("--decoder-steps", type=int, default=400)
    args = parser.parse_args(argv)
    speaker = Speaker.of(args.run, args.vocoder, "cpu")
    plain = Speaker(speaker.run)
    parts = {
        "letters": lambda ears: letters(),
        "vocoders": lambda ears: vocoders(speaker, min(args.n, 48)),
        "prosody": lambda ears: prosody(speaker, min(args.n, 48)),
        "spoken": lambda ears: spoken(ears, speaker, plain, args.n),
        "cloned": lambda ears: cloned(ears, speaker, 6),
        "converted": lambda ears: converted(ears, speaker, min(args.n, 48)),
        "decoders": lambda ears: decoders(speaker, min(args.n, 64), args.decoder_steps),
    }
    wanted = [p for p in args.only.split(",") if p] or list(parts)
    heard = {"spoken", "cloned", "converted"}
    ears = Ears(speaker, 1500, args.ear_steps, args.ears) if heard & set(wanted) else None
    for name in wanted:
        print("==", name, flush=True)
        by = {"ears": ears.about} if ears is not None and name in heard else {}
        keep("speech", {name: parts[name](ears) | by | {"run": told(speaker.run)}}, args, beside=True)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
