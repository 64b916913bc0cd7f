"""Baselines: by hand, against loops over pixels, and random against the mean of many draws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2vt.evaluation import baselines
from s2vt.evaluation.pointing import attention_correctness, hit, temporal_hit
from s2vt.evaluation.tally import Tally

BOXES = [(1, 1, 4, 3), (3, 2, 6, 5)]  # 6 + 9 - 1 pixels in common = 14


def test_random_is_the_share_of_pixels_in_the_union():
    assert baselines.share_inside(BOXES, width=10, height=7) == 14 / 70
    assert baselines.share_inside([], width=10, height=7) == 0
    assert baselines.share_inside([(-1, -1, 99, 99)], width=10, height=7) == 1


def test_random_with_tolerance():
    # Around one pixel, within 1.5 px of its edges: its own row and column reach 2 further (1.5 to the centre; 1 each
    # way is 0.5 off), the diagonal neighbours are 0.71 off, the knight's moves sqrt(0.25 + 2.25) = 1.58 off.
    assert baselines.share_inside([(4, 3, 5, 4)], width=10, height=7, tolerance=1.5) == (1 + 8 + 4) / 70
    assert baselines.share_inside([(4, 3, 5, 4)], width=10, height=7, tolerance=0.5) == (1 + 4) / 70
    assert baselines.pointing_rows([(4, 3, 5, 4)], 10, 7, tolerance=0.5)["random"] == (1 + 4) / 70
    assert baselines.clip_pointing_rows([[(4, 3, 5, 4)]], 10, 7, tolerance=0.5)["random"] == (1 + 4) / 70


@pytest.mark.parametrize("tolerance", [0, 0.5, 2, 3.2])
def test_random_is_the_mean_hit_over_all_pixels(tolerance):
    hits = [
        hit((column + 0.5, row + 0.5), [(0.3, 2.7, 4.5, 5.5), (7, 0, 9, 2)], tolerance)
        for row in range(7)
        for column in range(10)
    ]
    share = baselines.share_inside([(0.3, 2.7, 4.5, 5.5), (7, 0, 9, 2)], 10, 7, tolerance)
    assert share == pytest.approx(sum(hits) / 70)


def test_random_is_the_mean_hit_of_random_draws():
    rng = np.random.default_rng(0)
    points = np.stack([rng.integers(10, size=4000), rng.integers(7, size=4000)], axis=1) + 0.5
    drawn = np.mean([hit(point, BOXES) for point in points])
    assert drawn == pytest.approx(baselines.pointing_rows(BOXES, 10, 7)["random"], abs=4 * np.sqrt(0.16 / 4000))


def test_a_picture_without_pixels_is_refused():
    with pytest.raises(ValueError, match="at least one pixel.*0x7"):
        baselines.share_inside(BOXES, 0, 7)


def test_center_is_the_centre_of_the_picture():
    assert baselines.center(10, 7) == (5, 3.5)
    assert baselines.pointing_rows(BOXES, width=10, height=7)["center"] is True
    assert baselines.pointing_rows(BOXES, width=2, height=7)["center"] is False
    assert baselines.pointing_rows([(0, 0, 5, 7)], width=10, height=7)["center"] is False  # x2 is exclusive
    assert baselines.pointing_rows([(0, 0, 4, 7)], width=10, height=7, tolerance=1)["center"] is True


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(1, 9), st.floats(1e-6, 1e6))
def test_uniform_is_the_score_of_a_uniform_map(width, height, value):
    rows = baselines.correctness_rows(BOXES, width, height)
    assert attention_correctness(np.full((height, width), value), BOXES) == pytest.approx(rows["uniform"])
    assert attention_correctness(np.zeros((height, width)), BOXES) == pytest.approx(rows["uniform"])


def test_clip_rows_average_over_frames_in_view():
    boxes = [[(0, 0, 5, 7)], [], [(0, 0, 10, 7)], [(3, 3, 7, 4)]]  # shares 35/70, 70/70, 4/70
    rows = baselines.clip_pointing_rows(boxes, width=10, height=7)
    assert rows == {"random": pytest.approx((35 + 70 + 4) / 210), "center": pytest.approx(2 / 3)}
    with pytest.raises(ValueError, match="at least one frame"):
        baselines.clip_pointing_rows([[], []], 10, 7)


def test_temporal_rows_by_hand():
    present = [True, False, False, True, True]
    assert baselines.temporal_rows(present) == {"random": 0.6, "middle": False}
    assert baselines.temporal_rows(present[1:]) == {"random": 0.5, "middle": True}  # 4 frames: frame 2
    assert [baselines.middle(m) for m in (1, 2, 5, 26)] == [0, 1, 2, 13]
    for wrong in ([], [[True]]):
        with pytest.raises(ValueError, match="m >= 1"):
            baselines.temporal_rows(wrong)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_temporal_random_is_the_mean_hit_over_all_frames(present):
    frames = np.eye(len(present))
    rows = baselines.temporal_rows(present)
    assert rows["random"] == pytest.approx(np.mean([temporal_hit(frame, present) for frame in frames]))
    assert rows["middle"] == temporal_hit(frames[len(present) // 2], present)


def test_baselines_and_a_map_in_one_tally():
    tally = Tally("pointing game", baselines.POINTING_BASELINES)
    tally.add({"nll": hit((1.5, 1.5), BOXES)} | baselines.pointing_rows(BOXES, 10, 7), ("other",))
    assert "| nll | 1.000 | 1.000 |\n| random | 0.200 | 0.200 |\n| center | 1.000 | 1.000 |" in tally.table()
    assert "not one draw" in tally.table()
