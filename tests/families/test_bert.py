"""BERT: hidden tokens and next lines learned on a toy corpus, filling in, pseudo likelihood, vectors."""

import string

import pytest
import torch

from bottega.codecs.text import TextCodec
from bottega.core import Batch, Classifies, Edits, Encodes, Item, RecipeError, Rng, Spec, has
from bottega.families.bert import BERT
from bottega.training.loop import fit
from bottega.training.optim import make_optims

LETTERS = string.ascii_letters[:40]


def corpus(n, seed):
    """Documents of four lines, each of two letters in turn; every document has one of twenty pairs of letters."""
    rng = Rng(seed)
    pairs, turned = rng.integers(20, n).tolist(), rng.integers(2, n, 4).tolist()
    lines = [
        [LETTERS[2 * p : 2 * p + 2][:: 1 - 2 * t] * 3 for t in each] for p, each in zip(pairs, turned, strict=True)
    ]
    return [Item("\n".join(part)) for part in lines]


def small(spec=None, **options):
    torch.manual_seed(0)
    return BERT(spec or Spec((8,), vocab=11), **{"size": 2, "width": 32, "depth": 1, **options}).eval()


def test_capabilities():
    assert has(small(), Edits)
    assert has(small(), Encodes)
    assert not has(small(), Classifies)
    assert has(small(Spec((8,), vocab=11, cond=Spec((), vocab=2))), Classifies)


def test_the_share_of_hidden_tokens_and_how_they_are_shown():
    """Four in five blank, one in ten another token, one in ten as they are; padding is never hidden."""
    model, seen = small(hide=0.3), []
    model._heard = lambda x, real, given, p=0.0, rng=None: (
        seen.append(x),
        torch.zeros(*x.shape, 32).sum() + _vectors(x),
    )[1]

    def _vectors(x):
        return torch.zeros(len(x), 1 + x.shape[1], 32)

    x = torch.full((4000, 8), 3)
    mask = torch.arange(8) < 6
    model.loss(Batch(x, None, mask.expand(4000, 8)), Rng(0))
    shown = seen[0]
    assert (shown[:, 6:] == 3).all()
    blank = (shown[:, :6] == model.encoder.blank).float().mean().item()
    other = ((shown[:, :6] != model.encoder.blank) & (shown[:, :6] != 3)).float().mean().item()
    hidden = 0.3 + 0.7**6 / 6  # a row without any has one all the same
    assert abs(blank - 0.8 * hidden) < 0.01
    assert abs(other - 0.1 * hidden * 10 / 11) < 0.005


def test_log_prob_is_each_token_given_all_others():
    model, x = small(), Rng(1).integers(11, 3, 8)
    mask = torch.arange(8) < torch.tensor([[8], [5], [1]])
    want = torch.zeros(3)
    for b in range(3):
        for i in range(int(mask[b].sum())):
            hidden = x[b : b + 1].clone()
            hidden[0, i] = model.encoder.blank
            h = model.encoder(hidden, mask[b : b + 1])
            want[b] += model._logits(h)[0, 1 + i].log_softmax(0)[x[b, i]]
    torch.testing.assert_close(model.log_prob(Batch(x, None, mask), Rng(0)), want, atol=1e-4, rtol=1e-4)


def test_fewer_steps_fill_in_several_at_once():
    model, x = small(), Rng(1).integers(11, 4, 8)
    keep = torch.arange(8) % 2 == 0
    one, all_ = (model.edit(Batch(x), keep, Rng(0), steps=s, temperature=0.0) for s in (1, 0))
    assert torch.equal(one[:, keep], x[:, keep])
    assert torch.equal(all_[:, keep], x[:, keep])
    blanked = torch.where(keep, x, model.encoder.blank)
    at_once = model._logits(model.encoder(blanked)[:, 1:]).argmax(-1)
    assert torch.equal(one, torch.where(keep, x, at_once))
    with pytest.raises(RecipeError, match="steps is -1"):
        model.edit(Batch(x), keep, Rng(0), steps=-1)


@pytest.mark.slow
def test_hidden_letters_and_next_lines_are_learned():
    """Row F6: hidden letters are told five times as often as the commonest letter would be, next lines in nine of ten."""
    codec = TextCodec(tokenizer="char", length=16, unit="pair").fit(corpus(400, 0))
    rows = codec.source(corpus(400, 0), train=True)
    torch.manual_seed(0)
    model = BERT(codec.spec, size=2, width=64, depth=2, drop=0.9)

    def batches():
        rng = Rng(5)
        while True:
            yield rows.draw(rng.integers(len(rows), 64), rng)

    optims = make_optims(
        model, 500, {"name": "muon", "lr": 3e-3, "muon_lr": 0.02}
    )  # as the recipes; AdamW waits for luck
    fit(model, batches(), optims, steps=500, rng=Rng(1))
    model.eval()
    held = codec.encode(corpus(100, 9))
    told = model.classify(held).argmax(1)
    assert (told == held.cond).float().mean() >= 0.9
    x, mask = held.x, held.mask
    hidden = mask & (x != codec.end) & (Rng(2).uniform(*x.shape) < 0.15)
    made = model.edit(Batch(x, None, mask), ~hidden, Rng(0), temperature=0.0)
    right = (made == x)[hidden].float().mean().item()
    commonest = (x[hidden].bincount().max() / hidden.sum()).item()
    assert right > 5 * commonest, (right, commonest)
