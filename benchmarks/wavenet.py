"""WaveNet: samples drawn with what each layer has seen kept, beside the naive loop that reads the past anew for each.

The naive loop is what the definition says: for each sample the network over all that it can see, the last output, a draw. Both
draw by the same uniform numbers, in float64 to compare the samples, in float32 to time them. Real time is how many
seconds of sound a second makes, at 8 kHz, of one row on one thread.

Pitch: a small WaveNet that is told one of several pitches learns sines of them at any phase, or with ``--overtones`` tones with two overtones
at any phase and level, and what it
then draws is measured: the highest peak of a long spectrum, in cents from the tone that was asked for. Tones
that answer another question must not pass: the same sounds are also held against the pitch of the next one asked.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks._common import keep, options
from bottega.codecs.audio import mu_law, mu_law_inverse
from bottega.core import Batch, Encoded, Rng, Spec
from bottega.core.measure import mean_interval, wilson
from bottega.data.stream import Stream
from bottega.families.wavenet import WaveNet
from bottega.nets.wave_loop import draw
from bottega.training.loop import fit
from bottega.training.optim import make_optims

RATE = 8000
SINES_HZ, TONES_HZ = (220.0, 330.0, 440.0), (220.0, 277.18, 330.0, 440.0)
TONE_RATE, TONE_LENGTH = 4000, 1024
CENTS = 20.0


class _Numbers(Rng):
    """A stream that draws from given uniform numbers ``(1, T, 2)``, in order."""

    def __init__(self, u: Tensor) -> None:
        super().__init__(0)
        self.u, self.at = u, 0

    def uniform(self, *shape: int) -> Tensor:
        """The next ``shape[1]``."""
        self.at += shape[1]
        return self.u[:, self.at - shape[1] : self.at]


@torch.no_grad()
def naive(model: WaveNet, u: Tensor, first: int = 0) -> tuple[Tensor, float]:
    """Samples ``(1, T)`` in [-1, 1], and seconds of each from ``first`` on."""
    known = model.wave.known(None, 1)
    x = torch.zeros(1, 1, 1, dtype=model.wave.head[0].weight.dtype)  # silence, then what was drawn
    begun = time.perf_counter()
    for t in range(u.shape[1]):
        begun = time.perf_counter() if t == first else begun
        seen = x[:, :, -model.wave.stack.reach - 1 :]
        frames = None
        if known is not None:
            at = torch.arange(t + 1 - seen.shape[2], t + 1).clamp(min=0) // model.hop
            frames = known[:, :, at.clamp(max=known.shape[2] - 1)]
        out = model.wave.head(model.wave.stack(seen, frames)[:, :, -1:])[:, :, 0]
        x = torch.cat([x, draw(out, u[:, t], model.spec.vocab).to(x.dtype)[:, None, None]], 2)
    return x[:, 0, 1:], (time.perf_counter() - begun) / max(1, u.shape[1] - first)


def speeds(args: argparse.Namespace) -> dict[str, Any]:
    """The kept loop beside the naive one, of both kinds of samples."""
    found: dict[str, Any] = {}
    for name, spec in {
        "mu-law": Spec((RATE,), vocab=256, ordinal=True),
        "16-bit mixture": Spec((1, RATE)),
    }.items():
        torch.manual_seed(0)
        model = WaveNet(spec, size=args.size).eval()
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.1 * torch.randn_like(p))
        u = torch.rand(1, RATE, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        few = u[:, : args.samples]
        exact = model.double()
        want = naive(exact, few)[0]
        made = exact.spec.as_real(exact.sample(1, _Numbers(few), length=args.samples)).reshape(1, -1)
        same = bool(torch.allclose(made.double(), want, atol=1e-6))
        model.float()
        late = min(args.samples - 50, model.wave.stack.reach + 1)  # from where the naive loop sees all it can
        _, seconds = naive(model, few, late)
        model.sample(1, _Numbers(u[:, :100]), length=100)  # compiled
        times, tensors = [], []
        for _ in range(args.rounds):
            begun = time.perf_counter()
            model.sample(1, _Numbers(u))
            times.append((time.perf_counter() - begun) / RATE)
            begun = time.perf_counter()
            model.sample(1, _Numbers(few), length=args.samples, compiled=False)
            tensors.append((time.perf_counter() - begun) / args.samples)
        kept, plain = sorted(times)[len(times) // 2], sorted(tensors)[len(tensors) // 2]
        found[name] = {
            "parameters": sum(p.numel() for p in model.parameters()), "sees": model.wave.stack.reach + 1, "same": same,
            "samples_compared": args.samples, "naive_ms": 1000 * seconds, "kept_by_tensors_ms": 1000 * plain,
            "kept_ms": 1000 * kept, "speed": seconds / kept, "speed_by_tensors": seconds / plain,
            "times_real_time": 1 / (kept * RATE), "wanted": {"speed": 50, "times_real_time": 1},
        }  # fmt: skip
        print(name, found[name], flush=True)
    return found


def tone(hz: float, rng: np.random.Generator, overtones: bool) -> np.ndarray:
    """Samples ``(TONE_LENGTH,)`` of a sine at 0.6, or of a tone and two overtones at most at 0.8."""
    at = np.arange(TONE_LENGTH) / TONE_RATE
    if not overtones:
        return np.asarray(0.6 * np.sin(math.tau * (hz * at + rng.random())), np.float32)
    wave = sum(a * np.sin(math.tau * (k * hz * at + rng.random())) for k, a in ((1, 1.0), (2, 0.3), (3, 0.1)))
    return np.asarray(rng.uniform(0.35, 0.55) * wave, np.float32)


def heard_hz(wave: np.ndarray) -> float:
    """The frequency of the highest peak of a spectrum of 65,536 bins, brought to a parabola's top."""
    part = wave[200:] * np.hanning(len(wave) - 200)  # the first samples follow silence
    spectrum = np.log(np.abs(np.fft.rfft(part, 1 << 16)) + 1e-12)
    k = int(spectrum[1:-1].argmax()) + 1
    a, b, c = spectrum[k - 1 : k + 2]
    return float((k + 0.5 * (a - c) / (a - 2 * b + c)) * TONE_RATE / (1 << 16))


def away(found_hz: Sequence[float], wanted_hz: Sequence[float]) -> dict[str, Any]:
    """Cents between what was heard and what was wanted."""
    cents = np.abs([1200 * math.log2(f / w) for f, w in zip(found_hz, wanted_hz, strict=True)])
    inside = float((cents <= CENTS).mean())
    mean, low, high = mean_interval(torch.tensor(cents))
    return {
        "within_20_cents": inside, "interval": [round(v, 4) for v in wilson(inside, len(cents))], "of": len(cents),
        "cents": round(mean, 2), "cents_interval": [round(low, 2), round(high, 2)],
        "median_cents": round(float(np.median(cents)), 2), "most_cents": round(float(cents.max()), 2),
    }  # fmt: skip


def pitches(steps: int, n: int, overtones: bool = False) -> dict[str, Any]:
    """Row D7: a WaveNet told the pitch, after ``steps`` of 8; ``n`` tones of each pitch."""
    rng = np.random.default_rng(0)
    pitch = TONES_HZ if overtones else SINES_HZ
    classes = len(pitch)
    real = [tone(pitch[i % classes], rng, overtones) for i in range(128)]
    label = torch.arange(128) % classes
    x = mu_law(torch.from_numpy(np.stack(real)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = WaveNet(
            Spec((TONE_LENGTH,), vocab=256, ordinal=True, cond=Spec((), vocab=classes)), size=24, layers=14, cycle=7
        )
    stream = Stream(Encoded(Batch(x, label)), 8)
    begun = time.process_time()
    fit(model, stream, make_optims(model, steps, {"lr": 3e-3}), steps=steps, rng=Rng(0))
    spent = time.process_time() - begun
    model.eval()
    with torch.no_grad():
        nats = -float(model.log_prob(Batch(x[:32], label[:32]), Rng(0)).mean()) / TONE_LENGTH
    asked = torch.arange(n * classes) % classes
    made = mu_law_inverse(model.sample(len(asked), Rng(5), asked, temperature=0.5)).numpy()
    heard, hz = [heard_hz(w) for w in made], [pitch[k] for k in asked.tolist()]
    own = away(heard, hz)
    others = away(heard, [*hz[1:], hz[0]])
    return {
        "of_the_tone_asked": own, "of_the_next_tone_asked": others,
        "real_tones": away([heard_hz(mu_law_inverse(r).numpy()) for r in x], [pitch[k] for k in label.tolist()]),
        "hz": list(pitch), "rate": TONE_RATE, "samples": TONE_LENGTH, "temperature": 0.5, "steps": steps,
        "nats_a_sample": round(nats, 4),
        "parameters": sum(p.numel() for p in model.parameters()), "processor_seconds": round(spent, 1),
        "wanted": "D7: +-20 cents", "reached": own["interval"][0] >= 0.8 and others["within_20_cents"] == 0,
    }  # fmt: skip


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("wavenet", __doc__, "", "--samples 300 --rounds 3", "--only pitch")
    parser.add_argument("--only", choices=("speed", "pitch"))
    parser.add_argument("--samples", type=int, default=1500, help="of the naive loop")
    parser.add_argument("--rounds", type=int, default=5, help="measured times of the kept loop, a second of sound each")
    parser.add_argument("--size", type=int, default=32, help="channels")
    parser.add_argument("--steps", type=int, default=300, help="of the training on tones")
    parser.add_argument("--overtones", action="store_true", help="tones in place of sines: harder to learn")
    parser.add_argument("--tones", type=int, default=10, help="drawn of each pitch")
    args = parser.parse_args(argv)
    if args.only != "pitch":
        keep("wavenet", speeds(args), args, beside=True)
    if args.only != "speed":
        name = "pitch_with_overtones" if args.overtones else "pitch"
        keep("wavenet", {name: pitches(args.steps, args.tones, args.overtones)}, args, beside=True)


if __name__ == "__main__":
    main()
