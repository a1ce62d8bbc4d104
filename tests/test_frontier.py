"""Frontiers: their edge of random points, and levels against points whose answer is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirp.statistics import frontier


def test_the_edge_is_what_no_mixture_beats():
    success, outside = np.array([0.2, 0.5, 0.6, 0.6, 0.4]), np.array([0.01, 0.02, 0.08, 0.05, 0.03])
    # (0.4, 0.03) is beaten by mixing its neighbours, (0.6, 0.08) by (0.6, 0.05)
    edge = frontier.hull(success, outside)
    assert edge == [(0.0, 0.0), (0.5, 0.02), (0.6, 0.05)]


@given(st.lists(st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)), min_size=2, max_size=12))
def test_nothing_lies_below_the_edge_and_it_is_convex(points):
    success, outside = np.array(points).T
    edge = frontier.hull(success, outside)
    for x, y in points:
        assert frontier.outside_at(x, edge) <= y + 1e-9
    corners = {(0.0, 0.0), *points}
    assert set(edge) <= corners
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in zip(edge, edge[1:], strict=False)]
    assert slopes == pytest.approx(sorted(slopes))


def test_levels_lie_between_the_points():
    edge = [(0.0, 0.0), (0.5, 0.02), (0.6, 0.05)]
    assert frontier.outside_at(0.25, edge) == pytest.approx(0.01)
    assert frontier.outside_at(0.55, edge) == pytest.approx(0.035)
    assert math.isnan(frontier.outside_at(0.61, edge))
    assert frontier.success_at(0.01, edge) == pytest.approx(0.25)
    assert frontier.success_at(1.0, edge) == pytest.approx(0.6)
    # a triangle up to .02, then a straight line of .5 to .6 up to .05
    assert frontier.area(0.05, edge, points=20001) == pytest.approx(
        (0.02 * 0.25 + 0.03 * 0.55) / 0.05, abs=1e-4
    )


def test_an_interval_holds_the_truth_and_a_twin_differs_by_nothing():
    rng = np.random.default_rng(0)
    success = (rng.random((3, 400)) < np.array([[0.2], [0.5], [0.7]])).astype(float)
    outside = np.array([[0.01], [0.03], [0.08]]) + 0.001 * rng.standard_normal((3, 400))
    one = frontier.estimate(
        lambda edge: frontier.outside_at(0.5, edge), [(success, outside)], resamples=300
    )
    assert one.low < 0.03 < one.high and one.dropped == 0
    twin = frontier.estimate(
        lambda a, b: frontier.outside_at(0.5, a) - frontier.outside_at(0.5, b),
        [(success, outside)] * 2, resamples=50,
    )  # fmt: skip
    assert twin[:3] == (0, 0, 0)


def test_what_is_out_of_reach_is_said_to_be_undefined():
    success, outside = np.zeros((1, 10)), np.full((1, 10), 0.01)
    one = frontier.estimate(
        lambda edge: frontier.outside_at(0.5, edge), [(success, outside)], resamples=20
    )
    assert math.isnan(one.mean) and one.n == 0


def test_groups_of_other_images_are_refused():
    with pytest.raises(ValueError, match="groups of .* images"):
        frontier.estimate(
            lambda a, b: 0.0, [(np.ones((1, 3)),) * 2, (np.ones((1, 4)),) * 2], resamples=1
        )
