"""MusicVAE: pieces come back from their codes, codes between two are pieces between them, and bars see the code."""

import pytest
import torch

from bottega.core import Batch, CheckpointError, Encoded, RecipeError, Rng, Spec
from bottega.data.stream import Stream
from bottega.families.musicvae import MusicVAE
from bottega.training.checkpoint import load_weights
from bottega.training.loop import fit
from bottega.training.optim import make_optims

BARS, LONG = 3, 4
SPEC = Spec((BARS * LONG,), vocab=9)


def pieces(n, seed):
    """Three bars, each a scale up or down from a tone of its own: 4 x 2 choices a bar; and the start of each bar."""
    draw = torch.Generator().manual_seed(seed)
    start, way = torch.randint(0, 4, (n, BARS), generator=draw), torch.randint(0, 2, (n, BARS), generator=draw)
    steps = torch.arange(LONG)
    x = torch.where(way[..., None] == 0, start[..., None] + steps, start[..., None] + 4 - steps)
    return x.flatten(1), start


@pytest.fixture(scope="module")
def learned():
    torch.manual_seed(0)
    model = MusicVAE(SPEC, size=48, latent=12, segment=LONG, beta=0.05, word_dropout=0.5)
    batch = Encoded(Batch(pieces(2000, 0)[0]))
    fit(model, Stream(batch, 64), make_optims(model, 300, {"lr": 5e-3}), steps=300, rng=Rng(0))
    return model.eval()


def test_pieces_that_it_never_saw_come_back_from_their_codes(learned):
    x, _ = pieces(300, 1)
    assert (learned.decode(learned.encode(Batch(x))) == x).double().mean() > 0.95
    other = learned.decode(learned.encode(Batch(x)).roll(1, 0))
    assert (other == x).double().mean() < 0.5, "it is the code that says which"


def test_the_bound_lies_above_the_entropy(learned):
    entropy = BARS * torch.tensor(8.0).log().item()
    batch = Batch(pieces(500, 2)[0])
    rate, distortion = learned.rate_distortion(batch, Rng(0))
    assert (rate + distortion).mean().item() == pytest.approx(-learned.log_prob(batch, Rng(0)).mean().item(), abs=1e-4)
    assert (rate + distortion).mean().item() > entropy  # by far: at beta 0.05 codes may cost more than they say
    assert distortion.mean().item() < 2
    assert rate.mean().item() > 0.7 * entropy, "no collapse of the posterior"


def test_what_lies_between_two_codes_goes_from_one_to_the_other(learned):
    x = pieces(200, 3)[0]
    a, b = x[:100], x[100:]
    z = learned.encode(Batch(x))
    like = []
    for t in (0.0, 0.25, 0.5, 0.75, 1.0):
        made = learned.decode(torch.lerp(z[:100], z[100:], t))
        like.append(((made == b).double().mean() - (made == a).double().mean()).item())
    assert like == sorted(like)
    assert like[-1] > 0.4 > -0.4 > like[0]


def test_samples_are_pieces_of_the_world(learned):
    made = learned.sample(200, Rng(0), temperature=0.5).view(-1, LONG)
    steps = made.diff(dim=1)
    assert ((steps == 1).all(1) | (steps == -1).all(1)).double().mean() > 0.8
    assert torch.equal(learned.sample(3, Rng(1), temperature=0.0), learned.sample(3, Rng(1), temperature=0.0))


def test_padding_is_not_read_and_every_token_is():
    """A code is that of all tokens, and of none that stands behind the end."""
    torch.manual_seed(0)
    model = MusicVAE(SPEC, size=8, latent=4, segment=LONG, looks=3).eval()
    x = pieces(1, 4)[0].expand(2, -1).clone()
    x[1, 5:] = 0
    mask = torch.arange(SPEC.shape[0]) < torch.tensor([[5], [5]])
    padded = model.encode(Batch(x, mask=mask))
    torch.testing.assert_close(padded[0], padded[1])
    for k in range(SPEC.shape[0]):
        other = x[:1].clone()
        other[0, k] = 8
        assert not torch.allclose(model.encode(Batch(other)), model.encode(Batch(x[:1])), atol=1e-5)


def test_a_run_of_the_encoder_that_read_two_states_is_refused_in_one_line():
    model = MusicVAE(SPEC, size=8)
    old = {name: t for name, t in model.state_dict().items() if not name.startswith(("look", "where"))}
    with pytest.raises(
        CheckpointError, match=r"^weight 'look.bias' is missing .*an older version, to be trained anew$"
    ):
        load_weights(model, old)


def test_what_it_needs_is_said():
    assert "vae" in MusicVAE.accepts(Spec((1, 8, 8)))
    assert MusicVAE.accepts(Spec((8,), vocab=11, cond=Spec((6,), vocab=11)))
    for wrong in ({"segment": 0}, {"beta": -1.0}, {"word_dropout": 1.0}, {"latent": 0}, {"looks": 0}):
        with pytest.raises(RecipeError, match="at least 1, 1, 1, 1, 0, 0"):
            MusicVAE(SPEC, **wrong)
    with pytest.raises(RecipeError, match="temperature is -1"):
        MusicVAE(SPEC, size=4).sample(1, Rng(0), temperature=-1)
