"""Deliberate faults: toy families with one thing wrong each, and wrong versions of the loop and its memory."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F

from bottega.core import CheckpointError, Terms
from bottega.training import checkpoint, loop
from toys import ToyChar, ToyFlow, ToyGAN, ToyTranslator, ToyVAE

# --- families --------------------------------------------------------------------------------------------------------


class BatchNormUndeclared(ToyVAE):
    def __init__(self, spec, *, size=8, latent=2):
        super().__init__(spec, size=size, latent=latent)
        self.norm = nn.BatchNorm1d(spec.dims, track_running_stats=False)

    def parts(self, batch, rng):
        return super().parts(replace(batch, x=self.norm(batch.x.flatten(1)).view_as(batch.x)), rng)


class GlobalNoiseInLoss(ToyVAE):
    def parts(self, batch, rng):
        mean, log_std = self.posterior(batch)
        out = self._decode(mean + log_std.exp() * torch.randn_like(mean), batch.cond)
        return ((batch.x.flatten(1) - out) ** 2).sum(1), (mean**2).sum(1)


class MeanTakenEarly(ToyVAE):
    def loss(self, batch, rng):
        return Terms({k: v.mean().expand(len(batch)) for k, v in super().loss(batch, rng).parts.items()})


class OneNumberForTheBatch(ToyVAE):
    def loss(self, batch, rng):
        return Terms({k: v.mean() for k, v in super().loss(batch, rng).parts.items()})


class LossWritesIntoTheBatch(ToyVAE):
    def loss(self, batch, rng):
        batch.x.mul_(0.5)
        return super().loss(batch, rng)


class LossKeepsAnAverage(ToyVAE):
    def __init__(self, spec, *, size=8, latent=2):
        super().__init__(spec, size=size, latent=latent)
        self.register_buffer("average", torch.zeros(()))

    def loss(self, batch, rng):
        self.average.lerp_(batch.x.mean(), 0.1)
        return super().loss(batch, rng)


class DeadParameter(ToyVAE):
    def __init__(self, spec, *, size=8, latent=2):
        super().__init__(spec, size=size, latent=latent)
        self.forgotten = nn.Linear(2, 2)


class TiedInTheState(ToyVAE):
    def __init__(self, spec, *, size=8, latent=2):
        super().__init__(spec, size=size, latent=latent)
        self.again = self.encoder


class PrecisionLost(ToyVAE):
    """A sum as a matrix product, which autocast rounds, and then a difference of large numbers."""

    def parts(self, batch, rng):
        nll, kl = super().parts(batch, rng)
        return F.linear(nll[:, None] + 64000, torch.ones(1, 1))[:, 0] - 64000, kl


class BoundSaidToBeExact(ToyVAE):
    bound = "exact"


class CodesDependOnNeighbours(ToyVAE):
    def encode(self, batch):
        z = super().encode(batch)
        return z - z.mean(0)


class FeaturesDependOnNeighbours(ToyVAE):
    def represent(self, batch):
        z = super().represent(batch)
        return z - z.mean(0)


class SharedDraw(ToyVAE):
    @torch.no_grad()
    def sample(self, n, rng, cond=None):
        z = torch.randn(n, *self.latent.shape, generator=rng.streams[0])
        return self._decode(z, cond).view(n, *self.spec.shape)


class OneDrawForAll(ToyVAE):
    @torch.no_grad()
    def sample(self, n, rng, cond=None):
        return self._decode(rng.normal(1, *self.latent.shape).expand(n, -1), cond).view(n, *self.spec.shape)


class StopsTogether(ToyVAE):
    """Draws again until every row is happy, so that a row's fate depends on the unhappiest."""

    @torch.no_grad()
    def sample(self, n, rng, cond=None):
        z = rng.normal(n, *self.latent.shape)
        while (z[:, 0] < 0).any():
            z = rng.normal(n, *self.latent.shape)
        return self._decode(z, cond).view(n, *self.spec.shape)


class GlobalNoiseInSample(ToyVAE):
    @torch.no_grad()
    def sample(self, n, rng, cond=None):
        return super().sample(n, rng, cond) + 0 * torch.randn(n, *self.spec.shape)


class DropoutInSample(ToyVAE):
    def _decode(self, z, cond):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return super()._decode(F.dropout(z, 0.5, self.training), cond)


class ConditionIgnoredInSample(ToyVAE):
    @torch.no_grad()
    def sample(self, n, rng, cond=None):
        return super().sample(n, rng)


class ConditionIgnoredInLoss(ToyVAE):
    def loss(self, batch, rng):
        return super().loss(replace(batch, cond=None), rng)


class ConditionNormalisedAway(ToyVAE):
    """A constant added to every channel just before the norm that subtracts it (found in a real network)."""

    def posterior(self, batch):
        known = self.known(batch.cond, len(batch)).mean(1, keepdim=True)
        x = F.layer_norm(batch.x.flatten(1) + known, (self.spec.dims,))
        return self.encoder(torch.cat([x, torch.zeros(len(x), self.known.width)], 1)).chunk(2, 1)

    def _decode(self, z, cond):
        return self.decoder(torch.cat([z, torch.zeros(len(z), self.known.width)], 1))


class UnknownIsTheFirstClass(ToyVAE):
    def loss(self, batch, rng):
        cond = None if batch.cond is None else batch.cond.clamp_min(0)
        return super().loss(replace(batch, cond=cond), rng)


class WeightOutsideTheState(ToyVAE):
    def __init__(self, spec, *, size=8, latent=2):
        super().__init__(spec, size=size, latent=latent)
        self.register_buffer("turned", torch.randn(latent, latent), persistent=False)

    def _decode(self, z, cond):
        return super()._decode(z @ self.turned, cond)


class AnnealingOutsideTheState(ToyVAE):
    seen = 0

    def settle(self, step):
        self.seen += 1

    def loss(self, batch, rng):
        nll, kl = self.parts(batch, rng)
        return Terms({"reconstruction": nll, "kl": kl * min(1.0, self.seen / 4)})


class GradientLeftBySample(ToyVAE):
    def sample(self, n, rng, cond=None):
        return self._decode(rng.normal(n, *self.latent.shape), cond).view(n, *self.spec.shape)


class SwallowsSettings(ToyVAE):
    def __init__(self, spec, *, size=8, **rest):
        super().__init__(spec, size=size)


class BuildsWhatItRefuses(ToyVAE):
    def __init__(self, spec, *, size=8):
        nn.Module.__init__(self)
        self.spec = spec


class VolumeForgotten(ToyFlow):
    def log_prob(self, batch, rng):
        return super().log_prob(batch, rng) - self.log_scale.sum() + 0.1


class SamplesTooWide(ToyFlow):
    @torch.no_grad()
    def sample(self, n, rng, cond=None):
        return self.decode(1.4 * rng.normal(n, self.spec.dims), cond)


class DecodeIsNoInverse(ToyFlow):
    def decode(self, z, cond=None):
        return super().decode(z + 0.01, cond)


class ScoresSeeNeighbours(ToyFlow):
    def log_prob(self, batch, rng):
        scores = super().log_prob(batch, rng)
        return scores - scores.logsumexp(0)


class CriticSeesTheBatch(ToyGAN):
    def judged(self, x, cond):
        return super().judged(x - x.mean(0), cond)


class NotNormalised(ToyChar):
    def nll(self, batch):
        return super().nll(batch) * 0.9


class PaddingCounts(ToyChar):
    def nll(self, batch):
        return super().nll(replace(batch, mask=None))


class GivenIsBlanked(ToyChar):
    """What is not to be said is not read either."""

    def nll(self, batch):
        return super().nll(batch if batch.mask is None else replace(batch, x=batch.x.masked_fill(~batch.mask, 0)))


class LooksAhead(ToyChar):
    """Teacher forcing without the shift: it sees the letter it must guess."""

    def logits(self, x, cond):
        return self.head(torch.tanh((self.letters(x) * (1 + self.places)).cumsum(1) + self.places))


class EditsWhatIsKept(ToyChar):
    @torch.no_grad()
    def edit(self, batch, keep, rng):
        return self.sample(len(batch), rng, batch.cond)


class TranslatesWhatIsThereAlready(ToyTranslator):
    @torch.no_grad()
    def translate(self, batch, cond, rng):
        return self.decode(self.encode(batch) + 0.1, cond)


class TranslatesByItsNeighbours(ToyTranslator):
    @torch.no_grad()
    def translate(self, batch, cond, rng):
        made = super().translate(batch, cond, rng)
        return made if batch.cond is None else torch.where((batch.cond == cond)[:, None], made, made - made.mean(0))


class StreamsSomethingElse(ToyChar):
    @torch.no_grad()
    def stream(self, n, rng, cond=None):
        rng.normal(n)
        yield from super().stream(n, rng, cond)

    @torch.no_grad()
    def sample(self, n, rng, cond=None):
        return torch.cat(list(super().stream(n, rng, cond)), 1)


class TokenOutOfRange(ToyChar):
    @torch.no_grad()
    def sample(self, n, rng, cond=None):
        return super().sample(n, rng, cond) + 1


# --- the loop --------------------------------------------------------------------------------------------------------


def _play(model, turn, batch, optim, rng, *, accum=1, clip=0.0, bf16=False, divide):
    """The loop's own in short, but for what the gradient is divided by: ``divide(terms of a piece, pieces, batch)``."""
    with loop.only(model, turn.player) as params:
        optim.zero_grad(set_to_none=True)
        pieces = batch.split(accum)
        for piece, noise in zip(pieces, rng.split(accum, len(batch)), strict=True):
            terms = turn.loss(piece, noise)
            (terms.total.sum() / divide(terms, pieces, batch)).backward()
        if dist.is_available() and dist.is_initialized():
            for p in params:
                if p.grad is not None:
                    dist.all_reduce(p.grad)
                    p.grad /= dist.get_world_size()
        optim.step()
    return terms


def mean_of_means(*args, **kwargs):
    return _play(*args, **kwargs, divide=lambda terms, pieces, batch: terms.count * len(pieces))


def sum_for_mean(*args, **kwargs):
    return _play(*args, **kwargs, divide=lambda terms, pieces, batch: 1.0)


def rows_for_weight(*args, **kwargs):
    return _play(*args, **kwargs, divide=lambda terms, pieces, batch: len(batch))


def mean_of_rank_means(model, turn, batch, optim, rng, *, accum=1, clip=0.0, bf16=False):
    """Right on one machine; each rank divides by its own count."""
    total = float(turn.loss(batch, rng.fork("count")).count)
    return _play(model, turn, batch, optim, rng, accum=accum, divide=lambda terms, pieces, batch: total)


@contextmanager
def nobody_held_still(model, player):
    yield list(model.get_submodule(player).parameters())


@contextmanager
def never_thawed(model, player):
    mine = {id(p) for p in model.get_submodule(player).parameters()}
    for p in model.parameters():
        p.requires_grad_(id(p) in mine)
    yield [p for p in model.parameters() if id(p) in mine]


def saved_before_the_average(model, batches, optims, *, steps, rng, start=0, ema=None, watch=None, play=loop.play):
    for step in range(start, steps):
        seen = [(t, play(model, t, next(batches), optims[t.player].at(step), rng, clip=1.0)) for t in model.turns()]
        model.settle(step)
        watch(step, seen)
        ema.update(model, step)
    return model


def learning_rate_starts_anew(model, batches, optims, *, steps, rng, start=0, ema=None, watch=None, play=loop.play):
    for step in range(start, steps):
        for t in model.turns():
            play(model, t, next(batches), optims[t.player].at(step - start), rng, clip=1.0)
        model.settle(step)
        ema.update(model, step)
        watch(step, [])
    return model


def ragged_split(self, pieces):
    """As chunk cuts, which gives fewer pieces than the random numbers were split for."""
    return [self.take(rows) for rows in torch.arange(len(self)).chunk(pieces)]


# --- memory ----------------------------------------------------------------------------------------------------------

_pack, _unpack = checkpoint.pack, checkpoint.unpack


def without(prefix):
    def pack(model, optims, ema, rng):
        return {k: v for k, v in _pack(model, optims, ema, rng).items() if not k.startswith(prefix)}

    def unpack(tensors, model, optims, ema, rng):
        _unpack({**_pack(model, optims, ema, rng), **tensors}, model, optims, ema, rng)

    return {(checkpoint, "pack"): pack, (checkpoint, "unpack"): unpack}


def average_in_the_order_of_the_file(tensors, model, optims, ema, rng):
    _unpack(tensors, model, optims, ema, rng)
    ema.shadow = {k.removeprefix("ema."): v.clone() for k, v in tensors.items() if k.startswith("ema.")}


def weights_rounded(path, tensors, header):
    rounded = {k: v.bfloat16().to(v.dtype) if v.is_floating_point() else v for k, v in tensors.items()}
    try:
        _save(path, rounded, header)
    except OSError as error:
        raise CheckpointError(str(error)) from error


_save = checkpoint.save
