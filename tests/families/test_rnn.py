"""Recurrent networks: exact probabilities, a state that says what the whole text says, and what each kind can learn."""

import pytest
import torch

from bottega.codecs.text import TextCodec
from bottega.core import Batch, Edits, RecipeError, Rng, Scores, Spec, SpecError, Streams, has
from bottega.data import worlds
from bottega.families.rnn import RNN
from helpers import trained

TEXT = Spec((9,), vocab=7)


def rnn(spec=TEXT, **options):
    torch.manual_seed(0)
    model = RNN(spec, **{"size": 12, **options})
    with torch.no_grad():
        model.read.weight.mul_(5)
    return model


def test_capabilities():
    assert all(has(rnn(), c) for c in (Scores, Streams, Edits))
    assert rnn().bound == "exact"


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_steps_say_what_the_whole_text_says(kind):
    model, x = rnn(kind=kind, depth=2), Rng(0).integers(7, 5, 9)
    with torch.no_grad():
        whole = model.logits(x, None)
        for first in (0, 4):  # read at once, then token by token
            step = model.step(5)
            made = [step(x[:, :first])] + [step(x[:, i : i + 1]) for i in range(first, 8)]
            torch.testing.assert_close(torch.stack(made, 1), whole[:, first:], atol=1e-5, rtol=1e-5)


def test_a_prompt_is_gone_on_from_beyond_the_length():
    model, x = rnn(), Rng(0).integers(7, 2, 4)
    made = model.edit(Batch(x), torch.ones_like(x, dtype=torch.bool), Rng(1), max_new=20)
    assert made.shape == (2, 24)
    assert torch.equal(made[:, :4], x)


def test_forget_gates_begin_open():
    model = RNN(TEXT, size=12)
    assert (model.body.bias_ih_l0[12:24] == 1).all()


def test_bad_values_are_refused():
    with pytest.raises(RecipeError, match="did you mean 'lstm'"):
        RNN(TEXT, kind="lstn")
    with pytest.raises(RecipeError, match="dropout"):
        RNN(TEXT, dropout=1.0)
    with pytest.raises(SpecError, match="pixelcnn"):
        RNN(Spec((1, 4, 4), vocab=4, ordinal=True))


def finished(model, codec, begun):
    """What the model makes of each beginning when it always takes the likeliest token."""
    out = []
    for text in begun:
        x = codec.encode_prompt(text)[None]
        made = model.edit(
            Batch(x), torch.ones_like(x, dtype=torch.bool), Rng(0), max_new=len(text) + 4, temperature=0.0
        )
        out.append(codec.decode(made)[0].value)
    return out


def learned(kind, world, steps, size, lr, length=42, **arguments):
    data = worlds.load(world, **arguments)
    codec = TextCodec(tokenizer="char", unit="item", length=length)
    codec.fit(data.items)
    torch.manual_seed(0)
    return data, codec, trained(RNN(codec.spec, kind=kind, size=size), codec.encode(data.items), steps, lr, ema=0.9)


def test_a_little_lstm_counts_to_five():
    data, codec, model = learned("lstm", "counting", 250, 24, 0.02, length=12, n=400, longest=5)
    begun = data.truth["begun"]
    assert finished(model, codec, begun) == [text + data.truth["rest"](text) for text in begun]
