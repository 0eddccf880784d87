"""What a consent allows and what it does not."""

from dataclasses import replace
from datetime import date

import pytest

from bottega.core import DataError
from bottega.trust.consent import Consent, check, read_consent, revoke, write_consent
from helpers import one_line

DAY = date(2026, 6, 1)
ANN = Consent("Ann \u201cA\u201d Lee", ("ab" * 32,), "her book", ("clone",), date(2026, 1, 1), date(2026, 12, 31))


def test_a_record_comes_back(tmp_path):
    assert read_consent(write_consent(ANN, tmp_path / "a" / "ann.toml")) == ANN
    assert check(ANN, ANN.voices, "clone", DAY) is ANN


@pytest.mark.parametrize(("record", "voices", "use", "why"), [
    (None, ANN.voices, "clone", "needs the consent"),
    (ANN, ("cd" * 32,), "clone", "another voice"),
    (ANN, (*ANN.voices, "cd" * 32), "clone", "another voice"),
    (ANN, (), "clone", "another voice"),
    (ANN, ANN.voices, "convert", "not to convert"),
    (replace(ANN, until=date(2026, 5, 31)), ANN.voices, "clone", "expired on 2026-05-31"),
    (replace(ANN, since=date(2026, 6, 2)), ANN.voices, "clone", "begins on 2026-06-02"),
    (revoke(ANN, date(2026, 3, 1)), ANN.voices, "clone", "revoked on 2026-03-01"),
])  # fmt: skip
def test_nothing_goes_without_one_that_fits(record, voices, use, why):
    with pytest.raises(DataError) as error:
        check(record, voices, use, DAY)
    one_line(error, why)


def test_a_record_that_was_changed_or_is_none_is_refused(tmp_path):
    path = write_consent(ANN, tmp_path / "ann.toml")
    path.write_text(path.read_text().replace("2026-12-31", "2099-12-31"))
    with pytest.raises(DataError) as error:
        read_consent(path)
    one_line(error, "was changed after it was made")
    for text, why in (("who = 1", "who = 1"), ("nothing", "cannot read"), ('who = "a"', "has no 'purpose'")):
        path.write_text(text)
        with pytest.raises(DataError) as error:
            read_consent(path)
        one_line(error, why)
    with pytest.raises(DataError) as error:
        read_consent(tmp_path / "none.toml")
    one_line(error, "no consent record")
    for wrong in (replace(ANN, who=" "), replace(ANN, voices=()), replace(ANN, until=date(2025, 1, 1))):
        with pytest.raises(DataError):
            write_consent(wrong, path)
