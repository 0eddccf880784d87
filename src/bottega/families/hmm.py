"""Hidden Markov model: a state that nobody sees moves, and each state writes a token."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.core.measure import Bound
from bottega.nets.text_encoder import mean_of_real
from bottega.samplers.tokens import pick

__all__ = ["HMM"]


class HMM(Family):
    """``p(x) = sum over paths s of p(s_1) p(x_1 | s_1) prod p(s_i | s_{i-1}) p(x_i | s_i)``, exact (Rabiner 1989).

    The sum is the forward recursion, so training by gradient climbs the likelihood itself; ``baum_welch`` climbs it by
    expectation and maximisation instead (Baum et al. 1970), which needs no learning rate. A code is the likeliest path
    (Viterbi). What is missing in a text is drawn exactly, given what stands before and after it (forward filtering,
    backward sampling; Scott 2002).

    With classes as condition there is a model for each; a text whose class nobody knows is of their mixture, whose
    weights are learned, and its class can be told by Bayes' rule.

    Args:
        spec: ``Spec((L,), vocab=V)``, texts, with or without a class.
        size: states.
    """

    bound: Bound = "exact"

    def __init__(self, spec: Spec, *, size: int = 16) -> None:
        super().__init__(spec)
        if size < 1:
            raise RecipeError(f"family.size is {size}; a hidden Markov model has at least 1 state")
        self.classes = spec.cond.vocab if spec.cond is not None else 1
        self.latent = Spec(spec.shape, vocab=size)
        self.start = nn.Parameter(0.5 * torch.randn(self.classes, size))
        self.moves = nn.Parameter(0.5 * torch.randn(self.classes, size, size) + torch.eye(size))
        self.letters = nn.Parameter(0.5 * torch.randn(self.classes, size, spec.vocab))
        if spec.cond is None:
            self.lacks = {"Classifies"}
        else:
            self.share = nn.Parameter(torch.zeros(self.classes))

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Texts: sequences of tokens that are names, alone or with a class."""
        if not spec.is_text:
            return "it reads texts, token after token; use made for rows of a table and pixelcnn for pictures"
        if spec.cond is not None and (not spec.cond.is_tokens or spec.cond.shape):
            return "it can be given a class, but no text and no numbers; leave the condition out, or use seq2seq"
        return ""

    # --- likelihood --------------------------------------------------------------------------------------------------

    def _tables(self) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities: ``(classes, K)`` of the first state, ``(classes, K, K)`` of moves, ``(classes, K, V)`` of tokens."""
        return self.start.float().softmax(-1), self.moves.float().softmax(-1), self.letters.float().softmax(-1)

    def _forward(
        self, x: Tensor, seen: Tensor, tables: tuple[Tensor, Tensor, Tensor], kept: list[Tensor] | None = None
    ) -> Tensor:
        """``log p`` of the tokens that are ``seen``, under every class, ``(B, classes)``.

        ``kept`` gets, for each position, ``p(state | seen tokens up to it)``, ``(B, classes, K)``.
        """
        start, moves, letters = tables
        writes = letters[:, :, x].permute(2, 3, 0, 1)  # (B, L, classes, K)
        writes = torch.where(seen[:, :, None, None], writes, 1.0)
        nats = x.new_zeros(len(x), self.classes, dtype=torch.float32)
        at = start.expand(len(x), -1, -1)
        for i in range(x.shape[1]):
            if i:
                at = torch.einsum("bck,ckj->bcj", at, moves)
            at = at * writes[:, i]
            total = at.sum(-1, keepdim=True).clamp_min(1e-30)
            nats = nats + total.log()[..., 0]
            at = at / total
            if kept is not None:
                kept.append(at)
        return nats

    def _joint(self, batch: Batch) -> Tensor:
        """``log p(x | class)`` ``(B, classes)``."""
        seen = torch.ones_like(batch.x, dtype=torch.bool) if batch.mask is None else batch.mask.expand(batch.x.shape)
        with torch.autocast(batch.x.device.type, enabled=False):
            return self._forward(batch.x, seen, self._tables())

    def _log_share(self) -> Tensor:
        return self.share.float().log_softmax(0) if self.spec.cond is not None else self.start.new_zeros(1)

    def _given(self, each: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor]:
        """``log p(x)``, given the class of rows that have one; and ``log p(class)`` of these, 0 of others. ``(B,)`` each."""
        share = self._log_share()
        blank = torch.logsumexp(each + share, 1)
        if cond is None or self.spec.cond is None:
            return blank, torch.zeros_like(blank)
        known, at = cond >= 0, cond.clamp_min(0)
        return torch.where(known, each.gather(1, at[:, None])[:, 0], blank), share[at].masked_fill(~known, 0.0)

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """Nats of the real tokens, weighted by their number; and of the class where it is known."""
        nats, share = self._given(self._joint(batch), batch.cond)
        parts = {"nll": -nats} if self.spec.cond is None else {"nll": -nats, "class": -share}
        real = (
            torch.full_like(nats, float(self.spec.dims)) if batch.mask is None else batch.mask.expand_as(batch.x).sum(1)
        )
        return Terms(parts, weight=real.detach().float())

    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """``(B,)`` nats of the real tokens, by the forward recursion; ``rng`` is not drawn from."""
        return self._given(self._joint(batch), batch.cond)[0]

    @torch.no_grad()
    def classify(self, batch: Batch) -> Tensor:
        """``(B, classes)`` log probabilities of the classes, by Bayes' rule."""
        return (self._joint(batch) + self._log_share()).log_softmax(1)

    # --- Baum and Welch ----------------------------------------------------------------------------------------------

    def baum_welch(self, batch: Batch, rounds: int = 1, smoothing: float = 0.0) -> list[float]:
        """Maximise the likelihood of ``batch`` in place by expectation and maximisation; rows of known class only with classes.

        What the states are expected to have done is the gradient of the likelihood by the logarithms of the tables
        (Eisner 2016), which saves the backward recursion.

        Args:
            batch: the texts, all of them.
            rounds: how often. Without smoothing the likelihood never falls.
            smoothing: added to each expected count.

        Returns:
            Nats of the batch before each round.
        """
        seen = torch.ones_like(batch.x, dtype=torch.bool) if batch.mask is None else batch.mask.expand(batch.x.shape)
        logits = (self.start, self.moves, self.letters)
        out = []
        for _ in range(rounds):
            tables = [p.detach().log_softmax(-1).requires_grad_() for p in logits]
            with torch.enable_grad():
                each = self._forward(batch.x, seen, (tables[0].exp(), tables[1].exp(), tables[2].exp()))
                total = self._given(each, batch.cond)[0].sum()
                counts = torch.autograd.grad(total, tables)
            out.append(total.item())
            with torch.no_grad():
                for p, count in zip(logits, counts, strict=True):
                    count = count + smoothing
                    lost = count.sum(-1, keepdim=True) <= 0  # a state that no text was ever in stays as it is
                    p.copy_(torch.where(lost, p, count.clamp_min(1e-12).log()))
        return out

    # --- paths -------------------------------------------------------------------------------------------------------

    def _whose(self, x: Tensor, seen: Tensor, cond: Tensor | None) -> Tensor:
        """The class of each row, the likeliest where nobody knows it, ``(B,)``."""
        if self.spec.cond is None:
            return torch.zeros(len(x), dtype=torch.long, device=x.device)
        likely = (self._forward(x, seen, self._tables()) + self._log_share()).argmax(1)
        return likely if cond is None else torch.where(cond >= 0, cond, likely)

    @torch.no_grad()
    def represent(self, batch: Batch) -> Tensor:
        """``(B, classes * size)``: how much each state is believed in, given the tokens so far, on the mean over them."""
        seen = torch.ones_like(batch.x, dtype=torch.bool) if batch.mask is None else batch.mask.expand(batch.x.shape)
        kept: list[Tensor] = []
        self._forward(batch.x, seen, self._tables(), kept)
        return mean_of_real(torch.stack(kept, 1).flatten(2), seen)

    def encode(self, batch: Batch) -> Tensor:
        """The likeliest path of states ``(B, L)``, by Viterbi's recursion; on padding the states that are likeliest then."""
        x = batch.x
        seen = torch.ones_like(x, dtype=torch.bool) if batch.mask is None else batch.mask.expand(x.shape)
        which = self._whose(x, seen, batch.cond)
        start, moves, letters = (p.float().log_softmax(-1)[which] for p in (self.start, self.moves, self.letters))
        writes = letters.gather(2, x[:, None].expand(-1, letters.shape[1], -1)).masked_fill(~seen[:, None], 0.0)
        best, came = start + writes[:, :, 0], []
        for i in range(1, x.shape[1]):
            value, source = (best[:, :, None] + moves).max(1)
            came.append(source)
            best = value + writes[:, :, i]
        path = [best.argmax(1)]
        for source in reversed(came):
            path.append(source.gather(1, path[-1][:, None])[:, 0])
        return torch.stack(path[::-1], 1)

    @torch.no_grad()
    def decode(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        """The token that each state of ``(B, L)`` writes most often; of the commonest class where nobody knows it."""
        which = self._log_share().argmax().expand(len(z))
        if cond is not None and self.spec.cond is not None:
            which = torch.where(cond >= 0, cond, which)
        return self.letters.argmax(-1)[which].gather(1, z)

    # --- samples -----------------------------------------------------------------------------------------------------

    def _drawn_class(self, n: int, rng: Rng, cond: Tensor | None, weights: Tensor) -> Tensor:
        """The class of each row, drawn from log ``weights`` ``(n, classes)`` where nobody knows it."""
        drawn = pick(weights, rng.uniform(n))
        return drawn if cond is None or self.spec.cond is None else torch.where(cond >= 0, cond, drawn)

    @torch.no_grad()
    def stream(self, n: int, rng: Rng, cond: Tensor | None = None) -> Iterator[Tensor]:
        """Yields ``(n, 1)`` tokens; joined they are what ``sample`` returns.

        Args:
            n: how many rows.
            rng: one stream, or one for each row.
            cond: classes ``(n,)`` or None.
        """
        which = self._drawn_class(n, rng, cond, self._log_share().expand(n, -1))
        u = rng.uniform(n, self.spec.dims, 2)
        start, moves, letters = self.start[which], self.moves[which], self.letters[which]
        row = torch.arange(n, device=which.device)
        state = pick(start, u[:, 0, 0])
        for i in range(self.spec.dims):
            if i:
                state = pick(moves[row, state], u[:, i, 0])
            yield pick(letters[row, state], u[:, i, 1])[:, None]

    @torch.no_grad()
    def sample(self, n: int, rng: Rng, cond: Tensor | None = None) -> Tensor:
        """``(n, L)`` tokens, int64: a path is drawn, and what its states write."""
        return torch.cat(list(self.stream(n, rng, cond)), 1)

    @torch.no_grad()
    def edit(self, batch: Batch, keep: Tensor, rng: Rng) -> Tensor:
        """Kept tokens stay; the others are drawn exactly as the model has them given all that is kept, before and after."""
        x, seen = batch.x, keep.expand(batch.x.shape)
        n, length = x.shape
        tables, filtered = self._tables(), []
        each = self._forward(x, seen, tables, filtered)
        which = self._drawn_class(n, rng, batch.cond, each + self._log_share())
        u = rng.uniform(n, length, 2)
        _, moves, letters = (table[which] for table in tables)
        row = torch.arange(n, device=x.device)
        made, state = x.clone(), None
        for i in reversed(range(length)):
            weight = filtered[i][row, which]
            if state is not None:
                weight = weight * moves[row, :, state]
            state = pick(weight.log(), u[:, i, 0])
            made[:, i] = torch.where(seen[:, i], x[:, i], pick(letters[row, state].log(), u[:, i, 1]))
        return made
