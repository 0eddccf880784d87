"""MusicVAE: a whole piece as one code, written bar by bar by a network that plans and one that plays."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.core.measure import Bound
from bottega.nets.condition import Condition, check_drop, no_picture

__all__ = ["MusicVAE"]


class MusicVAE(Family):
    """A variational autoencoder of token sequences with a hierarchical decoder (Roberts et al. 2018, arXiv:1803.05428).

    A bidirectional LSTM reads the piece, ``looks`` at its tokens' states (averages by learned attention, each of which begins at
    a place of its own) give ``q(z|x,c)``, Gaussian with diagonal covariance. Section 3.1 reads the last states only: after 500
    steps on tunes of two bars 59 % of the notes come back from those, 85 % from 16 looks. From ``z`` the conductor, an LSTM that is
    told only where it is, makes a vector for each part of ``segment`` tokens; the decoder, an LSTM, writes the tokens of a part
    from the conductor's vector and the token before, and begins each part with a state of its own (section 3.2), so that what
    spans parts must come through the code.

    Trained by minus the evidence lower bound with weight ``beta`` for the KL and ``free_bits`` for each latent number
    (section 3.1; Kingma et al. 2016, arXiv:1606.04934, app. C.8).

    Args:
        spec: ``Spec((L,), vocab=V)``: texts, music as tokens.
        size: the width of all networks; weights grow with its square.
        latent: numbers in a code.
        segment: tokens of a part; a bar, where each has as many.
        looks: how many averages of the tokens' states the code is read from; at most one for each token.
        beta: weight of the KL in the loss; ``log_prob`` always takes 1.
        free_bits: nats of KL for each latent number that cost nothing in the loss.
        word_dropout: how often the decoder's token before is hidden in training (Bowman et al. 2016, arXiv:1511.06349, section
            3.2), so that it asks the code.
        drop: how often ``cond`` is hidden in training, so that the model also works without it.

    Raises:
        SpecError: examples are no sequences of names.
        RecipeError: a number is out of range.
    """

    bound: Bound = "lower"
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "long parts": {"segment": 1000, "free_bits": 0.1, "word_dropout": 0.3}
    }

    def __init__(
        self, spec: Spec, *, size: int = 128, latent: int = 32, segment: int = 16, looks: int = 16,
        beta: float = 0.2, free_bits: float = 0.0, word_dropout: float = 0.0, drop: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__(spec)
        if min(size, latent, segment, looks) < 1 or min(beta, free_bits) < 0 or not 0 <= word_dropout < 1:
            raise RecipeError(
                f"size={size}, latent={latent}, segment={segment}, looks={looks}, beta={beta}, free_bits={free_bits}, "
                f"word_dropout={word_dropout}: at least 1, 1, 1, 1, 0, 0, and word_dropout in [0, 1)"
            )
        check_drop(drop)
        self.beta, self.free_bits, self.word_dropout, self.drop = beta, free_bits, word_dropout, drop
        self.segment = min(segment, spec.shape[0])
        self.parts = -(-spec.shape[0] // self.segment)
        self.latent = Spec((latent,))
        self.embed = nn.Embedding(spec.vocab + 1, size)  # the last one is the start, and what is hidden
        self.known = Condition(spec.cond, size if spec.cond else 0)
        self.encoder = nn.LSTM(size, size, batch_first=True, bidirectional=True)
        looks = min(looks, spec.shape[0])
        middles = (torch.arange(looks) + 0.5) * spec.shape[0] / looks
        away = (torch.arange(spec.shape[0])[:, None] + 0.5 - middles) * looks / spec.shape[0]
        self.look = nn.Linear(2 * size, looks)
        self.where = nn.Parameter(-0.5 * away.square())  # (L, looks): they begin side by side
        self.posterior_of = nn.Linear(2 * size * looks + self.known.width, 2 * latent)
        self.plan = nn.Linear(latent + self.known.width, 2 * size)
        self.place = nn.Parameter(0.1 * torch.randn(self.parts, size))
        self.conductor = nn.LSTM(size, size, batch_first=True)
        self.begin = nn.Linear(size, 2 * size)
        self.player = nn.LSTM(2 * size, size, batch_first=True)
        self.read = nn.Linear(size, spec.vocab)
        self.read.readout = True  # type: ignore[assignment]
        with torch.no_grad():
            for net in (self.encoder, self.conductor, self.player):
                net.bias_ih_l0[size : 2 * size] = 1.0  # forget gates begin open (Jozefowicz et al. 2015)
            self.encoder.bias_ih_l0_reverse[size : 2 * size] = 1.0

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Texts: sequences of tokens that are names."""
        if not spec.is_text:
            return "it codes texts and music as tokens; use vae for pictures, rows and piano rolls"
        if spec.given_text:
            return "a given text is more than it can be told; use seq2seq"
        return no_picture(spec)

    def posterior(self, batch: Batch, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of ``q(z | x, c)``, each ``(B, latent)``; padding is not read."""
        h = self.known(batch.cond, len(batch)) if h is None else h
        lengths = torch.full((len(batch),), batch.x.shape[1])
        if batch.mask is not None:
            lengths = batch.mask.expand(batch.x.shape).sum(1).clamp_min(1).cpu()
        packed = pack_padded_sequence(self.embed(batch.x), lengths, batch_first=True, enforce_sorted=False)
        with torch.autocast(batch.x.device.type, enabled=False):
            states, _ = self.encoder(packed.to(torch.float32) if packed.data.dtype == torch.bfloat16 else packed)
        states, _ = pad_packed_sequence(states, batch_first=True, total_length=batch.x.shape[1])  # (B, L, 2 size)
        unread = torch.arange(batch.x.shape[1], device=states.device) >= lengths[:, None].to(states.device)
        weight = (self.look(states) + self.where).masked_fill(unread[..., None], -torch.inf).softmax(1)
        seen = (weight.transpose(1, 2) @ states).flatten(1)
        mean, log_var = self.posterior_of(torch.cat([seen, h], 1)).float().chunk(2, 1)
        return mean, log_var.clamp(-12, 6)

    def _planned(self, z: Tensor, h: Tensor) -> Tensor:
        """The conductor's vectors, ``(B, latent) -> (B, parts, size)``."""
        state, cell = self.plan(torch.cat([z, h], 1)).tanh().chunk(2, 1)
        place = self.place.expand(len(z), -1, -1)
        out: Tensor = self.conductor(place, (state[None].contiguous(), cell[None].contiguous()))[0]
        return out

    def _logits(self, x: Tensor, z: Tensor, h: Tensor, hide: Tensor | None = None) -> Tensor:
        """Of each token given those of its part before it, the one before the part and ``z``: ``(B, L, vocab)``."""
        length = self.parts * self.segment
        before = F.pad(x[:, :-1], (1, 0), value=self.spec.vocab)
        if hide is not None:
            before = torch.where(hide, self.spec.vocab, before)
        before = F.pad(before, (0, length - x.shape[1]), value=self.spec.vocab).view(-1, self.segment)
        plan = self._planned(z, h).flatten(0, 1)  # (B * parts, size)
        state, cell = self.begin(plan).tanh().chunk(2, 1)
        inputs = torch.cat([self.embed(before), plan[:, None].expand(-1, self.segment, -1)], 2)
        out = self.player(inputs, (state[None].contiguous(), cell[None].contiguous()))[0]
        return self.read(out).float().view(len(x), length, -1)[:, : x.shape[1]]

    def _terms(self, batch: Batch, rng: Rng, *, training: bool) -> tuple[Tensor, Tensor]:
        """``-log p(x|z)`` of one draw, ``(B,)``, and the KL of each latent number, ``(B, latent)``; nats."""
        drop = rng.uniform(len(batch)) < self.drop if training and self.spec.cond is not None else None
        with torch.autocast(batch.x.device.type, enabled=False):  # oneDNN's recurrent layers want bfloat16 in hardware
            h = self.known(batch.cond, len(batch), drop)
            mean, log_var = self.posterior(batch, h)
            z = mean + (0.5 * log_var).exp() * rng.normal(*mean.shape)
            hide = rng.uniform(*batch.x.shape) < self.word_dropout if training and self.word_dropout else None
            logits = self._logits(batch.x, z, h, hide)
        nll = F.cross_entropy(logits.transpose(1, 2), batch.x, reduction="none")
        if batch.mask is not None:
            nll = nll.masked_fill(~batch.mask.expand(batch.x.shape), 0.0)
        return nll.sum(1), 0.5 * (mean.square() + log_var.exp() - log_var - 1)

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """``reconstruction`` and ``kl``, nats of a piece."""
        nll, kl = self._terms(batch, rng, training=True)
        return Terms({"reconstruction": nll, "kl": self.beta * kl.clamp_min(self.free_bits).sum(1)})

    @torch.no_grad()
    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """The ELBO with one draw, ``(B,)`` nats of the real tokens: a lower bound in expectation."""
        nll, kl = self._terms(batch, rng, training=False)
        return -nll - kl.sum(1)

    @torch.no_grad()
    def rate_distortion(self, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
        """Nats of the code (KL) and of the piece given it, ``(B,)`` each."""
        nll, kl = self._terms(batch, rng, training=False)
        return kl.sum(1), nll

    def encode(self, batch: Batch) -> Tensor:
        """The posterior's mean, ``(B, latent)``."""
        return self.posterior(batch)[0]

    @torch.no_grad()
    def decode(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        """The likeliest next token again and again: ``(B, latent) -> (B, L)``."""
        return self._written(z, cond, None, 1.0)

    @torch.no_grad()
    def sample(self, n: int, rng: Rng, cond: Tensor | None = None, *, temperature: float = 1.0) -> Tensor:
        """``(n, L)``: a code from the prior, then token by token; ``temperature`` divides the logits, 0 takes the likeliest.

        Raises:
            RecipeError: the temperature is negative.
        """
        if temperature < 0 or not math.isfinite(temperature):
            raise RecipeError(f"temperature is {temperature}; it must be at least 0, 1 is the model itself")
        z = rng.normal(n, self.latent.dims)
        return self._written(z, cond, rng if temperature else None, temperature)

    def _written(self, z: Tensor, cond: Tensor | None, rng: Rng | None, temperature: float) -> Tensor:
        plan = self._planned(z, self.known(cond, len(z)))
        token = torch.full((len(z),), self.spec.vocab, device=z.device)
        out: list[Tensor] = []
        state = None
        for t in range(self.spec.shape[0]):
            here = plan[:, t // self.segment]
            if t % self.segment == 0:
                h, c = self.begin(here).tanh().chunk(2, 1)
                state = (h[None].contiguous(), c[None].contiguous())
            step, state = self.player(torch.cat([self.embed(token), here], 1)[:, None], state)
            logits = self.read(step[:, 0]).float()
            token = logits.argmax(1) if rng is None else rng.categorical(logits / temperature)
            out.append(token)
        return torch.stack(out, 1)
