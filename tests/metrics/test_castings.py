"""What castings say of their images."""

from metrics.castings import equally


def test_images_are_chosen_equally_of_each_casting():
    castings = ["a"] * 300 + ["b"] * 20 + ["c"] * 5
    chosen = equally(castings, 60)
    assert len(set(chosen)) == len(chosen) == 60
    assert [sum(castings[i] == name for i in chosen) for name in "abc"] == [35, 20, 5]
    assert [sum(castings[i] == name for i in equally(castings, 9)) for name in "abc"] == [3, 3, 3]
    assert equally(castings, 1000) == list(range(325))
