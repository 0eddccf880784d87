"""Reader: classes, tags and spans of made texts are learned; spans in order; a start from BERT."""

import pytest
import torch

from bottega.core import Batch, Classifies, RecipeError, Rng, Spec, SpecError, has
from bottega.families.bert import BERT
from bottega.families.reader import Reader
from bottega.training.loop import fit
from bottega.training.optim import make_optims

TEXT = Spec((12,), vocab=16)  # 15 ends


def texts(n, seed):
    """Rows of 6 to 12 letters below 12, padded."""
    rng = Rng(seed)
    x, size = rng.integers(12, n, 12), 6 + rng.integers(7, n)
    return torch.where(torch.arange(12) < size[:, None], x, 15), size


def klass(n, seed):
    """1 where a 3 stands anywhere before a 7 ... 2 where neither stands in the text, else 0."""
    x, _ = texts(n, seed)
    three, seven = (x == 3).int(), (x == 7).int()
    before = ((three.cumsum(1) > 0) & (seven == 1)).any(1)
    label = torch.where(before, 1, torch.where((three.sum(1) + seven.sum(1)) == 0, 2, 0))
    return Batch(label, x)


def tags(n, seed):
    """1 on what follows a 5, 2 on what stands before a 9, 0 elsewhere."""
    x, size = texts(n, seed)
    after = torch.cat([torch.zeros(n, 1, dtype=torch.bool), x[:, :-1] == 5], 1)
    ahead = torch.cat([x[:, 1:] == 9, torch.zeros(n, 1, dtype=torch.bool)], 1)
    label = torch.where(after, 1, torch.where(ahead, 2, 0))
    return Batch(label, x, torch.arange(12) < size[:, None])


def spans(n, seed):
    """What stands between an opening 12 and a closing 13; nothing where they are missing."""
    x, _ = texts(n, seed)
    rng = Rng(seed + 1)
    first = rng.integers(3, n)
    last = first + 2 + rng.integers(2, n)
    rows, told = torch.arange(n), rng.uniform(n) < 0.8
    x[rows[told], first[told]] = 12
    x[rows[told], last[told]] = 13
    label = torch.stack([first + 1, last - 1], 1)
    return Batch(torch.where(told[:, None], label, 0), x)


def asked(n, seed):
    """What stands behind the letter that is asked for (before the first end); nothing where it does not stand there."""
    rng = Rng(seed)
    passage = torch.stack([rng.permutation(12)[:10] for _ in range(n)])
    at = rng.integers(9, n)
    key = torch.where(rng.uniform(n) < 0.8, passage[torch.arange(n), at], 13)
    label = torch.where((key != 13)[:, None], (at + 3)[:, None], 0).expand(n, 2)
    return Batch(label, torch.cat([key[:, None], torch.full((n, 1), 15), passage], 1))


SPECS = {
    "class": (Spec((), vocab=3, cond=TEXT), klass, 0.95),
    "tags": (Spec((12,), vocab=3, cond=TEXT), tags, 0.98),
    "span": (Spec((2,), vocab=12, cond=TEXT), spans, 0.95),
    "asked": (Spec((2,), vocab=12, cond=TEXT), asked, 0.95),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SPECS))
def test_labels_of_made_texts_are_learned(name):
    spec, make, least = SPECS[name]
    torch.manual_seed(0)
    model = Reader(spec, size=2, width=48, depth=2)

    def batches():
        seed = 1000
        while True:
            seed += 2
            yield make(64, seed)

    fit(model, batches(), make_optims(model, 400, {"lr": 3e-3}), steps=400, rng=Rng(1))
    held = make(500, 3)
    made = model.eval().sample(500, Rng(0), held.cond, temperature=0.0)
    right = made == held.x
    if held.x.ndim == 2 and held.mask is None:
        right = right.all(1)
    elif held.mask is not None:
        right = right[held.mask]
    assert right.float().mean() >= least


def small(name="class", **options):
    torch.manual_seed(0)
    return Reader(SPECS[name][0], **{"size": 2, "width": 32, "depth": 1, **options}).eval()


def test_only_classes_are_classified():
    assert has(small(), Classifies)
    assert not has(small("tags"), Classifies)
    batch = klass(5, 1)
    log_p = small().classify(batch)
    torch.testing.assert_close(log_p.exp().sum(1), torch.ones(5))
    torch.testing.assert_close(small().log_prob(batch, Rng(0)), log_p.gather(1, batch.x[:, None])[:, 0])


def test_a_reader_of_answers_is_told_which_tokens_both_parts_say():
    model = Reader(SPECS["span"][0], size=2)
    text = torch.tensor([[3, 5, 15, 5, 7, 3, 5, 15, 15], [3, 5, 15, 7, 8, 15, 15, 15, 15]])  # 15 parts, and fills up
    kinds = [[2, 2, 1, 3, 1, 3, 3], [0, 0, 1, 1, 1]]  # + 1: of the passage, + 2: the other part says it, too
    told = model._roles(text)
    for row, want in zip(told, kinds, strict=True):
        assert torch.equal(row[: len(want)], model.role.weight[torch.tensor(want)])
    assert not hasattr(Reader(SPECS["tags"][0], size=2), "role")  # others read one text


def test_all_that_a_reader_of_answers_says_hears_of_the_other_part():
    torch.manual_seed(0)
    model, batch = Reader(SPECS["span"][0], size=2), asked(8, 0)
    batch.cond[:4, -3:] = 15  # some are padded
    batch = Batch(torch.zeros(8, 2, dtype=torch.long), batch.cond)
    before = model.log_prob(batch, Rng(0)), model.represent(batch), model.attend(batch)
    with torch.no_grad():
        model.role.weight[2:] += 1  # of tokens that both parts say
    shared = (batch.cond[:, 2:] == batch.cond[:, :1]).any(1)
    assert 0 < shared.sum() < 8
    for old, new in zip(
        before, (model.log_prob(batch, Rng(0)), model.represent(batch), model.attend(batch)), strict=True
    ):
        moved = (old - new).abs().flatten(1).amax(1) > 1e-4 if old.ndim > 1 else (old - new).abs() > 1e-4
        assert torch.equal(moved, shared)


def test_spans_are_in_order_and_no_longer_than_asked():
    logits = torch.randn(20, 2, 7, generator=torch.Generator().manual_seed(0))
    log_p = logits.log_softmax(-1)
    for longest in (0, 2):
        got = Reader.spans(logits, longest)
        for row, (a, b) in enumerate(got.tolist()):
            pairs = [(i, j) for i in range(7) for j in range(i, min(7, i + (longest or 7)))]
            best = max(pairs, key=lambda p: (log_p[row, 0, p[0]] + log_p[row, 1, p[1]]).item())
            assert (a, b) == best


def test_padding_changes_nothing():
    for name in SPECS:
        model, batch = small(name), SPECS[name][1](4, 1)
        alone = [model.log_prob(one, Rng(0)) for one in batch.split(4)]
        torch.testing.assert_close(torch.cat(alone), model.log_prob(batch, Rng(0)), atol=1e-5, rtol=1e-5)


def test_it_begins_with_a_bert():
    torch.manual_seed(1)
    bert, reader = BERT(TEXT, size=2, width=32, depth=1), small()
    assert "encoder of runs/b" in reader.adopt(bert, "runs/b")
    for key, value in bert.encoder.state_dict().items():
        assert torch.equal(reader.encoder.state_dict()[key], value)
    with pytest.raises(RecipeError, match="set \\[family\\] and \\[codec\\] as there"):
        reader.adopt(BERT(TEXT, size=2, width=64, depth=1), "runs/b")
    with pytest.raises(RecipeError, match="begins with a bert"):
        reader.adopt(torch.nn.Linear(1, 1), "runs/b")


def test_other_examples_are_refused():
    with pytest.raises(SpecError, match="labelled"):
        Reader(Spec((4,), vocab=3))
    with pytest.raises(SpecError, match="a tag for each of the 12 tokens"):
        Reader(Spec((5,), vocab=3, cond=TEXT))
