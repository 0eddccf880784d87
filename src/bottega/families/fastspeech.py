"""FastSpeech: speech from its sounds, all frames at once, with durations, F0 and energy that may be moved by hand."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.nets.convnext import Stack
from bottega.nets.pitch import LEAST, SEMITONE, UNVOICED

__all__ = ["FastSpeech", "Plan"]

_EXTRA = 3  # rows below the mel bands: F0, energy, place
_SHARP = 15.0  # of the cosines that say which voice it is
_WEIGHTS = {"mel": 10.0, "residual": 1.0, "duration": 1.0, "pitch": 3.0, "voiced": 0.3, "energy": 1.0, "voice": 0.2, "heard": 0.3}  # fmt: skip


class Plan(NamedTuple):
    """How sounds are to be said, each ``(B, length)``.

    Attributes:
        frames: how long, real numbers; rounded where they add up.
        pitch: scaled log F0 (``nets.pitch``).
        voiced: probabilities.
        energy: level, as the example's row has it.
    """

    frames: Tensor
    pitch: Tensor
    voiced: Tensor
    energy: Tensor


class FastSpeech(Family):
    """FastSpeech 2 (Ren et al. 2021, arXiv:2006.04558) with the mean F0 and energy of each sound (FastPitch: Łańcucki 2021).

    An encoder reads the sounds; predictors say how long each is, how high and how loud; its code, repeated for its frames, goes
    through a decoder to mel bands. Bodies are ConvNeXt blocks instead of attention, which one core trains in minutes. A
    voice is a unit vector: of a voice seen in training one that was learned, of any other what a network hears in a recording
    (trained to tell voices by cosines, as Wan et al. 2018, arXiv:1710.10467; in half of the rows the decoder is given that,
    so voices can be cloned). A second network hears which sound each frame is, so that a recording can be said again in
    another voice (``convert``).

    Args:
        spec: ``Spec((1, mels + 3, frames), cond=Spec((length,), vocab=V))`` as the codec ``speech`` makes it.
        size: channels inside; weights grow with its square.
        depth: blocks of the decoder; the encoder and the ear have three fifths.
        kernel: frames that a block's convolution sees, odd.
        voice: numbers of a voice.
        decoder: ``"plain"``: absolute error; ``"diffusion"``: a flow from noise to what is left over of the plain one's
            (rectified flow, Liu et al. 2023, arXiv:2209.03003; the plan of Grad-TTS, Popov et al. 2021, arXiv:2105.06337: from the decoder's
            mel to the real one); ``"autoregressive"``: frame by frame, each from the one before (Tacotron's decoder, Wang et al.
            2017, with known durations).
        range_db: decibels between -1 and 1 of mel bands; the codec's.
    """

    certain: bool = True
    hears: ClassVar[bool] = True
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "autoregressive": {"decoder": "autoregressive"}, "diffusion": {"decoder": "diffusion"}
    }  # fmt: skip

    def __init__(
        self,
        spec: Spec,
        *,
        size: int = 128,
        depth: int = 5,
        kernel: int = 7,
        voice: int = 64,
        decoder: Literal["plain", "diffusion", "autoregressive"] = "plain",
        range_db: float = 80.0,
    ) -> None:
        super().__init__(spec)
        if min(size, depth, voice) < 1 or kernel < 1 or kernel % 2 == 0 or range_db <= 0:
            raise RecipeError(f"size={size}, depth={depth}, voice={voice}, kernel={kernel}, range_db={range_db}: all above 0, the kernel odd")  # fmt: skip
        if decoder not in {"plain", "diffusion", "autoregressive"}:
            raise RecipeError(f"decoder is {decoder!r}; use 'plain', 'diffusion' or 'autoregressive'")
        assert spec.cond is not None
        self.mels, self.frames, self.length, vocab = (
            spec.shape[1] - _EXTRA,
            spec.shape[2],
            spec.cond.dims,
            spec.cond.vocab,
        )
        self.decoder, self.range_db, self.end = decoder, range_db, vocab - 1
        self.certain = decoder != "diffusion"
        fewer = max(1, 3 * depth // 5)
        self.embed = nn.Embedding(vocab, size)
        self.encoder = Stack(size, fewer, 5)
        self.voices = nn.Embedding(vocab, voice)
        nn.init.normal_(self.voices.weight, std=voice**-0.5)
        self.guess = Stack(size, 2, 5, voice)
        self.say = nn.Linear(size, 4)
        self.prosody = nn.Linear(6, size)  # pitch, voiced, energy; where in the sound a frame lies, from both ends
        self.body = Stack(size, depth, kernel, voice)
        self.out = nn.Linear(size, self.mels)
        self.out.readout = self.say.readout = True  # type: ignore[assignment]
        self.hear_in, self.ear, self.hear_out = (
            nn.Linear(self.mels, size),
            Stack(size, fewer, 5),
            nn.Linear(size, vocab),
        )
        self.voice_in, self.listen, self.voice_out = (
            nn.Linear(self.mels, size),
            Stack(size, 2, 5),
            nn.Linear(2 * size, voice),
        )
        if decoder == "diffusion":
            self.mix = nn.Linear(2 * self.mels + size, size)
            self.noise = Stack(size, depth, kernel, 33)
            self.clean = nn.Linear(size, self.mels)
            self.spread = 0.25  # of what is left over, about; so that it is of one size with the noise
        if decoder == "autoregressive":
            self.before = nn.Sequential(nn.Linear(self.mels, size), nn.SiLU(), nn.Linear(size, size))
            self.step = nn.GRU(2 * size, 2 * size, batch_first=True)
            self.frame = nn.Linear(2 * size, self.mels)

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Speech with its sounds."""
        if not spec.given_text:
            return "it says a given text; use the codec speech"
        if not spec.is_image or spec.is_tokens or spec.shape[0] != 1 or spec.shape[1] < _EXTRA + 2:
            return "it makes mel bands with F0, energy and places, (1, mels + 3, frames); use the codec speech"
        return ""

    # ---- parts -----------------------------------------------------------------------------------------------------

    def _real(self, cond: Tensor) -> Tensor:
        """Which tokens are sounds, ``(B, length, 1)``: neither the voice, which comes first, nor the end."""
        real = (cond != self.end).to(self.out.weight.dtype)
        real[:, 0] = 0
        return real[:, :, None]

    def _places(self, x: Tensor) -> Tensor:
        """Which token each frame says, int64 ``(B, T)``; 0 is none."""
        return ((x[:, 0, self.mels + 2] + 1) * (self.length / 2)).round().long().clamp(0, self.length - 1)

    def _voice_of(self, mel: Tensor, mask: Tensor) -> Tensor:
        """``(B, T, mels)`` -> unit vectors ``(B, voice)``."""
        h = self.listen(self.voice_in(mel), mask)
        count = mask.sum(1).clamp_min(1)
        mean = h.sum(1) / count
        spread = (((h - mean[:, None]) * mask).square().sum(1) / count + 1e-5).sqrt()
        return F.normalize(self.voice_out(torch.cat([mean, spread], 1)), dim=1)

    def _hear(self, mel: Tensor, mask: Tensor) -> Tensor:
        """``(B, T, mels)`` -> log probabilities of tokens ``(B, T, vocab)``; the colour of the voice is taken off first."""
        count = mask.sum(1, keepdim=True).clamp_min(1)
        mean = (mel * mask).sum(1, keepdim=True) / count
        spread = (((mel - mean) * mask).square().sum((1, 2), keepdim=True) / count / self.mels + 1e-4).sqrt()
        return self.hear_out(self.ear(self.hear_in((mel - mean) / spread), mask)).float().log_softmax(-1)

    def _code(self, cond: Tensor) -> tuple[Tensor, Tensor]:
        mask = self._real(cond)
        return self.encoder(self.embed(cond), mask), mask

    def _guessed(self, code: Tensor, mask: Tensor, voice: Tensor) -> Tensor:
        """Log of one more than the frames, pitch, logit of voiced, energy: ``(B, length, 4)``."""
        return self.say(self.guess(code, mask, voice)).float()

    def _spoken(self, code: Tensor, places: Tensor, plan: Plan, voice: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The decoder's mel ``(B, T, mels)``, its last layer and the mask of frames."""
        there = places > 0
        mask = there[:, :, None].to(code.dtype)
        which = F.one_hot(places, self.length) * there[:, :, None]  # (B, T, length)
        rank = (which.cumsum(1) * which).sum(2) - 0.5
        count = which.sum(1).gather(1, places)
        inside = torch.stack([rank / count.clamp_min(1), rank / 8, (count - rank) / 8], 2) * mask
        given = torch.stack([plan.pitch * plan.voiced, plan.voiced, plan.energy], 2)
        rows = places[:, :, None]
        h = code.gather(1, rows.expand(-1, -1, code.shape[2]))
        told = torch.cat([given.gather(1, rows.expand(-1, -1, 3)), inside.to(code.dtype)], 2)
        h = self.body(h + self.prosody(told.to(code.dtype)), mask, voice)
        return self.out(h), h, mask

    # ---- training --------------------------------------------------------------------------------------------------

    def _means(self, x: Tensor, places: Tensor) -> Plan:
        """What each sound's frames are and have on average."""
        there = places > 0
        count = torch.zeros(len(x), self.length, device=x.device).scatter_add(1, places, there.float())
        pitch, energy = x[:, 0, self.mels], x[:, 0, self.mels + 1]
        voiced = ((pitch > (UNVOICED + LEAST) / 2) & there).float()

        def summed(what: Tensor) -> Tensor:
            return torch.zeros_like(count).scatter_add(1, places, what)

        many = summed(voiced)
        return Plan(
            count, summed(pitch * voiced) / many.clamp_min(1), (2 * many > count).float(),
            summed(energy * there) / count.clamp_min(1),
        )  # fmt: skip

    def _trimmed(self, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
        x, cond = batch.x, batch.cond
        if cond is None:
            cond = torch.full((len(x), self.length), self.end, device=x.device)
        if rng.per_row:
            return x, cond
        last = int((self._places(x) > 0).any(0).nonzero().max().item()) + 1 if (self._places(x) > 0).any() else 1
        return x[..., : min(self.frames, -(-last // 32) * 32)], cond

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """Absolute errors of mel bands, squared ones of log durations, pitch and energy; nats of voice and sounds."""
        n = len(batch)
        heard, seed = rng.uniform(n) < 0.5, rng.fork("decoder")
        x, cond = self._trimmed(batch, rng)
        places = self._places(x)
        mel = x[:, 0, : self.mels].mT
        mask = (places > 0)[:, :, None].to(mel.dtype)
        code, real = self._code(cond)
        truth = self._means(x, places)
        vector = self._voice_of(mel, mask)
        named = F.normalize(self.voices(cond[:, 0]), dim=1)
        voice = torch.where(heard[:, None], vector, named)
        guess = self._guessed(code, real, voice)
        made, h, _ = self._spoken(code, places, truth, voice)
        tokens, frames = real.sum((1, 2)).clamp_min(1), mask.sum((1, 2)).clamp_min(1)

        def over(what: Tensor, weight: Tensor) -> Tensor:
            return (what * weight).sum(1) / weight.sum(1).clamp_min(1)

        sure = real[:, :, 0] * truth.voiced
        said = real[:, :, 0] * (truth.frames > 0)
        parts = {"mel": ((made - mel).abs() * mask).sum((1, 2)) / frames / self.mels}
        if self.decoder == "diffusion":
            parts["residual"] = self._flow_loss(made.detach(), mel, h, mask, seed) / frames / self.mels
        if self.decoder == "autoregressive":
            parts["residual"] = 10 * ((self._next(mel, h, seed) - mel).abs() * mask).sum((1, 2)) / frames / self.mels
        parts["duration"] = ((guess[:, :, 0] - truth.frames.log1p()).square() * real[:, :, 0]).sum(1) / tokens
        parts["pitch"] = over((guess[:, :, 1] - truth.pitch).square(), sure)
        parts["voiced"] = over(F.binary_cross_entropy_with_logits(guess[:, :, 2], truth.voiced, reduction="none"), said)
        parts["energy"] = over((guess[:, :, 3] - truth.energy).square(), said)
        cosines = vector @ F.normalize(self.voices.weight, dim=1).mT
        parts["voice"] = F.cross_entropy(_SHARP * cosines.float(), cond[:, 0], reduction="none")
        target = cond.gather(1, places)
        nats = -self._hear(mel, mask).gather(2, target[:, :, None])[:, :, 0]
        parts["heard"] = (nats * mask[:, :, 0]).sum(1) / frames
        return Terms({name: _WEIGHTS[name] * value for name, value in parts.items()})

    # ---- decoders of more than a mean --------------------------------------------------------------------------------

    def _time(self, t: Tensor) -> Tensor:
        """Moments in [0, 1] as ``(B, 33)``: themselves and 16 waves of each kind."""
        waves = t[:, None] * math.pi * 2 ** torch.linspace(0, 6, 16, device=t.device)
        return torch.cat([t[:, None], waves.sin(), waves.cos()], 1)

    def _cleaned(self, z: Tensor, t: Tensor, made: Tensor, h: Tensor, mask: Tensor) -> Tensor:
        told = self.mix(torch.cat([z, made, h], 2))
        return self.clean(self.noise(told, mask, self._time(t)))

    def _flow_loss(self, made: Tensor, mel: Tensor, h: Tensor, mask: Tensor, rng: Rng) -> Tensor:
        t = rng.uniform(len(mel))
        noise = rng.normal(len(mel), self.frames, self.mels)[
            :, : mel.shape[1]
        ]  # what is drawn knows nothing of other rows
        left = (mel - made) / self.spread
        z = (t[:, None, None] * left + (1 - t[:, None, None]) * noise) * mask
        found = self._cleaned(z, t, made, h, mask)
        weight = 1 / (1 - t + 0.1)  # between errors of what is clean (1) and of the speed (1 / (1 - t)^2)
        return weight * ((found - left).square() * mask).sum((1, 2))

    def _flowed(self, made: Tensor, h: Tensor, mask: Tensor, rng: Rng, steps: int, temperature: float) -> Tensor:
        z = temperature * rng.normal(len(made), made.shape[1], self.mels) * mask
        for k in range(steps):
            t = torch.full((len(made),), k / steps, device=made.device)
            clean = self._cleaned(z, t, made, h, mask)
            z = (z + (clean - z) / (1 - k / steps) / steps) * mask
        return made + self.spread * z

    def _next(self, mel: Tensor, h: Tensor, rng: Rng) -> Tensor:
        """Each frame from the real one before it, of which half the numbers are forgotten (Wang et al. 2017, section 3.3)."""
        seen = self.before(F.pad(mel[:, :-1], (0, 0, 1, 0)))
        keep = rng.uniform(len(mel), self.frames, seen.shape[2])[:, : mel.shape[1]] < 0.5
        return self.frame(self.step(torch.cat([2 * seen * keep, h], 2))[0])

    def _one_by_one(self, h: Tensor) -> Tensor:
        frame, state, out = h.new_zeros(len(h), 1, self.mels), None, []
        for k in range(h.shape[1]):
            y, state = self.step(torch.cat([self.before(frame), h[:, k : k + 1]], 2), state)
            frame = self.frame(y).clamp(-1, 1)
            out.append(frame)
        return torch.cat(out, 1)

    # ---- use -------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def said(self, x: Tensor) -> Plan:
        """How the sounds of examples ``(B, *spec.shape)`` were said: the plan that ``speak`` says them again by."""
        return self._means(x, self._places(x))

    @torch.no_grad()
    def plan(self, cond: Tensor, voice: Tensor | None = None) -> Plan:
        """How the tokens ``(B, length)`` would be said; ``voice`` ``(B, voice)`` stands for that of the first token."""
        code, real = self._code(cond)
        voice = F.normalize(self.voices(cond[:, 0]), dim=1) if voice is None else voice
        guess = self._guessed(code, real, voice)
        frames = guess[:, :, 0].clamp(max=math.log(self.frames + 1)).expm1().clamp_min(0) * real[:, :, 0]
        return Plan(frames, guess[:, :, 1], (guess[:, :, 2] > 0).float(), guess[:, :, 3])

    @torch.no_grad()
    def speak(
        self,
        cond: Tensor,
        plan: Plan,
        rng: Rng,
        voice: Tensor | None = None,
        *,
        steps: int = 8,
        temperature: float = 0.5,
    ) -> Tensor:
        """Tokens ``(B, length)`` said as planned, ``(B, *spec.shape)``; what would last too long is said faster."""
        voice = F.normalize(self.voices(cond[:, 0]), dim=1) if voice is None else voice
        code, _ = self._code(cond)
        total = plan.frames.sum(1, keepdim=True)
        ends = (plan.frames * (self.frames / total.clamp_min(1e-9)).clamp(max=1)).cumsum(1).round().long()
        at = torch.arange(self.frames, device=cond.device)
        places = torch.searchsorted(ends, at.expand(len(cond), -1).contiguous(), right=True)
        places = torch.where(at < ends[:, -1:], places.clamp(max=self.length - 1), 0)
        made, h, mask = self._spoken(code, places, plan, voice)
        if self.decoder == "diffusion":
            made = self._flowed(made, h, mask, rng, steps, temperature)
        if self.decoder == "autoregressive":
            made = self._one_by_one(h)
        out = torch.full((len(cond), *self.spec.shape), -1.0, device=cond.device)
        there = places > 0
        out[:, 0, : self.mels] = torch.where(there[:, None], made.float().mT.clamp(-1, 1), -1.0)
        pitch = torch.where(plan.voiced > 0.5, plan.pitch.clamp(LEAST, 1), UNVOICED).gather(1, places)
        out[:, 0, self.mels] = torch.where(there, pitch, UNVOICED)
        out[:, 0, self.mels + 1] = torch.where(there, plan.energy.clamp(-1, 1).gather(1, places), -1.0)
        out[:, 0, self.mels + 2] = places * (2 / self.length) - 1
        return out

    def moved(
        self, plan: Plan, cond: Tensor, *, speed: float = 1.0, pitch: float = 0.0, pitch_range: float = 1.0, energy: float = 0.0
    ) -> Plan:  # fmt: skip
        """A plan said faster, higher (semitones), with more of a melody (times), louder (dB)."""
        sure = plan.voiced * self._real(cond)[:, :, 0]
        middle = (plan.pitch * sure).sum(1, keepdim=True) / sure.sum(1, keepdim=True).clamp_min(1)
        higher = middle + pitch_range * (plan.pitch - middle) + SEMITONE * pitch
        return Plan(plan.frames / speed, higher, plan.voiced, plan.energy + 2 * energy / self.range_db)

    @torch.no_grad()
    def sample(
        self, n: int, rng: Rng, cond: Tensor | None = None, *, speed: float = 1.0, pitch: float = 0.0, pitch_range: float = 1.0,
        energy: float = 0.0, steps: int = 8, temperature: float = 0.5, voice: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Speech ``(n, *spec.shape)``; of nothing comes nothing: silence of no length.

        Args:
            n: how many.
            rng: drawn from by the diffusion decoder only.
            cond: tokens ``(n, length)``.
            speed: times as fast as predicted, above 0.
            pitch: semitones higher.
            pitch_range: times the melody's range.
            energy: dB louder.
            steps: of the diffusion decoder.
            temperature: of its noise; 0 is the mean.
            voice: ``(n, voice)`` unit vectors that stand for the voice that ``cond`` names.
        """
        if not speed > 0 or steps < 1:
            raise RecipeError(f"speed={speed}, steps={steps}: give a speed above 0, and at least one step")
        if cond is None:
            cond = torch.full((n, self.length), self.end, device=self.out.weight.device)
        plan = self.moved(
            self.plan(cond, voice), cond, speed=speed, pitch=pitch, pitch_range=pitch_range, energy=energy
        )
        return self.speak(cond, plan, rng, voice, steps=steps, temperature=temperature)

    @torch.no_grad()
    def represent(self, batch: Batch) -> Tensor:
        """The voices of recordings as unit vectors ``(B, voice)``."""
        mask = (self._places(batch.x) > 0)[:, :, None].to(self.out.weight.dtype)
        return self._voice_of(batch.x[:, 0, : self.mels].mT, mask)

    @torch.enable_grad()
    def nearer(self, x: Tensor, cond: Tensor, voice: Tensor, steps: int = 40, rate: float = 0.03) -> Tensor:
        """A voice ``(1, D)`` moved so that what the decoder says of examples comes nearer to what they are, all weights still.

        Speaker adaptation by the embedding alone (Arik et al. 2018, arXiv:1802.06006, section 3.1): ``steps`` of Adam on the
        absolute error of mel bands, on the unit sphere.
        """
        places, plan, mel = self._places(x), self.said(x), x[:, 0, : self.mels].mT
        mask = (places > 0)[:, :, None].to(mel.dtype)
        with torch.no_grad():
            code, _ = self._code(cond)
        moved = voice.detach().clone().requires_grad_(True)
        optim = torch.optim.Adam([moved], lr=rate)
        for _ in range(steps):
            unit = F.normalize(moved, dim=1).expand(len(x), -1)
            error = ((self._spoken(code, places, plan, unit)[0] - mel).abs() * mask).sum() / mask.sum().clamp_min(1)
            (moved.grad,) = torch.autograd.grad(error, [moved])
            optim.step()
        return F.normalize(moved.detach(), dim=1)

    @torch.no_grad()
    def hear(self, x: Tensor) -> Tensor:
        """Which token each frame is, log probabilities ``(B, T, vocab)``; of ``x`` only its mel bands and its end are looked at."""
        mask = (self._places(x) > 0)[:, :, None].to(self.out.weight.dtype)
        return self._hear(x[:, 0, : self.mels].mT, mask)
