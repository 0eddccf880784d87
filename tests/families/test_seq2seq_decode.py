"""The generation engine on an encoder and a decoder: beams, drafts, unequal beginnings."""

import itertools
import math

import torch

from bottega.core import Batch, Rng, Spec
from bottega.families.seq2seq import Seq2Seq
from bottega.samplers.speculative import Lookup

SPEC = Spec((6,), vocab=4, cond=Spec((5,), vocab=4))


def model(spec=SPEC):
    torch.manual_seed(0)
    made = Seq2Seq(spec, size=2, width=32, depth=1, heads=2).eval()
    with torch.no_grad():
        made.table.weight.mul_(20)
    return made


def given(n=3):
    return Rng(1).integers(3, n, 5)


def test_cached_steps_give_the_probabilities_of_the_whole():
    net, cond, x = model(), given(), Rng(2).integers(4, 3, 6)
    step = net.step(3, cond)
    with torch.no_grad():
        logits = [step(x[:, :0])] + [step(x[:, i : i + 1]) for i in range(5)]
        whole = torch.stack(logits, 1).log_softmax(-1).gather(2, x[..., None])[..., 0].sum(1)
        torch.testing.assert_close(whole, net.log_prob(Batch(x, cond), Rng(0)), atol=1e-4, rtol=1e-4)


def test_beams_find_the_likeliest_text_of_all():
    net, cond = model(), given(2)
    out = net.sample(2, Rng(0), cond, beams=256, length_penalty=0.0, max_new=4)
    every = torch.tensor(list(itertools.product(range(4), repeat=4)))
    for i in range(2):
        with torch.no_grad():
            short = model(Spec((4,), vocab=4, cond=SPEC.cond))
            score = short.log_prob(Batch(every, cond[i : i + 1].expand(len(every), -1)), Rng(0))
        mine = score[(every == out[i]).all(1)]
        assert math.isclose(float(mine), float(score.max()), abs_tol=1e-4)


def test_beams_of_a_row_do_not_depend_on_other_rows():
    net, cond = model(), given()
    together = net.sample(3, Rng(0), cond, beams=3, stop=3)
    for i in range(3):
        assert torch.equal(net.sample(1, Rng(0), cond[i : i + 1], beams=3, stop=3), together[i : i + 1])


def test_drafts_and_unequal_beginnings_change_nothing():
    net, cond = model(), given()
    plain = net.sample(3, Rng.for_rows(range(3)), cond)
    assert torch.equal(torch.cat(list(net.stream(3, Rng.for_rows(range(3)), cond, draft=Lookup())), 1), plain)
    x = torch.tensor([[1, 2, 0], [2, 3, 3], [0, 1, 3]])
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0]]).bool()
    keep = torch.ones_like(x, dtype=torch.bool)
    together = net.edit(Batch(x, cond, mask), keep, Rng.for_rows(range(3)), max_new=3)
    for i in range(3):
        alone = x[i : i + 1, : int(mask[i].sum())]
        row = net.edit(Batch(alone, cond[i : i + 1]), keep[:1, : alone.shape[1]], Rng.for_rows([i]), max_new=3)
        assert torch.equal(row[0, -3:], together[i, -3:])
