"""Batch, Terms, Spec, Family, Measure and the errors."""

from __future__ import annotations

import json
import math

import pytest
import torch

from bottega import core
from bottega.core import (
    Batch,
    Block,
    BottegaError,
    Edits,
    Encodes,
    Family,
    Measure,
    RecipeError,
    Scores,
    Spec,
    SpecError,
    Streams,
    Terms,
    has,
    mean_interval,
    nearest,
)
from bottega.testing import specs


def test_a_batch_takes_rows_of_all_its_parts():
    batch = Batch(torch.arange(6).view(3, 2), torch.tensor([7, 8, 9]), torch.tensor([[True], [False], [True]]))
    for rows in (torch.tensor([2, 0]), torch.tensor([True, False, True]), slice(1, 3)):
        part = batch.take(rows)
        assert torch.equal(part.x, batch.x[rows])
        assert torch.equal(part.cond, batch.cond[rows])
        assert torch.equal(part.mask, batch.mask[rows])
    assert batch.take(slice(0, 1)).to("cpu").cond.tolist() == [7]
    assert Batch(batch.x).take(slice(0, 1)).cond is None


def test_the_pieces_of_a_batch_are_the_batch():
    batch = Batch(torch.randn(7, 2), torch.arange(7), torch.rand(7, 2) < 0.5)
    again = Batch.cat(batch.split(3))
    assert torch.equal(again.x, batch.x)
    assert torch.equal(again.cond, batch.cond)
    assert torch.equal(again.mask, batch.mask)
    assert Batch.cat(Batch(batch.x).split(3)).cond is None


def test_terms_add_up_and_divide_by_the_weight():
    parts = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3.0, 5.0])}
    assert Terms(parts).total.tolist() == [4.0, 7.0]
    assert Terms(parts).means() == {"a": 1.5, "b": 4.0}
    weighted = Terms(parts, torch.tensor([1.0, 3.0]))
    assert weighted.count.item() == 4
    assert weighted.means() == {"a": 0.75, "b": 2.0}


def test_the_count_is_exact_under_bfloat16():
    assert Terms({"a": torch.zeros(257, dtype=torch.bfloat16)}).count.item() == 257


@pytest.mark.parametrize("spec", specs().values(), ids=list(specs()))
def test_a_spec_goes_through_json(spec):
    assert Spec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_levels_and_real_numbers_are_inverse(levels):
    spec = Spec((levels,), vocab=levels, ordinal=True)
    x = torch.arange(levels)[None]
    real = spec.as_real(x)
    assert (real.min(), real.max()) == (-1, 1)
    assert torch.equal(spec.as_tokens(real), x)
    assert torch.equal(spec.as_tokens(real * 1.5), spec.as_tokens((real * 1.5).clamp(-1, 1)))
    plain = Spec((3,))
    y = torch.randn(2, 3)
    assert plain.as_real(y) is y
    assert plain.as_tokens(y) is y


def test_a_spec_says_what_it_is():
    assert Spec((3, 4, 5)).dims == 60
    assert Spec((3, 4, 5)).is_image
    assert Spec((9,), vocab=5).is_sequence
    assert not Spec((9,)).is_sequence
    spec = Spec((2,), vocab=4, blocks=(Block("a", "choice", 0, 2), Block("b", "choice", 2, 2)), cond=Spec((), vocab=3))
    assert str(spec) == "(2,) whole numbers in [0, 4), 2 columns, given () whole numbers in [0, 3)"
    assert len({spec, Spec.from_dict(spec.to_dict())}) == 1


class Fussy(Family):
    bound = "exact"
    latent = Spec((1,))

    @classmethod
    def accepts(cls, spec):
        return "" if spec.dims < 3 else "it has too many numbers; use fewer"

    def log_prob(self, batch, rng):
        return batch.x.sum(1)

    def encode(self, batch):
        return batch.x

    def decode(self, z, cond=None):
        return z


def test_a_family_refuses_what_it_does_not_accept_and_says_the_mend():
    with pytest.raises(
        SpecError, match=r"^Fussy cannot model \(3,\) real numbers: it has too many numbers; use fewer$"
    ):
        Fussy(Spec((3,)))


def test_having_the_methods_is_the_capability_unless_the_settings_take_it_away():
    model = Fussy(Spec((2,)))
    assert has(model, Scores)
    assert has(model, Encodes)
    assert not has(model, Streams)
    assert not has(model, Edits)
    model.lacks = {"Scores"}
    assert not has(model, Scores)
    assert has(model, Encodes)


def test_by_default_the_whole_model_moves_by_its_loss():
    (turn,) = Fussy(Spec((2,))).turns()
    assert (turn.player, turn.every, turn.repeat) == ("", 1, 1)


def test_a_measure_is_json_and_an_interval_covers_the_mean():
    assert json.loads(json.dumps(Measure("nll_nats", 1.5, n=3).to_dict()))["value"] == 1.5
    x = torch.linspace(-1, 3, 400)
    mean, low, high = mean_interval(x)
    assert mean == pytest.approx(1.0)
    assert high - mean == pytest.approx(1.96 * x.std().item() / 20)
    assert mean - low == pytest.approx(high - mean)
    assert mean_interval(torch.tensor([2.0])) == (2.0, -math.inf, math.inf)
    hits = sum(
        low <= 0 <= high
        for _, low, high in (
            mean_interval(torch.randn(50, generator=torch.Generator().manual_seed(k))) for k in range(200)
        )
    )
    assert 180 <= hits <= 199


@pytest.mark.parametrize("name", [n for n in core.__all__ if n.endswith("Error")])
def test_every_error_is_one_family(name):
    assert issubclass(getattr(core, name), BottegaError)


def test_nearest_names_one_or_all():
    assert nearest("adamv", ["adamw", "muon"]) == "; did you mean 'adamw'?"
    assert nearest("qqq", ["b", "a"]) == "; known: a, b"


def test_every_public_name_of_core_is_there():
    assert all(getattr(core, name) is not None for name in core.__all__)
    with pytest.raises(AttributeError):
        core.no_such_name  # noqa: B018
    assert RecipeError in BottegaError.__subclasses__()
