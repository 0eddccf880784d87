"""The loop: who moves and when, what stops it, what it leaves behind."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from bottega.core import Batch, DivergedError, Encoded, Rng, Spec, Terms, Turn
from bottega.data.stream import Stream
from bottega.testing import examples
from bottega.training import loop
from bottega.training.checkpoint import weights_hash
from bottega.training.ema import Ema
from bottega.training.optim import make_optims
from toys import ToyChar, ToyGAN, ToyVAE

PLANE = Spec((2,))


def made(family, spec=PLANE, seed=0, **settings):
    torch.manual_seed(seed)
    return family(spec, **settings)


def batches(spec=PLANE, rows=64, size=8):
    return Stream(Encoded(examples(spec, rows, Rng(1))), size)


class Counting(ToyGAN):
    def __init__(self, spec, *, size=8, noise=2):
        super().__init__(spec, size=size, noise=noise)
        self.settled, self.bounded = [], 0

    def bound(self):
        self.bounded += 1

    def turns(self):
        return Turn("critic", self.critic_loss, repeat=3, after=self.bound), Turn("generator", self.loss, every=2)

    def settle(self, step):
        self.settled.append(step)


def test_turns_are_played_every_so_often_and_repeated_on_fresh_batches():
    model, data = made(Counting), batches()
    log = []
    loop.fit(
        model,
        data,
        make_optims(model, 6, {}),
        steps=5,
        start=1,
        rng=Rng(0),
        watch=lambda step, seen: log.append((step, [t.player for t, _ in seen])),
    )
    critic = ["critic"] * 3
    assert log == [(1, critic), (2, [*critic, "generator"]), (3, critic), (4, [*critic, "generator"])]
    assert data.position == 4 * 3 + 2
    assert model.settled == [1, 2, 3, 4]
    assert model.bounded == 4 * 3, "after each play, not after each step"


def test_the_average_follows_after_settle_and_before_watch():
    class Shifting(ToyVAE):
        def settle(self, step):
            with torch.no_grad():
                self.log_scale.fill_(7.0 + step)

    model = made(Shifting)
    ema = Ema(model, 0.0)
    seen = []
    loop.fit(
        model,
        batches(),
        make_optims(model, 2, {}),
        steps=2,
        rng=Rng(0),
        ema=ema,
        watch=lambda step, _: seen.append(ema.shadow["log_scale"].item()),
    )
    assert seen == [7.0, 8.0]


@pytest.mark.parametrize("family", [ToyVAE, ToyGAN])
def test_training_repeats_and_lowers_the_loss(family):
    def train(seed):
        model = made(family)
        losses = []
        data = batches(size=32)
        loop.fit(
            model,
            data,
            make_optims(model, 150, {"lr": 1e-2}),
            steps=150,
            rng=Rng(seed),
            watch=lambda step, seen: losses.append(seen[0][1].total.mean().item()),
        )
        return weights_hash(model.state_dict()), losses

    (a, losses), (b, _), (c, _) = train(0), train(0), train(1)
    assert a == b
    assert a != c
    if family is ToyVAE:
        assert sum(losses[-20:]) < sum(losses[:20]) - 20 * 0.3


class Spoiled(ToyVAE):
    how = "nan"

    def loss(self, batch, rng):
        nll, kl = self.parts(batch, rng)
        if self.how == "nan":
            kl = kl * math.nan
        elif self.how == "infinite":
            kl = kl + math.inf
        elif self.how == "constant":
            kl = torch.full_like(kl, math.nan)
        else:  # a finite loss with a gradient that is not
            kl = kl * 0 + (self.log_scale * 0).sqrt().expand(len(batch))
        return Terms({"reconstruction": nll, "kl": kl})


@pytest.mark.parametrize("how", ["nan", "infinite", "constant", "gradient"])
def test_a_loss_that_is_no_number_stops_training_before_anything_moves(how):
    model = made(Spoiled)
    model.how = how
    before = weights_hash(model.state_dict())
    term = "gradient" if how == "gradient" else "kl"
    with pytest.raises(DivergedError, match=rf"^term '{term}' of player 'model' is not finite"):
        loop.fit(model, batches(), make_optims(model, 3, {}), steps=3, rng=Rng(0))
    assert weights_hash(model.state_dict()) == before
    assert all(p.requires_grad for p in model.parameters())


def test_the_player_whose_term_diverged_is_named():
    class SpoiledCritic(ToyGAN):
        def critic_loss(self, batch, rng):
            return Terms({"real": self.judged(batch.x, None) * math.nan})

    model = made(SpoiledCritic)
    with pytest.raises(DivergedError, match="term 'real' of player 'critic'"):
        loop.fit(model, batches(), make_optims(model, 1, {}), steps=1, rng=Rng(0))


def test_the_gradient_is_clipped_to_its_norm_and_left_alone_below():
    model = made(ToyVAE)
    batch, (turn,) = next(batches()), model.turns()
    optim = torch.optim.SGD(model.parameters(), 0.0)

    def norm(clip):
        loop.play(model, turn, batch, optim, Rng(0), clip=clip)
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm().item()

    free = norm(0.0)
    assert norm(1e6) == pytest.approx(free)
    assert norm(free / 3) == pytest.approx(free / 3, rel=1e-4)


def test_terms_come_back_whole_and_detached_from_micro_batches():
    model = made(ToyChar, Spec((8,), vocab=11))
    batch, (turn,) = examples(model.spec, 7, Rng(1)), model.turns()
    optim = torch.optim.SGD(model.parameters(), 0.0)
    whole = loop.play(model, turn, batch, optim, Rng(0))
    cut = loop.play(model, turn, batch, optim, Rng(0), accum=3)
    assert not cut.total.requires_grad
    assert torch.allclose(cut.total, whole.total)
    assert torch.equal(cut.weight, batch.mask.sum(1).float())
    assert cut.means() == pytest.approx(whole.means())


def test_bfloat16_trains_like_float32():
    def final(bf16):
        model, losses = made(ToyVAE, Spec((1, 8, 8))), []
        loop.fit(
            model,
            batches(model.spec, size=32),
            make_optims(model, 60, {"lr": 5e-3}),
            steps=60,
            rng=Rng(0),
            bf16=bf16,
            watch=lambda step, seen: losses.append(seen[0][1].total.mean().item()),
        )
        assert all(p.dtype == torch.float32 for p in model.parameters())
        return losses[0], sum(losses[-10:]) / 10

    (first, full), (_, half) = final(False), final(True)
    assert full < first
    assert half == pytest.approx(full, rel=0.03)


def test_only_leaves_frozen_what_was_frozen():
    model = made(ToyGAN)
    teacher = model.critic["net"].requires_grad_(False)
    with loop.only(model, "generator") as params:
        assert {id(p) for p in params} == {id(p) for p in model.generator.parameters()}
        assert not any(p.requires_grad for p in model.critic.parameters())
    assert not any(p.requires_grad for p in teacher.parameters())
    assert all(p.requires_grad for p in model.generator.parameters())


def test_only_thaws_after_an_error():
    model = made(ToyGAN)
    with pytest.raises(RuntimeError, match="inside"), loop.only(model, "critic"):
        raise RuntimeError("inside")
    assert all(p.requires_grad for p in model.parameters())


def test_another_way_to_play_takes_the_place_of_the_loops_own():
    model, played = made(ToyVAE), []

    def play(model, turn, batch, optim, rng, *, accum, clip, bf16):
        played.append((turn.player, len(batch), accum, clip, bf16))
        return Terms({"nothing": torch.zeros(len(batch))})

    loop.fit(model, batches(), make_optims(model, 1, {}), steps=1, rng=Rng(0), accum=2, clip=0.5, play=play)
    assert played == [("", 8, 2, 0.5, False)]


def test_the_weight_of_an_example_counts():
    class Weighted(ToyVAE):
        def loss(self, batch, rng):
            return Terms(super().loss(batch, rng).parts, weight=torch.tensor([1.0, 3.0]))

    model, plain = made(Weighted), made(ToyVAE)
    batch = Batch(torch.tensor([[0.1, 0.2], [0.3, -0.4]]))
    for m in (model, plain):
        loop.play(m, m.turns()[0], batch, torch.optim.SGD(m.parameters(), 0.0), Rng(0))
    for p, q in zip(model.parameters(), plain.parameters(), strict=True):
        assert p.grad is None or torch.allclose(p.grad * 4, q.grad * 2)


def test_the_loop_is_short():
    assert len(Path(loop.__file__).read_text().splitlines()) <= 120
