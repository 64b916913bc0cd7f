"""Pointing game, attention correctness, the right moment and their tally: by hand, and against loops over pixels."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2vt.evaluation import pointing
from s2vt.evaluation.pointing import attention_correctness, clip_boxes, hit, temporal_hit
from s2vt.evaluation.tally import Tally

# --- the literal way: one pixel, one box at a time ------------------------------------------------------------------


def literal_hit(x, y, boxes, tolerance):
    for x1, y1, x2, y2 in boxes:
        if x1 <= x < x2 and y1 <= y < y2:
            return True
        nearest_x, nearest_y = min(max(x, x1), x2), min(max(y, y1), y2)
        if tolerance > 0 and (x - nearest_x) ** 2 + (y - nearest_y) ** 2 <= tolerance**2:
            return True
    return False


def literal_correctness(pixel_map, boxes):
    height, width = pixel_map.shape
    inside = total = 0.0
    for row in range(height):
        for column in range(width):
            value = float(pixel_map[row, column])
            total += value
            if literal_hit(column + 0.5, row + 0.5, boxes, 0):
                inside += value
    return inside / total


def random_boxes(rng, num_boxes, width, height):
    x, y = rng.uniform(-2, width + 2, (num_boxes, 2)), rng.uniform(-2, height + 2, (num_boxes, 2))
    boxes = np.stack([x.min(1), y.min(1), x.max(1), y.max(1)], axis=1)
    return boxes.round() if rng.random() < 0.5 else boxes  # whole numbers put pixel corners on edges


@pytest.mark.parametrize("seed", range(25))
def test_attention_correctness_equals_loops_over_pixels(seed):
    rng = np.random.default_rng(seed)
    height, width, num_boxes = 7, 11, rng.integers(0, 5)
    pixel_map, boxes = rng.gamma(0.3, size=(height, width)), random_boxes(rng, num_boxes, width, height)
    expected = literal_correctness(pixel_map, boxes)
    assert attention_correctness(pixel_map, boxes) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("tolerance", [0, 1.5, 4])
def test_pointing_game_equals_loops_over_pixels(seed, tolerance):
    rng = np.random.default_rng(seed)
    height, width, num_boxes = 7, 11, rng.integers(0, 4)
    boxes = random_boxes(rng, num_boxes, width, height)
    expected = [
        [literal_hit(column + 0.5, row + 0.5, boxes, tolerance) for column in range(width)] for row in range(height)
    ]
    one_by_one = [
        [hit((column + 0.5, row + 0.5), boxes, tolerance) for column in range(width)] for row in range(height)
    ]
    assert one_by_one == expected
    assert pointing.pixels_inside(boxes, width, height, tolerance).tolist() == expected


# --- hits, by hand --------------------------------------------------------------------------------------------------


def test_left_and_upper_edges_are_inside_right_and_lower_are_not():
    box = [(2, 3, 5, 7)]
    assert [hit(point, box) for point in [(2, 3), (4.99, 6.99), (5, 5), (3, 7), (1.99, 5)]] == [1, 1, 0, 0, 0]


def test_a_point_in_any_box_hits_and_without_boxes_none_does():
    boxes = [(0, 0, 1, 1), (10, 20, 11, 22)]
    assert hit((10.5, 21.5), boxes) and hit((0.5, 0.5), boxes)
    assert not hit((5.0, 10.0), boxes)  # between them
    assert not hit((0.5, 0.5), [], tolerance=15)


def test_tolerance_is_euclidean_and_inclusive():
    box = [(10, 10, 20, 20)]
    assert hit((25, 15), box, tolerance=5)  # 5 to the right
    assert hit((23, 24), box, tolerance=5)  # 3 and 4 off the corner: 5
    assert not hit((23.1, 24), box, tolerance=5)
    assert not hit((24, 24), box, tolerance=5)  # 5 in either axis, 5.66 away


def test_hit_is_a_python_bool_that_json_can_write():
    assert json.dumps([hit((1, 1), [(0, 0, 2, 2)]), temporal_hit([1, 0], [1, 0])]) == "[true, true]"


def test_hit_share_counts_frames_in_view_only():
    inside, outside = (0.5, 0.5), (9.5, 9.5)
    boxes = [[(0, 0, 1, 1)], [], [(0, 0, 1, 1)], [(0, 0, 1, 1), (9, 9, 10, 10)], [(0, 0, 1, 1)]]
    assert pointing.hit_share([inside, inside, outside, outside, outside], boxes) == 0.5
    assert pointing.hit_share([outside] * 5, boxes, tolerance=20) == 1.0
    with pytest.raises(ValueError, match="at least one frame"):
        pointing.hit_share([inside], [[]])
    with pytest.raises(ValueError):
        pointing.hit_share([inside], boxes)


@pytest.mark.parametrize("point", [(1,), (1, 2, 3), (np.nan, 1), (1, np.inf)])
def test_a_point_is_two_finite_numbers(point):
    with pytest.raises(ValueError, match="two finite numbers"):
        hit(point, [(0, 0, 1, 1)])


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([(0, 0, 1)], r"\(K, 4\)"),
        ((0, 0, 1, 1), r"\(K, 4\)"),
        ([(3, 0, 1, 1)], "x1 <= x2"),
        ([(0, 3, 1, 1)], "x1 <= x2"),
        ([(0, 0, np.nan, 1)], "finite"),
    ],
)
def test_boxes_are_checked(boxes, message):
    with pytest.raises(ValueError, match=message):
        hit((0, 0), boxes)


def test_tolerance_is_not_negative():
    for tolerance in (-1, np.nan):
        with pytest.raises(ValueError, match="tolerance"):
            hit((0, 0), [(0, 0, 1, 1)], tolerance)


# --- attention correctness, by hand ---------------------------------------------------------------------------------

MAP = np.array([[1.0, 2.0, 3.0], [4.0, 0.0, 6.0]])  # H=2, W=3, sum 16


def test_attention_correctness_by_hand():
    assert attention_correctness(MAP, [(0, 0, 1, 2)]) == 5 / 16  # left column
    assert attention_correctness(MAP, [(0, 1, 3, 2)]) == 10 / 16  # lower row
    assert attention_correctness(MAP, [(0, 0, 3, 2)]) == 1.0
    assert attention_correctness(MAP, []) == 0.0


def test_overlapping_boxes_count_their_pixels_once():
    assert attention_correctness(MAP, [(0, 0, 2, 1), (1, 0, 3, 1), (1, 0, 2, 1)]) == 6 / 16


def test_a_pixel_belongs_to_a_box_by_its_centre():
    assert attention_correctness(MAP, [(0.5, 0, 1.5, 1)]) == 1 / 16  # centre 0.5 inside, centre 1.5 not
    assert attention_correctness(MAP, [(0.51, 0, 1.49, 1)]) == 0.0


def test_a_zero_map_counts_as_uniform():
    assert attention_correctness(np.zeros((2, 3)), [(0, 0, 1, 2)]) == pytest.approx(1 / 3)


def test_boxes_may_reach_beyond_the_picture():
    assert attention_correctness(MAP, [(-5, 1, 99, 99)]) == 10 / 16


@pytest.mark.parametrize("factor", [1e-310, 1e-30, 2.5e307])
def test_attention_correctness_whatever_the_maps_scale(factor):
    assert attention_correctness(MAP * factor, [(0, 1, 3, 2)]) == pytest.approx(10 / 16)


@pytest.mark.parametrize(
    ("pixel_map", "message"),
    [
        (np.ones(3), r"\(H, W\)"),
        (np.ones((0, 3)), r"\(H, W\)"),
        (np.array([[1, -1e-9]]), "negative"),
        (np.array([[1, np.nan]]), "finite"),
        (np.array([[1, np.inf]]), "finite"),
    ],
)
def test_maps_are_checked(pixel_map, message):
    with pytest.raises(ValueError, match=message):
        attention_correctness(pixel_map, [(0, 0, 1, 1)])


BOX = st.tuples(*[st.floats(-3, 12)] * 4).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
)


@settings(deadline=None, max_examples=60)
@given(boxes=st.lists(BOX, max_size=4), more=BOX, seed=st.integers(0, 2**16), tolerance=st.floats(0, 5))
def test_more_boxes_and_more_tolerance_never_lower_a_score(boxes, more, seed, tolerance):
    rng = np.random.default_rng(seed)
    pixel_map, point = rng.random((5, 9)), rng.uniform(-3, 12, 2)
    less = attention_correctness(pixel_map, boxes)
    assert 0 <= less <= attention_correctness(pixel_map, [*boxes, more]) + 1e-12 <= 1 + 1e-9
    assert hit(point, boxes) <= hit(point, boxes, tolerance) <= hit(point, [*boxes, more], tolerance)


@settings(deadline=None, max_examples=60)
@given(boxes=st.lists(BOX, min_size=1, max_size=4), region=BOX, x=st.floats(-3, 12), y=st.floats(-3, 12))
def test_clipped_boxes_are_the_intersection_with_the_region(boxes, region, x, y):
    clipped = clip_boxes(boxes, region)
    assert hit((x, y), clipped) == (hit((x, y), boxes) and hit((x, y), [region]))
    assert clipped.shape[1] == 4


def test_clip_boxes_by_hand():
    boxes = [(0, 0, 10, 10), (4, 5, 6, 7), (8, 0, 9, 9), (7, 0, 9, 9)]
    np.testing.assert_allclose(
        clip_boxes(boxes, (3, 2, 7, 8)), [[3.0, 2, 7, 8], [4, 5, 6, 7]], strict=True
    )  # the last two touch the region's edge, or not even that
    assert clip_boxes([], (3, 2, 7, 8)).shape == (0, 4)


# --- the right moment -----------------------------------------------------------------------------------------------


def test_temporal_hit_by_hand():
    assert temporal_hit([0.2, 0.5, 0.3], [False, True, False])
    assert not temporal_hit([0.2, 0.5, 0.3], [True, False, True])


def test_the_first_of_equally_salient_frames_counts():
    assert temporal_hit([0.1, 0.7, 0.7], [False, True, False])
    assert not temporal_hit([0.1, 0.7, 0.7], [False, False, True])
    assert temporal_hit([0.0, 0.0], [True, False])


@pytest.mark.parametrize(
    ("saliency", "present", "message"),
    [
        ([], [], "m >= 1"),
        ([1.0, 2.0], [True], "m >= 1"),
        ([[1.0, 2.0]], [[True, False]], "m >= 1"),
        ([1, np.nan], [True, False], "finite"),
    ],
)
def test_temporal_inputs_are_checked(saliency, present, message):
    with pytest.raises(ValueError, match=message):
        temporal_hit(saliency, present)


# --- tally ----------------------------------------------------------------------------------------------------------


def small_tally(average="phrase", categories=("people", "scene", "other")):
    tally = Tally("pointing game", "a hit is a hit.", average, categories)
    tally.add({"ours": True, "random": 0.5}, ("people",))
    tally.add({"ours": False, "random": 0.25}, ("people", "animals", "people"))
    tally.add({"ours": True, "random": 0.75}, ("other",))
    tally.add({"ours": False, "random": 0.0}, ())
    tally.drop({"no box": 2})
    tally.drop({"no box": 1, "notvisual": 4})
    return tally


def test_average_over_phrases():
    assert small_tally().averages() == {
        "ours": (2 / 4, {"people": 1 / 2, "other": 1.0, "animals": 0.0}),
        "random": (1.5 / 4, {"people": 0.375, "other": 0.75, "animals": 0.25}),
    }


def test_average_over_classes():
    averages = small_tally("class").averages()
    assert averages["ours"][0] == pytest.approx((0.5 + 1 + 0) / 3)
    assert averages["random"][0] == pytest.approx((0.375 + 0.75 + 0.25) / 3)
    uncategorised = Tally("m", "p.", "class")
    uncategorised.add({"ours": 1})
    assert uncategorised.averages() == {"ours": (None, {})}
    assert "| ours | - |" in uncategorised.table()


def test_table_states_numbers_counts_and_protocol():
    assert small_tally().table() == (
        "| pointing game | people | other | animals | average |\n"
        "|---|---|---|---|---|\n"
        "| ours | 0.500 | 1.000 | 0.000 | 0.500 |\n"
        "| random | 0.375 | 0.750 | 0.250 | 0.375 |\n"
        "| phrases | 2 | 1 | 1 | 4 |\n"
        "\n"
        "Protocol: a hit is a hit.\n"
        "Scored 4 phrases of 1 medium; the average is over phrases, each counted once. "
        "Dropped 7: no box 3, notvisual 4."
    )
    assert "unweighted mean" in small_tally("class").table()


def test_table_of_an_empty_tally():
    tally = Tally("attention correctness", "p.")
    assert tally.averages() == {}
    assert tally.table().endswith("Scored 0 phrases; the average is over phrases, each counted once. Dropped 0.")
    assert tally.to_json()["rows"] == {}


def test_every_phrase_has_a_value_in_every_row():
    tally = small_tally()
    before = tally.to_json()
    for values in ({"ours": 1}, {"ours": 1, "random": 1, "center": 1}, {}):
        with pytest.raises(ValueError, match="every phrase needs a value for each of"):
            tally.add(values, ("people",))
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="'random' is"):
            tally.add({"ours": 1, "random": value}, ("people",))
    assert tally.to_json() == before  # a refused phrase leaves no trace


def test_facts_about_scored_phrases_are_counted_apart():
    tally = small_tally()
    tally.note({"half known": 1})
    tally.note({"half known": 1})
    assert tally.table().endswith("no box 3, notvisual 4. Of the scored: half known 2.")
    assert Tally.from_sums(json.loads(json.dumps(tally.to_json()))).to_json()["noted"] == {"half known": 2}
    assert tally.scored == 4 and sum(tally.dropped.values()) == 7


def test_an_unknown_average_is_refused():
    with pytest.raises(ValueError, match="phrase, class"):
        Tally("m", "p.", average="median")


@pytest.mark.parametrize("average", ["phrase", "class"])
def test_a_tally_from_json_takes_further_phrases(average):
    further = ({"ours": 0.3, "random": 0.1}, ("scene", "vehicles"))
    unbroken = small_tally(average)
    resumed = Tally.from_sums(json.loads(json.dumps(unbroken.to_json())))
    assert resumed.to_json() == unbroken.to_json()
    for tally in (unbroken, resumed):
        tally.add(*further)
        tally.drop({"scene": 1})
    assert resumed.to_json() == unbroken.to_json()
    assert resumed.table() == unbroken.table()
    assert resumed.categories == ("people", "scene", "other", "animals", "vehicles")


def test_json_of_a_tally_by_hand():
    record = small_tally().to_json()
    assert record["metric"] == "pointing game" and record["protocol"] == "a hit is a hit."
    assert record["scored"] == 4 and record["dropped"] == {"no box": 3, "notvisual": 4}
    assert record["categories"] == {"people": 2, "other": 1, "animals": 1}
    assert record["rows"]["random"]["average"] == 0.375
    assert record["rows"]["random"]["categories"] == {"people": 0.375, "other": 0.75, "animals": 0.25}


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.floats(0, 1), st.sets(st.sampled_from("abc"))), min_size=1, max_size=12))
def test_averages_are_means_over_phrases(items):
    tally = Tally("m", "p.")
    for value, categories in items:
        tally.add({"ours": value}, categories)
    overall, by_category = tally.averages()["ours"]
    assert overall == pytest.approx(np.mean([value for value, _ in items]), abs=1e-6)
    for category in "abc":
        values = [value for value, categories in items if category in categories]
        assert by_category.get(category) == (pytest.approx(np.mean(values), abs=1e-6) if values else None)


# --- media: intervals, phrases that cannot be read --------------------------------------------------------------------


def tally_of(media, average="phrase", unknown="drop"):
    """A tally of {medium: [(category, value of the map, value of the baseline, why unread)]}."""
    tally = Tally("m", "p.", average, unknown=unknown)
    for name, phrases in media.items():
        for category, value, baseline, unread in phrases:
            tally.add({"map": value, "random": baseline}, (category,), name, unread)
    return tally


def some_media(rng, count):
    def phrases():
        return [("ab"[rng.integers(2)], rng.random() < 0.7, rng.random() / 2, "") for _ in range(1 + rng.integers(5))]

    return {f"m{k}": phrases() for k in range(count)}


@pytest.mark.parametrize("average", ["phrase", "class"])
def test_intervals_equal_those_of_resampled_lists_of_phrases(average):
    """The second road draws media one by one and averages their phrases anew."""
    rng = np.random.default_rng(5)
    media = some_media(rng, 12)
    tally, values = tally_of(media, average), {"map": [], "difference": []}
    for _ in range(3000):
        drawn = [list(media.values())[k] for k in rng.integers(12, size=12)]
        phrases = [(category, value, value - baseline) for medium in drawn for category, value, baseline, _ in medium]
        for column, name in ((1, "map"), (2, "difference")):
            groups = [[p for p in phrases if p[0] == c] for c in "ab"] if average == "class" else [phrases]
            values[name].append(np.mean([np.mean([p[column] for p in group]) for group in groups if group]))
    (pair, (difference, bounds)), *_ = tally.differences().items()
    assert pair == ("map", "random")
    assert difference == pytest.approx(tally.averages()["map"][0] - tally.averages()["random"][0])
    np.testing.assert_allclose(tally.intervals()["map"], np.quantile(values["map"], [0.025, 0.975]), atol=0.02)
    np.testing.assert_allclose(bounds, np.quantile(values["difference"], [0.025, 0.975]), atol=0.02)
    assert tally.intervals() == tally.intervals()  # the draws have a seed


def test_intervals_follow_further_phrases():
    tally = tally_of({"a": [("x", 1, 0, "")], "b": [("x", 0, 0, "")]})
    assert tally.intervals()["map"] == (0, 1)
    tally.merge(tally_of({"b": [("x", 1, 0, "")] * 3}))
    assert tally.intervals()["map"] == (0.75, 1)
    for _ in range(4):
        tally.add({"map": 1, "random": 0}, (), "b")
    assert tally.intervals()["map"] == (0.875, 1)


def test_phrases_of_one_medium_are_drawn_together():
    """Two media, all of whose phrases agree: the interval reaches from one medium's value to the other's."""
    media = {"a": [("x", 1, 0, "")] * 50, "b": [("x", 0, 0, "")] * 50}
    assert tally_of(media).intervals()["map"] == (0, 1)
    assert tally_of(media).differences()[("map", "random")] == (0.5, (0, 1))
    assert tally_of({"a": media["a"]}).intervals() == {}  # one medium says nothing about others
    assert "interval" not in tally_of({"a": media["a"]}).table()


def test_phrases_that_cannot_be_read_are_left_out_or_misses():
    media = {"a": [("x", 1, 0.5, ""), ("y", 0, 0.25, "not in the vocabulary")], "b": [("x", 1, 0.5, "")]}
    drop, miss = tally_of(media), tally_of(media, unknown="miss")
    assert drop.averages() == miss.averages("drop") == {"map": (1, {"x": 1}), "random": (0.5, {"x": 0.5})}
    assert miss.averages()["map"] == drop.averages("miss")["map"] == (pytest.approx(2 / 3), {"x": 1, "y": 0})
    assert miss.averages()["random"][0] == pytest.approx(1.25 / 3)
    assert (drop.scored, miss.scored) == (2, 3)
    assert (drop.dropped, miss.dropped) == ({"not in the vocabulary": 1}, {})
    assert drop.table().splitlines()[0] == "| m | x | average | 95 % interval | average, unknown=miss |"
    assert "| map | 1.000 | 1.000 | [1.000, 1.000] | 0.667 |" in drop.table()
    assert "count as its misses (not in the vocabulary 1)" in miss.table()
    assert miss.table().splitlines()[0].endswith("| average, unknown=drop |")
    record = json.loads(json.dumps(drop.to_json()))
    assert record["rows with unknown=miss"]["map"]["average"] == pytest.approx(2 / 3)
    assert Tally.from_sums(record).to_json() == drop.to_json()


def test_tallies_of_single_media_add_up():
    media = some_media(np.random.default_rng(2), 4) | {"u": [("c", 0, 0.1, "not in the vocabulary")]}
    whole, merged = tally_of(media), Tally("m", "p.")
    whole.drop({"no box": 2})
    for name, phrases in media.items():
        part = tally_of({name: phrases})
        part.drop({"no box": 2} if name == "m0" else {})
        merged.merge(part)
    assert merged.to_json() == whole.to_json()
    with pytest.raises(ValueError, match="a value for each of"):
        merged.merge(small_tally())
