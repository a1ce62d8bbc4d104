import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cirp.statistics import bootstrap
from cirp.statistics.bootstrap import PRIMARY

NAN, INF = math.nan, math.inf


def numbers(*values):
    return np.array(values, dtype=float)


# Intervals


def test_the_interval_is_scipys_bca():
    values = np.random.default_rng(0).exponential(size=30)
    found = bootstrap.mean_interval(values, resamples=999, seed=3)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=999, method="BCa", rng=np.random.default_rng(3)
    ).confidence_interval
    assert found == (values.mean(), expected.low, expected.high, 30, 0, "bca")


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    covered = [
        interval.low <= 1.0 <= interval.high
        for interval in (
            bootstrap.mean_interval(generator.normal(1, 2, size=40), resamples=400)
            for _ in range(150)
        )
    ]
    assert 0.88 <= np.mean(covered) <= 0.99


def test_undefined_values_are_dropped_and_counted():
    found = bootstrap.mean_interval(numbers(1, NAN, 2, INF, 3, -INF), resamples=99)
    assert (found.mean, found.n, found.dropped) == (2.0, 3, 3)


def test_intervals_of_almost_nothing():
    nothing = bootstrap.mean_interval(numbers(NAN, NAN))
    assert nothing.n == 0 and nothing.dropped == 2 and math.isnan(nothing.mean)
    one = bootstrap.mean_interval(numbers(5))
    assert one.mean == 5 and math.isnan(one.low) and math.isnan(one.high) and one.kind == "none"
    same = bootstrap.mean_interval(numbers(0.3, 0.1 + 0.2, 0.3))
    assert same.low == same.high == same.mean == pytest.approx(0.3) and same.kind == "constant"
    two = bootstrap.mean_interval(numbers(1, 2), resamples=99)
    assert two.low < 1.5 < two.high


def test_answers_that_are_all_yes_or_all_no_are_no_certainty():
    """Clopper and Pearson: none of n leaves 1 - (alpha / 2)^(1 / n), here by hand."""
    most = 1 - 0.025 ** (1 / 20)
    none = bootstrap.mean_interval(np.zeros(20), metric="success")
    assert (none.mean, none.low, none.kind) == (0, 0, "exact")
    assert none.high == pytest.approx(most)
    every = bootstrap.mean_interval(np.ones(20), metric="kept_seen")
    assert (every.mean, every.high) == (1, 1) and every.low == pytest.approx(1 - most)
    unchanged = bootstrap.mean_interval(
        np.zeros(20), metric=PRIMARY
    )  # a change of nothing is exactly that
    assert (unchanged.low, unchanged.high, unchanged.kind) == (0, 0, "constant")
    mixed = np.array([0.0, 1.0] * 10)
    assert bootstrap.mean_interval(mixed, metric="success") == bootstrap.mean_interval(mixed)


def test_two_methods_that_agree_everywhere_may_yet_differ():
    same = np.array([0.0, 1.0] * 10)
    most = 1 - 0.025 ** (1 / 20)
    found = bootstrap.paired_interval(same, same, metric="success")
    assert found.mean == 0 and found.high == -found.low == pytest.approx(most)
    assert bootstrap.paired_interval(same, same, metric=PRIMARY)[:3] == (0, 0, 0)


def test_a_confidence_out_of_range_is_refused():
    with pytest.raises(ValueError, match="confidence=95"):
        bootstrap.mean_interval(numbers(1, 2), confidence=95.0)


def test_a_paired_interval_sees_through_the_spread_between_images():
    generator = np.random.default_rng(1)
    image = generator.normal(0, 10, size=50)
    a, b = image + 1 + generator.normal(0, 0.1, 50), image
    found = bootstrap.paired_interval(a, b, resamples=999)
    assert 0.9 < found.low < 1 < found.high < 1.1


# Permutation test


def by_hand(difference):
    """The share of all sign patterns whose mean is at least as far from 0."""
    patterns = itertools.product([1, -1], repeat=len(difference))
    means = np.array([np.mean(np.array(signs) * difference) for signs in patterns])
    return np.mean(np.abs(means) >= abs(np.mean(difference)) - 1e-12)


@given(
    st.lists(st.integers(-20, 20), min_size=2, max_size=8).map(lambda x: np.array(x, dtype=float))
)
def test_p_is_the_share_of_sign_patterns(difference):
    zeros = np.zeros(len(difference))
    found = bootstrap.paired_permutation(difference, zeros)
    assert found == pytest.approx(by_hand(difference))
    assert found == pytest.approx(bootstrap.paired_permutation(zeros, difference))


def test_p_of_almost_nothing():
    assert math.isnan(bootstrap.paired_permutation(numbers(NAN), numbers(1)))
    assert bootstrap.paired_permutation(numbers(3), numbers(1)) == 1
    assert bootstrap.paired_permutation(numbers(1, 2, 3), numbers(1, 2, 3)) == 1
    assert bootstrap.paired_permutation(numbers(2, 3, 4, 5, 6), numbers(1, 2, 3, 4, 5)) == 2 / 32
    assert bootstrap.paired_permutation(numbers(2, INF, NAN), numbers(1, INF, 3)) == 1


def test_many_pairs_are_sampled_the_same_way_every_time():
    generator = np.random.default_rng(0)
    a, b = generator.normal(0.3, 1, size=60), np.zeros(60)
    first, second = (bootstrap.paired_permutation(a, b, resamples=999) for _ in range(2))
    assert first == second
    assert first == pytest.approx(stats.ttest_1samp(a, 0).pvalue, abs=0.03)


# Holm


def test_holm_by_hand():
    # sorted: 0.01 * 4, 0.02 * 3, 0.03 * 2, 0.5 * 1; then never decreasing
    found = bootstrap.holm(numbers(0.03, 0.01, 0.5, 0.02))
    assert found == pytest.approx([0.06, 0.04, 0.5, 0.06])


def test_holm_leaves_out_what_was_not_tested():
    found = bootstrap.holm(numbers(0.02, NAN, 0.04))
    assert found[[0, 2]] == pytest.approx([0.04, 0.04]) and math.isnan(found[1])
    assert bootstrap.holm(numbers(0.9, 0.8)) == pytest.approx([1, 1])
    assert bootstrap.holm(numbers()).size == 0


# Tables


@pytest.fixture
def table():
    """Two methods, six images, two seeds; `ours` is lower by 1 on each image."""
    rows = []
    for image, seed in itertools.product(range(6), range(2)):
        for method, shift in (("ours", 0.0), ("theirs", 1.0)):
            rows.append(
                {
                    "method": method,
                    "id": f"image {image}",
                    "seed": seed,
                    PRIMARY: image**2 + shift + (seed - 0.5),
                    "success": float(image % 2 == 0 or method == "theirs"),
                    "psnr_source": INF if method == "ours" and image == 0 else 20 + image - shift,
                    "clip_direction": NAN if image < 2 else 0.1 * image,
                }
            )
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


def test_seeds_are_averaged_within_the_image(table):
    images = bootstrap.average_seeds(table, [PRIMARY, "success"])
    assert len(images) == 12 and (images["seeds"] == 2).all()
    ours = images[images["method"] == "ours"].set_index("id")[PRIMARY]
    assert ours.to_dict() == {f"image {i}": i**2 for i in range(6)}


def test_an_image_keeps_the_seeds_that_are_defined():
    rows = [("m", "x", 0, 1.0), ("m", "x", 1, NAN), ("m", "y", 0, NAN)]
    images = bootstrap.average_seeds(
        pd.DataFrame(rows, columns=["method", "id", "seed", "gated"]), ["gated"]
    ).set_index("id")
    assert images.loc["x", "gated"] == 1 and images.loc["x", "seeds"] == 2
    assert math.isnan(images.loc["y", "gated"])


def test_two_settings_of_one_method_are_not_mixed(table):
    with pytest.raises(ValueError, match=r"two rows of \{'method': .*one setting per method"):
        bootstrap.average_seeds(pd.concat([table, table]), [PRIMARY])
    with pytest.raises(ValueError, match="no column 'ssim'; it has method, id, seed"):
        bootstrap.average_seeds(table, ["ssim"])


def test_a_comparison_pairs_images(table):
    found = bootstrap.compare_metrics(
        table, "ours", "theirs", ["success", PRIMARY, "psnr_source", "clip_direction"]
    ).set_index("metric")
    assert found.index[0] == PRIMARY and found["primary"].tolist() == [True, False, False, False]

    primary = found.loc[PRIMARY]
    assert primary["difference"] == (-1, -1, -1, 6, 0, "constant")
    assert (primary["n"], primary["dropped"]) == (6, 0)
    assert primary["p"] == primary["p_holm"] == 2 / 2**6
    assert primary["mean_a"] == np.mean([0, 1, 4, 9, 16, 25])

    success = found.loc["success"]
    assert success["difference"].mean == -0.5 and success["p"] == 2 / 2**3  # three zeros, three -1

    psnr = found.loc["psnr_source"]  # the infinite pair is gone, from both means
    assert (psnr["n"], psnr["dropped"]) == (5, 1)
    assert psnr["mean_a"] == 23 and psnr["mean_b"] == 22

    direction = found.loc["clip_direction"]
    assert (direction["n"], direction["dropped"], direction["p"]) == (4, 2, 1)

    secondary = found.loc[["success", "psnr_source", "clip_direction"]]
    assert secondary["p_holm"].tolist() == pytest.approx(
        bootstrap.holm(secondary["p"].to_numpy(dtype=float)).tolist()
    )
    assert psnr["p_holm"] == pytest.approx(3 * psnr["p"])


def test_an_image_that_one_method_lacks_is_counted(table):
    lacking = table[~((table["method"] == "theirs") & (table["id"] == "image 5"))]
    found = bootstrap.compare_metrics(lacking, "ours", "theirs", [PRIMARY])
    assert (found["n"].item(), found["dropped"].item()) == (5, 1)


def test_a_comparison_names_what_is_missing(table):
    with pytest.raises(ValueError, match="no rows of method 'hers'; the table has "):
        bootstrap.compare_metrics(table, "ours", "hers", [PRIMARY])
    with pytest.raises(ValueError, match=f"primary metric '{PRIMARY}' is not among success"):
        bootstrap.compare_metrics(table, "ours", "theirs", ["success"])


def test_a_summary_has_a_row_per_method_and_metric(table):
    found = bootstrap.summarise(table, [PRIMARY, "psnr_source"], resamples=99)
    found = found.set_index(["method", "metric"])
    assert len(found) == 4
    assert found.loc[("theirs", PRIMARY), "mean"] == pytest.approx(np.mean([1, 2, 5, 10, 17, 26]))
    assert found.loc[("ours", "psnr_source"), "dropped"] == 1
    assert (found["low"] < found["mean"]).all() and (found["mean"] < found["high"]).all()
