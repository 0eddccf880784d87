"""WaveNet: sound sample by sample, each drawn given all that a stack of dilated causal convolutions sees before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms, Turn
from bottega.nets.band_plan import ORDER, BandPlan, Past
from bottega.nets.condition import Condition, check_drop, no_picture
from bottega.nets.dilated import DilatedStack
from bottega.nets.wave_loop import Loop, check_length, log_mixture, parts

__all__ = ["WaveNet"]

_REST = 16  # deviations of what a plan leaves that the scale of the samples has room for


class _Wave(nn.Module):
    """The network of the samples: the stack, what it is told, and the head, ``(n, 1, T) -> (n, outputs, T)``."""

    def __init__(
        self, spec: Spec, size: int, dilations: tuple[int, ...], outputs: int, steps: int, columns: int
    ) -> None:  # fmt: skip
        super().__init__()
        self.given = Condition(spec.cond, size)
        self.places = nn.Parameter(0.1 * torch.randn(size, steps)) if steps else None
        # what is planned of the steps around one says how the sound goes on within it
        self.planned = nn.Conv1d(columns, size, 3, padding=1) if columns else None
        told = steps or columns or spec.cond
        self.tell = nn.Linear(size, size) if told else None
        self.stack = DilatedStack(1, size, dilations, size if told else 0)
        hidden = max(2 * size, 64)
        read = nn.Conv1d(hidden, outputs, 1)
        with torch.no_grad():
            read.weight.mul_(0.1)
        read.readout = True  # type: ignore[assignment]
        self.head = nn.Sequential(nn.Conv1d(size, hidden, 1), nn.SiLU(), read)

    def known(
        self, cond: Tensor | None, n: int, drop: Tensor | None = None, plan: Tensor | None = None
    ) -> Tensor | None:
        """What every layer is told, ``(n, size, steps)`` or None; ``plan`` is ``(n, steps, columns)``."""
        if self.tell is None:
            return None
        known = self.given(cond, n, drop)[:, :, None]
        if self.places is not None:
            known = known + self.places
        if self.planned is not None and plan is not None:
            known = known + self.planned(BandPlan.scaled(plan).mT.to(known.dtype))
        return F.silu(self.tell(F.silu(known).mT).mT)

    def forward(self, x: Tensor, known: Tensor | None) -> Tensor:
        return self.head(self.stack(x, known))


class WaveNet(Family):
    """WaveNet (van den Oord et al. 2016, arXiv:1609.03499): ``log p(x) = sum_t log p(x_t | x_1 .. x_{t-1})``, exact.

    Examples are mu-law levels ``(T,)``, each a softmax over ``vocab`` (section 2.2), or waveforms ``(1, T)``, each sample
    16 bits of a mixture of logistics (van den Oord et al. 2018, arXiv:1711.10433, section 2; the density is the level's
    mass over its width). The network reads the sample itself, not a one-hot vector of its level. What is known of a
    piece (section 2.5) enters every layer, together with where in the piece a moment lies. That is enough for notes, and not for words,
    whose sounds follow one another over a time that the layers do not see. With ``bands`` a piece is planned first, how loud each band is
    in each step, given what is known; then its samples are made, given the plan (see ``nets.band_plan``), as the paper's speech is made
    from features that other networks tell (section 3.2). A plan also predicts each sample linearly from those before it and of a
    period ago, and the network has only to say what that leaves (Song, Byun and Kang 2019, arXiv:1811.04769: an excitation network): even noise in that
    place is a voice. The likelihood is then that of a piece and its plan, a lower bound.

    Sampling keeps what each layer has seen and costs the same for every sample (Le Paine et al. 2016, arXiv:1611.09482);
    where numba is installed it is a compiled loop, the same samples many times as fast.

    Args:
        spec: ``Spec((T,), vocab=k, ordinal=True)`` or ``Spec((1, T))``.
        size: channels inside; weights grow with its square.
        layers: of the stack.
        cycle: dilations double from 1 for so many layers and then begin again; each cycle of ``c`` sees ``2^c`` samples.
        mixtures: logistics of a sample, of waveforms only.
        place: samples in a step of the place within the piece, or of the plan; 0 tells no places.
        bands: of a plan, that is made in steps of ``place`` samples, of waveforms only; 0 makes none.
        drop: how often a row is trained without its condition, so that ``cond=None`` and guidance work, in [0, 1).
    """

    bound: Literal["exact"] = "exact"
    hears: ClassVar[bool] = True
    game: ClassVar[bool] = False
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "no place": {"place": 0, "cycle": 3, "layers": 6}, "steps": {"place": 5}, "planned": {"place": 16, "bands": 3}
    }  # fmt: skip

    def __init__(
        self, spec: Spec, *, size: int = 32, layers: int = 18, cycle: int = 9, mixtures: int = 5, place: int = 128,
        bands: int = 0, drop: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__(spec)
        if min(size, layers, cycle, mixtures) < 1 or min(place, bands) < 0:
            raise RecipeError(
                f"size={size}, layers={layers}, cycle={cycle}, mixtures={mixtures}, place={place}, bands={bands}: all must be "
                "at least 1, place and bands at least 0"
            )
        if bands and (place < ORDER or place % 4):
            raise RecipeError(
                f"place is {place}; a plan of bands has steps of 16 samples or more, a multiple of 4, such as 128"
            )
        if bands and spec.is_tokens:
            raise RecipeError(f"bands is {bands}; a plan is of waveforms, set codec.form = 'wave' or bands = 0")
        check_drop(drop)
        self.drop, self.length = drop, spec.shape[-1]
        self.hop = place or self.length
        dilations = tuple(2 ** (i % cycle) for i in range(layers))
        self.plan = BandPlan(self.length, place, bands, spec.cond) if bands else None
        if bands:
            self.bound = "lower"
        steps = -(-self.length // place) if place and not bands else 0
        self.wave = _Wave(
            spec, size, dilations, spec.vocab or 3 * mixtures, steps, self.plan.columns if self.plan else 0
        )
        # Middles spread over quiet samples, scales wide enough for loud ones; or for what a plan leaves.
        if not spec.is_tokens:
            middles = torch.linspace(-0.3, 0.3, mixtures) / (_REST if bands else 1)
            scales = torch.full((mixtures,), 0.0 if bands else 5.0)
            with torch.no_grad():
                self.wave.head[2].bias.copy_(torch.cat([torch.zeros(mixtures), middles, scales]))

    def turns(self) -> tuple[Turn, ...]:
        """A plan and the samples given it are learned apart, each at its own pace."""
        if self.plan is None:
            return (Turn("", self.loss),)
        return Turn("plan", self.plan_loss, repeat=2), Turn("wave", self.wave_loss)  # a plan is quick to read

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Sound: levels in order of time, or waveforms of one channel."""
        if spec.blocks or spec.is_tokens and not (spec.is_sequence and spec.ordinal):
            return "it draws samples of sound; use gpt for texts and rows of a table, pixelcnn for pictures"
        if not spec.is_tokens and not (len(spec.shape) == 2 and spec.shape[0] == 1):
            return "it draws samples of sound, levels (T,) or waveforms (1, T); set codec.form = 'mulaw' or 'wave'"
        return no_picture(spec)

    def _heard(self, batch: Batch, drop: Tensor | None) -> Tensor:
        """Nats of the samples, of a planned piece given its plan, ``(n,)``."""
        x = self.spec.as_real(batch.x).flatten(1)
        plan, shift = None, x.new_zeros(len(x))
        if self.plan is not None:
            plan = self.plan.measure(x)
            x, error = self.plan.left_of(x, plan)
            x, shift = x / _REST, (error * _REST).log().sum(1)
        known = self.wave.known(batch.cond, len(x), drop, plan)
        if known is not None and self.hop < self.length:  # a step is ``hop`` samples, the last one perhaps fewer
            known = known.repeat_interleave(self.hop, 2)[:, :, : self.length] if self.length % self.hop else known
        out = self.wave(F.pad(x[:, None, :-1], (1, 0)), known)
        if self.spec.is_tokens:
            return -F.cross_entropy(out.float(), batch.x, reduction="none").sum(1)
        return log_mixture(out.mT, x).sum(1) - shift

    def _planned(self, batch: Batch, drop: Tensor | None, rng: Rng | None = None) -> Tensor:
        """Nats of the plan, ``(n,)``; with ``rng`` as in training."""
        assert self.plan is not None
        plan = self.plan.measure(self.spec.as_real(batch.x).flatten(1))
        return self.plan.log_prob(plan, batch.cond, drop, rng)

    def _drop(self, batch: Batch, rng: Rng) -> Tensor | None:
        return rng.uniform(len(batch)) < self.drop if self.spec.cond else None

    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """Log probability of levels, or log-density of waveforms, in nats, ``(B,)``, with a plan those of both; ``rng`` is not drawn from."""
        return self._heard(batch, None) + (0 if self.plan is None else self._planned(batch, None))

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """Negative log probability (density) in nats, with a plan its own beside it."""
        drop = self._drop(batch, rng)
        terms = Terms({"nll": -self._heard(batch, drop)})
        return terms if self.plan is None else terms | {"plan": -self._planned(batch, drop, rng)}

    def wave_loss(self, batch: Batch, rng: Rng) -> Terms:
        """The samples' part of ``loss``."""
        return Terms({"nll": -self._heard(batch, self._drop(batch, rng))})

    def plan_loss(self, batch: Batch, rng: Rng) -> Terms:
        """The plan's part of ``loss``."""
        return Terms({"plan": -self._planned(batch, self._drop(batch, rng), rng)})

    @torch.no_grad()
    def sample(
        self, n: int, rng: Rng, cond: Tensor | None = None, *, temperature: float = 1.0, guidance: float = 1.0,
        length: int = 0, compiled: bool = True,
    ) -> Tensor:  # fmt: skip
        """New pieces ``(n, *spec.shape)``.

        Args:
            n: how many.
            rng: two uniform numbers for each sample.
            cond: ``(n, *spec.cond.shape)`` or None.
            temperature: logits are divided by it, scales multiplied; below 1 is more typical, and duller.
            guidance: outputs are pushed from the unconditional ones so many times (Ho & Salimans 2022, arXiv:2207.12598);
                1 is the model itself.
            length: samples of a piece, in place of the training's.
            compiled: False draws the same with tensors, which is much slower.
        """
        return torch.cat(list(self._parts(n, rng, cond, temperature, guidance, compiled, length)), -1)

    @torch.no_grad()
    def stream(
        self, n: int, rng: Rng, cond: Tensor | None = None, *, temperature: float = 1.0, guidance: float = 1.0,
        length: int = 0, compiled: bool = True,
    ) -> Iterator[Tensor]:  # fmt: skip
        """Parts of the pieces as they are made, along the last axis; one behind the other they are ``sample``'s."""
        yield from self._parts(n, rng, cond, temperature, guidance, compiled, length)

    @torch.no_grad()
    def edit(
        self, batch: Batch, keep: Tensor, rng: Rng, *, temperature: float = 1.0, guidance: float = 1.0,
        compiled: bool = True,
    ) -> Tensor:  # fmt: skip
        """Go on with pieces: samples where ``keep`` is True stay, the others are drawn given all before them."""
        kept = (batch.x, keep.expand_as(batch.x))
        return torch.cat(list(self._parts(len(batch), rng, batch.cond, temperature, guidance, compiled, 0, kept)), -1)

    def _parts(
        self, n: int, rng: Rng, cond: Tensor | None, temperature: float, guidance: float, compiled: bool,
        length: int, kept: tuple[Tensor, Tensor] | None = None,
    ) -> Iterator[Tensor]:  # fmt: skip
        if not temperature > 0:
            raise RecipeError(f"temperature is {temperature}; it must be above 0, 1 is the model itself")
        check_length(length)
        length = length or self.length
        real = None
        if kept is not None:
            real = self.spec.as_real(kept[0]).reshape(n, -1).float(), kept[1].reshape(n, -1)
        plan = None
        if self.plan is not None:
            plan = self.plan.draw(
                n, rng, cond, temperature, guidance, None if real is None else self._kept_steps(*real)
            )
        free = self.wave.known(None, n, None, plan) if cond is not None and self.spec.cond is not None else None
        loop = Loop(
            self.wave.stack, self.wave.head, n, self.wave.known(cond, n, None, plan), free, self.hop, self.spec.vocab, temperature, guidance, compiled
        )  # fmt: skip
        rest = None  # what the plan leaves of what is kept
        if self.plan is not None and plan is not None and real is not None:
            rest = (self.plan.left_of(real[0].double(), plan)[0] / _REST).float()
        past = Past.silence(n)
        for part in parts(length):
            u = rng.uniform(n, part.stop - part.start, 2).double()
            given = None if real is None else (real[0][:, part], real[1][:, part])
            if self.plan is None or plan is None:
                made = loop.more(u, given).to(u.device)
            else:  # the network says what the plan does not
                told = None if rest is None or given is None else (rest[:, part], given[1])
                said = loop.more(u, told).cpu().double() * _REST
                stays = None if given is None else (given[0].cpu().double(), given[1].cpu())
                made, past = self.plan.sound_of(said, plan, part, past, stays)
                made = made.clamp(-1, 1).to(u.device, torch.float32)
            if self.spec.is_tokens:
                yield self.spec.as_tokens(made)
            else:
                yield (
                    made[:, None]
                    if kept is None
                    else torch.where(kept[1][..., part], kept[0][..., part], made[:, None])
                )

    def _kept_steps(self, x: Tensor, stays: Tensor) -> tuple[Tensor, Tensor]:
        """The plan of what is kept, and of which steps it is known: all samples stay that are heard in them, ``(n, steps)``."""
        assert self.plan is not None
        gone = F.pad((~stays).float()[:, None], (self.hop, self.plan.steps * self.hop - self.length))
        return self.plan.measure(x), F.max_pool1d(gone, 2 * self.hop, self.hop)[:, 0] == 0
