"""The suite must catch every deliberate fault, and must pass what the fault was made from."""

from __future__ import annotations

from functools import lru_cache

import faults
import pytest

from bottega.core import Batch
from bottega.testing import CHECKS, Subject, check_family, specs
from bottega.training import checkpoint, loop
from toys import TOYS, ToyChar, ToyFlow, ToyGAN, ToyVAE

# a faulty family, the kind of example, and the check that must catch it
FAMILIES = [
    (faults.BatchNormUndeclared, "points", "rows_are_independent"),
    (faults.CriticSeesTheBatch, "points", "rows_are_independent"),
    (faults.MeanTakenEarly, "points", "rows_are_independent"),
    (faults.OneNumberForTheBatch, "points", "a_loss_is_one_number_per_example"),
    (faults.GlobalNoiseInLoss, "points", "a_loss_changes_nothing"),
    (faults.LossWritesIntoTheBatch, "points", "a_loss_changes_nothing"),
    (faults.LossKeepsAnAverage, "points", "a_loss_changes_nothing"),
    (faults.DeadParameter, "points", "every_parameter_is_reached"),
    (faults.TiedInTheState, "points", "its_state_is_whole"),
    (faults.PrecisionLost, "image", "bfloat16_is_close"),
    (faults.BoundSaidToBeExact, "points", "scores_are_sound"),
    (faults.ScoresSeeNeighbours, "points", "scores_are_sound"),
    (faults.CodesDependOnNeighbours, "points", "codes_are_sound"),
    (faults.FeaturesDependOnNeighbours, "points", "features_are_sound"),
    (faults.DecodeIsNoInverse, "points", "codes_are_sound"),
    (faults.SharedDraw, "points", "a_sample_belongs_to_its_seed"),
    (faults.OneDrawForAll, "points", "a_sample_belongs_to_its_seed"),
    (faults.StopsTogether, "points", "a_sample_belongs_to_its_seed"),
    (faults.GlobalNoiseInSample, "points", "a_sample_changes_nothing"),
    (faults.DropoutInSample, "points", "a_sample_changes_nothing"),
    (faults.GradientLeftBySample, "points", "a_sample_fits_the_spec"),
    (faults.TokenOutOfRange, "text", "a_sample_fits_the_spec"),
    (faults.ConditionIgnoredInSample, "points_class", "the_condition_matters"),
    (faults.ConditionIgnoredInLoss, "points_class", "the_condition_matters"),
    (faults.ConditionNormalisedAway, "points_class", "the_condition_matters"),
    (faults.UnknownIsTheFirstClass, "points_class", "a_class_may_be_unknown"),
    (faults.WeightOutsideTheState, "points", "a_saved_model_samples_the_same"),
    (faults.AnnealingOutsideTheState, "points", "a_resumed_run_equals_an_uninterrupted_one"),
    (faults.SwallowsSettings, "points", "its_constructor_is_its_configuration"),
    (faults.BuildsWhatItRefuses, "points", "it_refuses_what_it_cannot_model"),
    (faults.VolumeForgotten, "points", "a_density_integrates_to_one"),
    (faults.SamplesTooWide, "points", "a_density_integrates_to_one"),
    (faults.NotNormalised, "text", "probabilities_sum_to_one"),
    (faults.LooksAhead, "text", "probabilities_sum_to_one"),
    (faults.PaddingCounts, "text", "padding_is_ignored"),
    (faults.GivenIsBlanked, "text", "what_is_given_is_read"),
    (faults.EditsWhatIsKept, "text", "an_edit_keeps_what_it_is_told_to_keep"),
    (faults.TranslatesWhatIsThereAlready, "points_class", "a_translation_goes_where_it_is_told"),
    (faults.TranslatesByItsNeighbours, "points_class", "a_translation_goes_where_it_is_told"),
    (faults.StreamsSomethingElse, "text", "a_stream_is_the_sample_in_parts"),
]

GRADIENT = "the_gradient_is_the_weighted_mean_however_the_batch_is_cut"
RANKS = "two_processes_with_uneven_rows_agree_with_one"
RESUME = "a_resumed_run_equals_an_uninterrupted_one"

# a faulty way to play a turn
PLAYS = [
    (faults.mean_of_means, ToyVAE, "points", GRADIENT),
    (faults.mean_of_means, ToyChar, "text", GRADIENT),
    (faults.sum_for_mean, ToyVAE, "points", GRADIENT),
    (faults.rows_for_weight, ToyChar, "text", GRADIENT),
    (faults.mean_of_rank_means, ToyVAE, "points", RANKS),
    (faults.mean_of_rank_means, ToyChar, "text", RANKS),
]

# something of the house replaced by a faulty version
PATCHES = [
    ("nobody held still", {(loop, "only"): faults.nobody_held_still}, ToyGAN, "points", "only_the_player_moves"),
    ("never thawed", {(loop, "only"): faults.never_thawed}, ToyGAN, "points", "only_the_player_moves"),
    ("ragged split", {(Batch, "split"): faults.ragged_split}, ToyVAE, "points", GRADIENT),
    ("average not saved", faults.without("ema."), ToyVAE, "points", RESUME),
    ("random state not saved", faults.without("rng."), ToyVAE, "points", RESUME),
    ("optimiser not saved", faults.without("optim."), ToyVAE, "points", RESUME),
    ("weights not saved", faults.without("model."), ToyVAE, "points", RESUME),
    ("one player's optimiser not saved", faults.without("optim.critic"), ToyGAN, "points", RESUME),
    ("saved before the average", {(loop, "fit"): faults.saved_before_the_average}, ToyVAE, "points", RESUME),
    ("learning rate starts anew", {(loop, "fit"): faults.learning_rate_starts_anew}, ToyVAE, "points", RESUME),
    (
        "average in the order of the file",
        {(checkpoint, "unpack"): faults.average_in_the_order_of_the_file},
        ToyVAE,
        "points",
        RESUME,
    ),
    (
        "weights rounded",
        {(checkpoint, "save"): faults.weights_rounded},
        ToyVAE,
        "image",
        "a_saved_model_samples_the_same",
    ),
]


@lru_cache
def check_passes(make, kind, check):
    CHECKS[check](Subject(make, specs()[kind]))


def toy(mutant):
    return next(t for t in TOYS if issubclass(mutant, t))


@pytest.mark.parametrize("make", TOYS)
def test_the_originals_pass_every_check(make):
    for kind, spec in specs().items():
        if kind in {"points_class", "image", "table_class", "text_class"} and not make.accepts(spec):
            report = check_family(make, spec)
            assert len(report.passed) >= 16


@pytest.mark.parametrize(("mutant", "kind", "check"), FAMILIES, ids=lambda v: getattr(v, "__name__", v))
def test_a_faulty_family_is_caught(mutant, kind, check):
    check_passes(toy(mutant), kind, check)
    subject = Subject(mutant, specs()[kind])
    assert not CHECKS[check].why_not(subject)
    with pytest.raises((AssertionError, ValueError)):
        CHECKS[check](subject)


@pytest.mark.parametrize(("play", "make", "kind", "check"), PLAYS, ids=lambda v: getattr(v, "__name__", v))
def test_a_faulty_way_to_play_is_caught(play, make, kind, check):
    check_passes(make, kind, check)
    with pytest.raises(AssertionError, match="gradients differ"):
        CHECKS[check](Subject(make, specs()[kind], play=play))


def test_the_mean_of_rank_means_is_right_on_one_machine():
    CHECKS["only_the_player_moves"](Subject(ToyVAE, specs()["points"], play=faults.mean_of_rank_means))


@pytest.mark.parametrize(("patch", "make", "kind", "check"), [p[1:] for p in PATCHES], ids=[p[0] for p in PATCHES])
def test_a_faulty_house_is_caught(patch, make, kind, check, monkeypatch):
    check_passes(make, kind, check)
    for (where, name), fault in patch.items():
        monkeypatch.setattr(where, name, fault)
    with pytest.raises((AssertionError, ValueError, RuntimeError)):
        CHECKS[check](Subject(make, specs()[kind]))


def test_check_family_reports_what_failed_and_what_it_skipped():
    with pytest.raises(AssertionError) as caught:
        check_family(faults.DeadParameter, specs()["points"], checks=["every_parameter_is_reached", "codes_are_sound"])
    assert "1 checks passed, 0 skipped, 1 failed" in str(caught.value)
    assert "no turn reaches 'forgotten.bias' (2 in all)" in str(caught.value)


def test_every_check_catches_some_mutant():
    caught = {check for *_, check in FAMILIES} | {check for *_, check in PLAYS} | {check for *_, check in PATCHES}
    assert caught == set(CHECKS)


def test_a_flow_that_is_right_passes_where_its_mutants_fail():
    assert not {name for name in CHECKS if CHECKS[name].why_not(Subject(ToyFlow, specs()["points_class"]))} & {
        "a_density_integrates_to_one",
        "codes_are_sound",
        "the_condition_matters",
    }
