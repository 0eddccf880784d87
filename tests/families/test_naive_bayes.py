"""Naive Bayes: agrees with scikit-learn, samples what it has seen, learns from the unlabelled."""

import numpy as np
import pytest
import torch
from sklearn.naive_bayes import CategoricalNB, GaussianNB, MultinomialNB

from bottega.codecs.image import ImageCodec
from bottega.codecs.text import TextCodec
from bottega.core import Batch, Block, Classifies, Edits, RecipeError, Rng, Scores, Spec, SpecError, has
from bottega.data import builtin, worlds
from bottega.families.naive_bayes import NaiveBayes


def counted(spec, batch, parts=5, **settings):
    """A model that has counted ``batch`` and moved no weight."""
    model = NaiveBayes(spec, **settings)
    for part in batch.split(parts):
        model.loss(part, Rng(0))
        model.settle(0)
    return model


def digits():
    codec = ImageCodec(size=8, channels=1, levels=17)
    items = builtin.load("digits").items
    codec.fit(items)
    return codec, codec.encode(items)


def test_agrees_with_scikit_learn_on_levels():
    codec, batch = digits()
    model = counted(codec.spec, batch, smoothing=0.5)
    other = CategoricalNB(alpha=0.5, min_categories=17).fit(batch.x.flatten(1), batch.cond)
    ours, theirs = model.classify(Batch(batch.x[:300])), other.predict_joint_log_proba(batch.x[:300].flatten(1))
    nats = model.log_prob(batch.take(slice(0, 300)), Rng(0)).detach().numpy()
    told = batch.cond[:300].numpy()
    assert (
        np.abs(nats - (theirs[np.arange(300), told] - other.class_log_prior_[told])).max() < 0.02
    )  # float32, 64 places
    assert (ours.argmax(1).numpy() == theirs.argmax(1)).all()


def test_agrees_with_scikit_learn_on_texts():
    data = worlds.load("languages", n=600)
    codec = TextCodec(tokenizer="char", unit="item", length=80)
    codec.fit(data.items)
    batch = codec.encode(data.items)
    model = counted(codec.spec, batch)
    bags = model._bag(batch).numpy()
    other = MultinomialNB(alpha=1.0).fit(bags, batch.cond)
    assert np.abs(model._log_table()[:, 0].detach().numpy() - other.feature_log_prob_).max() < 1e-4
    assert (model.classify(batch).argmax(1).numpy() == other.predict(bags)).all()


def test_agrees_with_scikit_learn_on_numbers():
    items = builtin.load("wine").items
    names = [k for k in items[0].value if k != "target" and isinstance(items[0].value[k], float | int)]
    x = torch.tensor([[float(i.value[k]) for k in names] for i in items])
    x = (x - x.mean(0)) / (3 * x.std(0))
    y = torch.arange(len(x)) % 3
    model = counted(Spec((len(names),), cond=Spec((), vocab=3)), Batch(x, y), smoothing=1e-6)
    other = GaussianNB(var_smoothing=0).fit(x, y)
    mean, variance = model._gaussians()
    assert np.abs(mean.detach().numpy() - other.theta_).max() < 1e-5
    assert np.abs(variance.detach().numpy() - other.var_).max() < 1e-5
    assert np.abs(model.classify(Batch(x)).detach().exp().numpy() - other.predict_proba(x)).max() < 0.02


def test_capabilities():
    plain = NaiveBayes(Spec((4,), vocab=3))
    assert all(has(plain, c) for c in (Scores, Edits))
    assert not has(plain, Classifies)


def test_samples_have_the_marginals_of_each_class():
    """Ten thousand of each digit: the share of every level at every pixel is that of the training images, to 2 %."""
    codec, batch = digits()
    model = counted(codec.spec, batch, smoothing=1e-3)
    for k in (0, 7):
        real = torch.nn.functional.one_hot(batch.x[batch.cond == k].flatten(1), 17).double().mean(0)
        made = model.sample(10_000, Rng(k), torch.full((10_000,), k))
        share = torch.nn.functional.one_hot(made.flatten(1), 17).double().mean(0)
        assert (share - real).abs().max() < 0.02
    free = model.sample(5000, Rng(3))
    assert free.shape == (5000, 1, 8, 8)


def test_a_text_is_a_bag():
    spec = Spec((6,), vocab=4)
    model = counted(spec, Batch(torch.tensor([[0, 0, 1, 1, 1, 3]]).repeat(3, 1)), smoothing=1e-4)
    made = model.sample(4000, Rng(0))
    share = torch.bincount(made.flatten(), minlength=4) / made.numel()
    assert (share - torch.tensor([2, 3, 0, 1]) / 6).abs().max() < 0.02
    a, b = model.log_prob(Batch(torch.tensor([[0, 1, 3, 0, 1, 1], [1, 1, 1, 0, 0, 3]])), Rng(0))
    assert a == b


def test_what_is_missing_depends_on_what_is_kept_through_the_class():
    spec = Spec((2,), vocab=4, blocks=(Block("a", "choice", 0, 2), Block("b", "choice", 2, 2)), cond=Spec((), vocab=2))
    x = torch.tensor([[0, 2], [1, 3]]).repeat(200, 1)
    model = counted(spec, Batch(x, torch.arange(2).repeat(200)), smoothing=0.01)
    made = model.edit(Batch(x[:1].expand(500, -1)), torch.tensor([[True, False]]), Rng(0))
    assert (made[:, 1] == 2).double().mean() > 0.98
    told = Batch(x[:1].expand(500, -1), torch.ones(500, dtype=torch.long))
    assert (model.edit(told, torch.tensor([[True, False]]), Rng(0))[:, 1] == 3).double().mean() > 0.98


def test_unlabelled_rows_help():
    data = worlds.load("languages", n=1500)
    codec = TextCodec(tokenizer="char", unit="item", length=80)
    codec.fit(data.items)
    batch = codec.encode(data.items)
    held, train = batch.take(slice(1000, 1500)), batch.take(slice(0, 1000))
    few = torch.where(torch.arange(1000) < 9, train.cond, -1)

    def right(model):
        return (model.classify(Batch(held.x, mask=held.mask)).argmax(1) == held.cond).double().mean().item()

    alone = right(counted(codec.spec, train.take(slice(0, 9)), smoothing=0.1))
    both = right(counted(codec.spec, Batch(train.x, few, train.mask), parts=100, smoothing=0.1))
    assert both > alone


def test_bad_values_are_refused():
    with pytest.raises(RecipeError, match="smoothing"):
        NaiveBayes(Spec((4,), vocab=3), smoothing=0.0)
    with pytest.raises(SpecError, match="columns of names"):
        NaiveBayes(Spec((3,), blocks=(Block("a", "choice", 0, 3),)))
