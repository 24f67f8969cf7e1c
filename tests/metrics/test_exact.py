"""What good castings certify, against tables of Clopper-Pearson bounds."""

import pytest
from scipy.stats import beta

from metrics.exact import certificate, certificate_text, highest_rate, trials_to_certify


@pytest.mark.parametrize(("good", "bound"), [(1, 0.95), (17, 0.1616), (59, 0.0495), (299, 0.00997)])
def test_none_rejected_certifies_the_root_of_a_twentieth(good, bound):
    assert highest_rate(0, good) == pytest.approx(bound, rel=1e-3)
    assert highest_rate(0, good) == pytest.approx(1 - 0.05 ** (1 / good))


@pytest.mark.parametrize(("rejected", "good"), [(1, 17), (2, 17), (16, 17), (5, 400)])
def test_some_rejected_certify_the_bound_of_clopper_and_pearson(rejected, good):
    bound = beta.ppf(0.95, rejected + 1, good - rejected)
    assert highest_rate(rejected, good) == pytest.approx(bound)


def test_all_rejected_certify_nothing():
    assert highest_rate(3, 3) == 1


@pytest.mark.parametrize(("rate", "trials"), [(0.05, 59), (0.01, 299), (0.1, 29)])
def test_so_many_without_one_rejected_are_the_fewest_that_do(rate, trials):
    assert trials_to_certify(rate) == trials
    assert highest_rate(0, trials) <= rate < highest_rate(0, trials - 1)


def test_a_certificate_reads_as_a_sentence():
    assert certificate_text(certificate(1, 17)) == (
        "of 17 good castings 1 was rejected: with 95 % confidence the false-alarm rate per casting "
        "is at most 25.0 %; 59 without one rejected would certify 5 %"
    )
    assert certificate_text(certificate(0, 1)).startswith("of 1 good casting none was rejected: ")
    assert certificate_text(certificate(2, 17)).startswith("of 17 good castings 2 were rejected: ")


def test_what_is_reached_is_not_asked_for():
    assert certificate_text(certificate(0, 59)).endswith(" is at most 5.0 %")
    assert "would certify" in certificate_text(certificate(0, 58))


def test_without_good_castings_there_is_no_certificate():
    assert certificate(0, 0) is None
