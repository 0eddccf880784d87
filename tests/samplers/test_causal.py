"""Every family that writes from left to right: prompts of unequal length, guides, notes, beams, guidance."""

import pytest
import torch

from bottega.core import Batch, Rng, Spec
from bottega.core.errors import RecipeError
from bottega.families.gpt import GPT
from bottega.families.ngram import NGram
from bottega.families.pretrained import Pretrained
from bottega.families.rnn import RNN
from bottega.families.seq2seq import Seq2Seq
from bottega.families.seqgan import SeqGAN
from bottega.samplers.tokens import Notes

VOCAB, LENGTH = 6, 12
PLAIN, CLASSES = Spec((LENGTH,), vocab=VOCAB), Spec((LENGTH,), vocab=VOCAB, cond=Spec((), vocab=3))
GIVEN = Spec((LENGTH,), vocab=VOCAB, cond=Spec((5,), vocab=VOCAB))


def ngram(spec):
    model = NGram(spec, size=1, order=3).train()
    known = None if spec.cond is None else Rng(8).integers(3, 40)
    model.loss(Batch(Rng(9).integers(VOCAB, 40, LENGTH), known), Rng(0))
    model.settle(0)
    return model


MAKE = {
    "gpt": lambda spec: GPT(spec, size=1),
    "seq2seq": lambda spec: Seq2Seq(spec, size=1, drop=0.1),
    "rnn": lambda spec: RNN(spec, size=16, depth=2),
    "gru": lambda spec: RNN(spec, size=16, kind="gru"),
    "ngram": ngram,
    "seqgan": lambda spec: SeqGAN(spec, size=16),
    "pretrained": lambda spec: Pretrained(spec, size=1),
}
every = pytest.mark.parametrize("name", MAKE)
conditional = pytest.mark.parametrize("name", [name for name in MAKE if name != "pretrained"])


def sharp(name, *, known=False):
    """A model that is sure of itself, so that a difference in what it read is seen."""
    if name == "pretrained":
        pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = MAKE[name](GIVEN if name == "seq2seq" else CLASSES if known else PLAIN)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4 if weight.dim() > 1 and name != "ngram" else 1)
    return model.eval()


def conditions(model, n):
    return Rng(4).integers(VOCAB if model.spec.given_text else 3, n, *model.spec.cond.shape)


def prompts(n, longest, seed=0):
    x, sizes = Rng(seed).integers(VOCAB, n, longest), 1 + torch.arange(n) % longest
    return Batch(x, mask=torch.arange(longest) < sizes[:, None]), torch.ones_like(x, dtype=torch.bool)


@every
def test_prompts_of_unequal_length_are_gone_on_from_as_alone(name):
    model, (batch, keep) = sharp(name), prompts(5, 4)
    made = model.edit(batch, keep, Rng.for_rows(range(5)), max_new=7)
    assert made.shape == (5, 11)
    for i in range(5):
        size = int(batch.mask[i].sum())
        alone = model.edit(Batch(batch.x[i : i + 1, :size]), keep[:1, :size], Rng.for_rows([i]), max_new=7)
        assert torch.equal(alone[0, size:], made[i, 4:])


@every
def test_logits_behind_padding_and_in_another_order_are_those_of_the_row(name):
    model, (batch, _) = sharp(name), prompts(4, 3)
    padded = batch.x.masked_fill(~batch.mask, -1)
    with torch.no_grad():
        step = model.step(4)
        first = step(padded)
        step.take(torch.tensor([3, 1, 1]))
        then = step(torch.tensor([[0], [1], [2]]))
        for k, (row, token) in enumerate([(3, 0), (1, 1), (1, 2)]):
            alone = model.step(1)
            torch.testing.assert_close(alone(padded[row : row + 1][padded[row : row + 1] >= 0][None])[0], first[row])
            torch.testing.assert_close(alone(torch.tensor([[token]]))[0], then[k], atol=1e-4, rtol=1e-4)


@every
def test_notes_hold_the_model_s_own_log_probabilities(name):
    model, notes = sharp(name), Notes(top=2)
    made = torch.cat(list(model.stream(3, Rng.for_rows(range(3)), notes=notes, temperature=0.5)), 1)
    assert [notes.tokens[i] == made[i].tolist() for i in range(3)] == [True] * 3
    want = model.log_prob(Batch(made), Rng(0))
    torch.testing.assert_close(torch.tensor(notes.logprobs).sum(1), want.detach(), atol=1e-3, rtol=1e-3)
    assert all(len(place) == 2 for row in notes.likeliest for place in row)


class Never:
    """Bars a token, and ends a row when it made another one twice."""

    why = "twice"

    def __init__(self, barred, twice):
        self.barred, self.twice, self.count = barred, twice, torch.zeros(9)

    def bar(self, rows, logits):
        return logits.index_fill(1, torch.tensor([self.barred]), float("-inf"))

    def amend(self, rows, tokens):
        return tokens

    def see(self, rows, tokens):
        self.count[rows] += (tokens == self.twice).float()
        return self.count[rows] >= 2

    def take(self, rows):
        self.count = self.count[rows]


@every
def test_guides_watch_over_what_is_made(name):
    model, notes = sharp(name), Notes()
    made = torch.cat(
        list(model.stream(9, Rng(1), guides=[Never(2, 3)], notes=notes, max_new=LENGTH, stop=5, temperature=4.0)), 1
    )
    assert not (made == 2).any()
    for tokens, why in zip(notes.tokens, notes.finish, strict=True):
        assert tokens.count(3) == 2 if why == "twice" else tokens.count(3) < 2
    assert "twice" in notes.finish


@every
def test_as_many_beams_as_there_are_texts_find_the_likeliest(name):
    model = sharp(name)
    x = torch.tensor([[1, 4]])
    found = model.edit(Batch(x), torch.ones_like(x, dtype=torch.bool), Rng(0), max_new=3, beams=36)[0]
    every = torch.cartesian_prod(*[torch.arange(VOCAB)] * 3)
    whole = torch.cat([x.expand(len(every), 2), every], 1)
    with torch.no_grad():
        step, scores = model.step(len(whole)), 0.0
        for k in range(3):
            logits = step(whole[:, :2] if k == 0 else whole[:, 1 + k : 2 + k])
            scores = scores + logits.log_softmax(1).gather(1, whole[:, 2 + k : 3 + k])[:, 0]
    assert torch.equal(found, whole[int(scores.argmax())])


@conditional
def test_guidance_moves_logits_away_from_nobody_in_particular(name):
    model = sharp(name, known=True)
    cond, x = conditions(model, 4), Rng(5).integers(VOCAB, 4, 3)
    with torch.no_grad():
        known, free, guided = (step(x) for step in (model.step(4, cond), model.step(4), model.step(4, cond, 3.0)))
        step = model.step(4, cond, 3.0)
        step(x[:, :2])
        step.take(torch.tensor([2, 0]))
        torch.testing.assert_close(step(x[[2, 0], 2:]), guided[[2, 0]], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(guided, free + 3 * (known - free), atol=1e-4, rtol=1e-4)
    assert (known - free).abs().max() > 1e-3


def test_a_row_that_moves_its_window_leaves_the_others_alone():
    model = sharp("pretrained")
    x = Rng(3).integers(VOCAB, 2, 30)
    short, long = x[:1, :3], x[1:]
    keep = torch.ones(2, 30, dtype=torch.bool)
    mask = torch.arange(30) < torch.tensor([[3], [30]])
    made = model.edit(Batch(x, mask=mask), keep, Rng.for_rows([0, 1]), max_new=20, overflow="slide")
    for i, alone in enumerate((short, long)):
        one = model.edit(Batch(alone), keep[:1, : alone.shape[1]], Rng.for_rows([i]), max_new=20, overflow="slide")
        assert torch.equal(one[0, alone.shape[1] :], made[i, 30:])
    with pytest.raises(RecipeError, match="sees 11 at most"):
        model.edit(Batch(long), keep[:1], Rng(0), max_new=2)


@pytest.mark.parametrize("name", ["rnn", "ngram", "pretrained"])
def test_drafts_are_refused_where_nothing_can_be_taken_back(name):
    with pytest.raises(RecipeError, match="take back|go back"):
        sharp(name).sample(1, Rng(0), lookup=2)
