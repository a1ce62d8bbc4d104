"""The leak and the factorial: compared at equal success, and said as the intervals say."""

import numpy as np
import pandas as pd
import pytest

from cirp.chapters import causes
from cirp.chapters import leak as leak_chapter
from cirp.experiments import carries, configurations, factorial, leak, results
from cirp.figures.sentences import say, verdict
from cirp.statistics.bootstrap import Interval


def editors(outside, count=60, seed=0, training_seed=0):
    """Rows of three editors of the same success, whose outside change is as given."""
    rng = np.random.default_rng(seed)
    rows = []
    for share, most in zip(leak.LEAKS, outside, strict=True):
        for strength, (text, image) in enumerate(configurations.SCALES, start=1):
            for n in range(count):
                rows.append(
                    {"id": f"e{n}", "training_seed": training_seed, "leak": share,
                     "text_scale": text, "image_scale": image,
                     "success": float(n % 10 < strength + 2),
                     "l1_source_outside_excess": most * strength / 6 + 1e-4 * rng.normal()}
                )  # fmt: skip
    return pd.DataFrame(rows)


def test_editors_are_told_apart_at_equal_success_and_equal_ones_are_not():
    found = leak.at_equal_success(editors((0.004, 0.008, 0.016)), resamples=200).set_index("leak")
    assert found.loc[1.0, "outside"].mean == pytest.approx(
        4 * found.loc[0.0, "outside"].mean, rel=0.1
    )
    assert found.loc[0.0, "outside"].high < found.loc[1.0, "outside"].low
    assert found.loc[1.0, "outside - leak 0"].low > 0
    table = editors((0.01, 0.01, 0.01))
    same = leak.at_equal_success(table, resamples=200)
    row = same.set_index("leak").loc[1.0]
    assert row["outside - leak 0"].low < 0 < row["outside - leak 0"].high
    assert "about as much whether or not" in leak_chapter.finding(table, same).data


def test_a_second_training_is_compared_at_the_same_level_and_each_with_its_own_clean_editor():
    first, again = editors((0.004, 0.008, 0.016)), editors((0.01, 0.01, 0.01), training_seed=1)
    weak = again["success"].where(again["id"].str[1:].astype(int) % 10 != 0, 0.0)
    both = pd.concat([first, again.assign(success=weak)], ignore_index=True)
    found = leak.at_equal_success(both, resamples=200).set_index(["training seed", "leak"])
    assert found["level"].nunique() == 1
    assert found.loc[(0, 1.0), "level"] == pytest.approx(0.9 * 0.7)  # of the least able one
    assert found.loc[(0, 1.0), "outside - leak 0"].low > 0
    again = found.loc[(1, 1.0), "outside - leak 0"]
    assert again.low < 0 < again.high
    said = leak_chapter.finding(both, found.reset_index()).data
    assert "because its training pairs did" in said.split("Trained once more")[0]
    assert "no significant difference" in said.split("Trained once more")[1]


def crossed():
    rows = []
    for n in range(40):
        base = {"id": f"e{n}", "edit_type": "add", "pasted": False}
        rows.append(
            base | {"region": "", "held": "", "success": 1.0, "l1_source_outside_excess": 0.02}
        )
        for region, drop in ((factorial.TRUE, 0.015), (factorial.SHUFFLED, 0.002)):
            for held in factorial.HOLDS:
                less = drop if "guidance" in held else 0.0
                noise = 1e-4 * (n % 7 - 3)
                rows.append(
                    base | {"region": region, "held": held, "success": 1.0,
                            "l1_source_outside_excess": 0.02 - less + noise}
                )  # fmt: skip
        for region in (factorial.EVEN, factorial.NOWHERE):
            rows.append(
                base | {"region": region, "held": "guidance", "success": float(n % 2),
                        "l1_source_outside_excess": 0.02 + 0.01 * (region == factorial.NOWHERE)}
            )  # fmt: skip
    return pd.DataFrame(rows)


def test_what_a_hold_takes_away_is_paired_with_the_baseline():
    found = factorial.against_baseline(crossed())
    row = found[(found["region"] == factorial.TRUE) & (found["held"] == "guidance")].iloc[0]
    outside = row["outside - baseline"]
    assert outside.mean == pytest.approx(-0.015, abs=5e-5)
    assert outside.low <= outside.mean <= outside.high
    carried = carries.against_nothing(results.known("carries"))
    said = causes.finding(found, carried).data
    assert "constraining the text's guidance removes outside change" in said
    assert "the latents, cross-attention and self-attention leaves outside change" in said
    assert "the outside changes more" in said and "muted" in said
    even = found[found["region"] == factorial.EVEN].iloc[0]
    assert even["success - baseline"].mean == pytest.approx(-0.5)


def between(low, high, mean=0.0):
    return Interval(mean, low, high, 10, 0, "bca")


def test_words_follow_the_interval():
    said = dict(above="more", below="less", open="as much")
    spans = [(0.1, 0.2), (-0.2, -0.1), (-0.1, 0.2)]
    assert [between(*span).says(**said) for span in spans] == ["more", "less", "as much"]
    assert [verdict(0.7, 0.9, 0.6), verdict(0.5, 0.7, 0.6), verdict(0.1, 0.5, 0.6)] == [
        "met", "open", "missed",
    ]  # fmt: skip
    assert verdict(0.1, 0.5, 0.6, at_most=True) == "met"
    assert f"{between(-1, 0.25, -0.5):+.2f}" == "\u22120.50\u00a0[\u22121.00,\u00a0+0.25]"
    assert say("a", "", " b ").data == "a b"


def test_losses_by_timestep_are_read_and_said_as_they_were_logged(tmp_path):
    for share, outside in ((0.0, (0.01, 0.02)), (0.5, (0.02, 0.05)), (1.0, (0.02, 0.10))):
        log = pd.DataFrame(
            {"samples": [8, 16], "inside": [9, 9], "outside": [9, 9],
             "inside_100": [9, 0.2], "outside_100": [9, outside[0]],
             "inside_900": [9, 0.3], "outside_900": [9, outside[1]]}
        )  # fmt: skip
        log.to_csv(tmp_path / f"leak-{share:g}-seed-{leak.TRAININGS[-1]}.csv", index=False)
    table = leak_chapter.losses(tmp_path)
    assert len(table) == 3 * 4 and set(table["timestep"]) == {100, 900}
    assert table.set_index(["leak", "side", "timestep"]).loc[(1.0, "outside", 900), "error"] == 0.1
    said = leak_chapter.losses_said(table).data
    assert "5.0 times as much as the one without at timestep 900, and 2.0 times at 100" in said
