"""SeqGAN: who moves when, what is shown to the critic, and rewards that teach."""

import pytest
import torch

from bottega.core import Batch, Edits, Encoded, RecipeError, Rng, Scores, Spec, Streams, has
from bottega.data.stream import Stream
from bottega.families.seqgan import SeqGAN
from bottega.training.loop import fit
from bottega.training.optim import make_optims

TEXT = Spec((6,), vocab=5)


def seqgan(**options):
    torch.manual_seed(0)
    return SeqGAN(TEXT, **{"size": 16, "warm": 0, **options})


def test_capabilities():
    assert all(has(seqgan(), c) for c in (Scores, Streams, Edits))
    assert [turn.player for turn in seqgan().turns()] == ["critic", "writer"]


def test_it_begins_by_maximum_likelihood():
    model, batch = seqgan(warm=2), Batch(Rng(0).integers(5, 8, 6))
    assert set(model.loss(batch, Rng(0)).parts) == {"nll"}
    model.settle(0)
    assert set(model.loss(batch, Rng(0)).parts) == {"nll"}
    model.settle(1)
    terms = model.loss(batch, Rng(0))
    assert set(terms.parts) == {"nll", "game"}
    assert terms.weight.tolist() == [6] * 8


def test_kept_beginnings_stay_and_the_rest_is_written_as_the_writer_writes():
    model, n = seqgan(), 8000
    x = torch.tensor([[1, 2, 0, 0, 0, 0]]).expand(n, -1)
    made = model._write(x, torch.full((n,), 2), Rng(0), None)
    assert (made[:, :2] == x[:, :2]).all()
    with torch.no_grad():
        p = model.writer.logits(made[:1], None)[0, 2].softmax(0)
    share = torch.bincount(made[:, 2], minlength=5) / n
    assert (share - p).abs().max() < 0.03


def test_the_critic_sees_texts_up_to_their_end():
    model = seqgan()
    x = torch.tensor([[1, 4, 0, 0, 0, 0], [1, 2, 3, 0, 1, 2]])
    real = torch.tensor([[True, True, False, False, False, False], [True] * 6])
    end = model._closing(x, real)
    assert end.tolist() == [4, -1]
    made = torch.tensor([[0, 0, 4, 4, 1, 4], [4, 4, 4, 4, 4, 4]])
    assert model._shown(made, end).tolist() == [[True, True, True, False, False, False], [True] * 6]


def test_rewards_alone_teach_what_the_critic_likes():
    """A critic that only likes token 3: the writer learns to write it, from rewards and nothing else."""

    class Likes(torch.nn.Module):
        def forward(self, x, real, cond):
            return 12 * ((x == 3).float().mean(1) - 0.5)

    model = seqgan(likelihood=0.0, rollouts=2, places=3)
    model.critic = Likes()
    before = (model.sample(500, Rng(1)) == 3).double().mean()
    optim = torch.optim.AdamW(model.writer.parameters(), lr=0.02)
    batch, rng = Batch(Rng(0).integers(5, 48, 6)), Rng(2)
    for step in range(40):
        optim.zero_grad()
        terms = model.loss(batch, rng)
        (terms.total.sum() / terms.count).backward()
        optim.step()
        model.settle(step)
    after = (model.sample(500, Rng(1)) == 3).double().mean()
    assert before < 0.4
    assert after > 0.8
    assert model.usual.mean() > 0.55  # the usual reward followed


def test_the_critic_learns_to_tell():
    model = seqgan(warm=1000)
    x = torch.tensor([[0, 1, 2, 3, 4, 0]]).repeat(64, 1)
    turn = model.turns()[0]
    optim = torch.optim.AdamW(model.critic.parameters(), lr=5e-3)
    for step in range(30):
        optim.zero_grad()
        turn.loss(Batch(x), Rng(step)).total.mean().backward()
        optim.step()
    made = model.sample(64, Rng(9))
    everywhere = torch.ones_like(x, dtype=torch.bool)
    with torch.no_grad():
        assert (model.critic(x, everywhere, None) > 0).all()
        assert (model.critic(made, everywhere, None) < 0).double().mean() > 0.9


def test_training_runs_through_the_warm_up_into_the_game():
    model = seqgan(warm=3, rollouts=1, places=1)
    data = Encoded(Batch(Rng(0).integers(5, 40, 6)))
    seen = []
    fit(model, Stream(data, 8), make_optims(model, 6, {"lr": 1e-3}), steps=6, rng=Rng(0),
        watch=lambda step, terms: seen.append(set(terms[-1][1].parts)))  # fmt: skip
    assert seen == [{"nll"}] * 3 + [{"nll", "game"}] * 3


def test_bad_values_are_refused():
    with pytest.raises(RecipeError, match="likelihood"):
        SeqGAN(TEXT, likelihood=2.0)
    with pytest.raises(RecipeError, match="did you mean 'gru'"):
        SeqGAN(TEXT, kind="gruu")
