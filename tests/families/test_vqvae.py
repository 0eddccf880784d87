"""VQ-VAE: its bound by enumeration, its codes, and a model of its codes."""

import pytest
import torch
from sklearn.datasets import load_digits

from bottega.codecs.image import ImageCodec
from bottega.codecs.latent import LatentCodec
from bottega.core import Batch, Item, RecipeError, Rng, Spec, SpecError
from bottega.families.gpt import GPT
from bottega.families.vqvae import VQVAE
from bottega.testing.cases import everything
from helpers import trained

LEVELS = Spec((1, 8, 8), vocab=17, ordinal=True)


def vqvae(spec=LEVELS, seed=0, **settings):
    torch.manual_seed(seed)
    return VQVAE(spec, **{"size": 8, **settings})


def test_the_bound_is_below_the_likelihood_summed_over_all_codes():
    """On 2 x 2 pictures with one code of three: ``p(x) = sum_z p(z) p(x|z)``, and the sum of all bounds is below one."""
    model = vqvae(Spec((1, 2, 2), vocab=2, ordinal=True), codes=3).eval()
    with torch.no_grad():
        model.prior.add_(0.1 * Rng(1).normal(*model.prior.shape))
        x, z = everything(model.spec), torch.arange(3).view(3, 1, 1, 1)
        out = model._decode(model.codebook.vectors[z[:, 0]])
        each = torch.stack([model.likelihood.log_prob(out, one.expand(3, 1, 2, 2)) for one in x])  # (16, 3)
        exact = (each + model._logits(model.known(None, 1)).flatten().log_softmax(0)).logsumexp(1)
        ours = model.log_prob(Batch(x), Rng(0))
    assert exact.exp().sum().item() == pytest.approx(1, abs=1e-4)
    assert (ours < exact + 1e-5).all()
    picked = (each + model._logits(model.known(None, 1)).flatten().log_softmax(0)).gather(
        1, model.encode(Batch(x)).flatten(1)
    )
    torch.testing.assert_close(ours, picked[:, 0])


def test_four_kinds_of_cells_are_four_codes():
    """Pictures made of 2 x 2 cells of four tones: a few codes say everything, and the prior learns how often each comes."""
    n = 1500
    kind = torch.multinomial(
        torch.tensor([0.4, 0.3, 0.2, 0.1]), n * 16, True, generator=torch.Generator().manual_seed(0)
    ).view(n, 1, 4, 4)
    tone = torch.tensor([-0.9, -0.3, 0.3, 0.9])[kind].repeat_interleave(2, 2).repeat_interleave(2, 3)
    x = tone + 0.02 * Rng(1).normal(n, 1, 8, 8)
    model = trained(vqvae(Spec((1, 8, 8)), codes=8, width=4), Batch(x[:1400]), 300, clip=0)
    held = Batch(x[1400:])
    assert (model.decode(model.encode(held)) - held.x).square().mean() < 0.1 * held.x.var()
    assert len(model.encode(held).unique()) >= 4
    often = torch.bincount(model.encode(Batch(x[:1400])).flatten(), minlength=8) / (1400 * 16)
    torch.testing.assert_close(model._logits(model.known(None, 1)).softmax(1).mean((0, 2, 3)), often, rtol=0, atol=0.05)


@pytest.mark.slow
def test_a_model_of_its_codes_draws_better_pictures_than_its_own_prior():
    """Each picture is one tone all over, which cells that know nothing of each other cannot do; a gpt of the codes can."""
    made = torch.randint(0, 4, (400,), generator=torch.Generator().manual_seed(0)) * 80
    items = [Item(torch.full((8, 8, 1), int(v), dtype=torch.uint8).numpy()) for v in made]
    inner = ImageCodec(size=0).fit(items)
    first = trained(vqvae(inner.spec, codes=8, width=4), inner.encode(items), 150, clip=0)
    codec = LatentCodec(inner, first).fit(items)
    assert codec.spec == Spec((16,), vocab=8)
    torch.manual_seed(0)
    second = trained(GPT(codec.spec, size=1), codec.encode(items), 150, lr=1e-2, clip=0)

    def unevenness(pictures):
        return torch.stack([torch.from_numpy(p.value).float().std() for p in pictures]).mean().item()

    alone = unevenness(inner.decode(first.sample(64, Rng(0))))
    together = unevenness(codec.decode(second.sample(64, Rng(0))))
    assert alone > 15
    assert together < 0.6 * alone


@pytest.mark.slow
def test_digits_go_through_sixteen_codes():
    digits = load_digits()
    x = torch.tensor(digits.images).long()[:, None]
    model = trained(vqvae(size=16, codes=64), Batch(x[:1500]), 600, clip=0)
    held = Batch(x[1500:])
    error = (model.decode(model.encode(held)) - held.x).float().square().mean()
    assert error < 0.35 * x[1500:].float().var()
    assert len(model.encode(held).unique()) > 16


def test_what_it_refuses():
    with pytest.raises(SpecError, match="use family vae"):
        VQVAE(Spec((2,)))
    with pytest.raises(SpecError, match="pixelcnn"):
        VQVAE(Spec((1, 4, 4), vocab=5))
    with pytest.raises(RecipeError, match="temperature is 0"):
        vqvae().sample(1, Rng(0), temperature=0.0)
    for wrong in (
        {"size": 0},
        {"codes": 1},
        {"width": 0},
        {"depth": 0},
        {"halvings": -1},
        {"commit": -1.0},
        {"drop": 1.0},
    ):
        with pytest.raises(RecipeError, match=rf"family.*{next(iter(wrong))}"):
            vqvae(**wrong)
