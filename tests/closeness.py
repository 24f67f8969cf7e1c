"""How near two results must be that a CPU may round in its own way."""

from torch import Tensor


def assert_near(ours: Tensor, expected: Tensor, share: float) -> None:
    """Fail unless all differences are at most this share of the largest expected value.

    Sums of many products are as exact as their largest ones: a CPU that adds them in another order
    (AVX2, AVX-512, Arm) is off by a share of the largest value, also where the sum is near 0.
    """
    assert ours.shape == expected.shape
    off = float((ours.detach().double() - expected.detach().double()).abs().max())
    largest = float(expected.detach().abs().max())
    assert off <= share * largest, f"off by {off:.1e}, that is {off / largest:.1e} of the largest"
