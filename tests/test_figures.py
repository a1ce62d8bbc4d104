import itertools

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from cirp import figures
from cirp.chapters import leak as leak_chapter
from cirp.experiments import leak
from cirp.figures import style, tables
from cirp.figures.pictures import _borders
from cirp.paths import FIGURES
from cirp.statistics.bootstrap import Interval

mpl.use("Agg")


@pytest.fixture(autouse=True)
def style_and_no_leftovers():
    with mpl.rc_context():
        figures.use_style()
        yield
    plt.close("all")


@pytest.fixture
def ax():
    return plt.subplots()[1]


def picture(size=(6, 4)):
    pixels = np.arange(size[0] * size[1] * 3, dtype=np.uint8).reshape(size[1], size[0], 3)
    return Image.fromarray(pixels)


def test_no_text_of_a_table_is_cut_short():
    text = "a word, " * 40 + "and the last"
    with pd.option_context("display.max_colwidth", 50):
        figures.use_style()
        assert "and the last" in pd.DataFrame({"said": [text]}).to_html()


def draw_something(name, folder):
    fig, axes = figures.grid(1, 2)
    figures.show(axes[0], picture(), "input")
    figures.overlay(axes[1], picture(), np.eye(4), mask=np.eye(4, 6) > 0)
    figures.save(fig, name, folder=folder)


def draw_a_chart(name, folder):
    fig, ax = plt.subplots()
    ax.plot([0, 1], [0, 1], label="costs $5 and $7, \\alpha_")
    ax.legend()
    figures.save(fig, name, folder=folder)


def test_pictures_are_webp_and_charts_are_drawn_as_lines(tmp_path):
    draw_something("pictures", tmp_path)
    draw_a_chart("chart", tmp_path)
    found = sorted(path.name for path in tmp_path.iterdir())
    assert found == ["chart.svg", "pictures.webp"]


def test_what_an_instruction_says_is_drawn_as_written(tmp_path):
    """A dollar sign, a backslash or an underscore is no mathematics."""
    figures.use_style()
    fig, ax = plt.subplots()
    for text in (r"pay $5 for $7", r"\alpha_{", "$", "50 % & #1", "_^"):
        ax.text(0, 0, text)
    fig.canvas.draw()  # what cannot be parsed as mathematics would raise
    widths = []
    for text in (r"$x$", "xxx"):
        one = ax.text(0, 0, text)
        fig.canvas.draw()
        widths.append(one.get_window_extent().width)
    assert widths[0] > 0.8 * widths[1]  # as mathematics it would be one letter


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        draw_a_chart(name, tmp_path)
        draw_something(name, tmp_path)
    for ending in ("svg", "webp"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_a_saved_figure_carries_no_date(tmp_path):
    draw_a_chart("a", tmp_path)
    assert "dc:date" not in (tmp_path / "a.svg").read_text()


@pytest.mark.parametrize("name", ["", "maps.png", "figures/maps", "../maps"])
def test_a_figure_has_a_plain_name(name, tmp_path):
    with pytest.raises(ValueError, match="plain name"):
        figures.save(plt.figure(), name, tmp_path)


def test_a_small_picture_keeps_its_pixels(ax):
    figures.show(ax, picture((6, 4)))
    (drawn,) = ax.images
    assert drawn.get_interpolation() == "nearest"
    np.testing.assert_array_equal(drawn.get_array(), np.asarray(picture((6, 4))))
    assert drawn.get_extent() == [0, 6, 4, 0]


def test_a_border_has_four_sides_for_each_lone_pixel():
    mask = np.zeros((4, 5), dtype=bool)
    mask[1, 2] = True
    sides = {tuple(map(tuple, line)) for line in _borders(mask).astype(int)}
    assert sides == {((2, 1), (3, 1)), ((2, 2), (3, 2)), ((2, 1), (2, 2)), ((3, 1), (3, 2))}


def test_a_border_runs_between_inside_and_outside_only():
    mask = np.zeros((6, 6), dtype=bool)
    mask[1:3, 1:4] = True  # 2 x 3 pixels: 10 sides; inner edges do not count
    assert len(_borders(mask)) == 10
    assert len(_borders(np.ones((2, 3), dtype=bool))) == 10  # the frame of the picture counts


def test_an_outline_scales_with_the_picture_underneath(ax):
    mask = np.zeros((4, 6), dtype=bool)
    mask[0, 0] = True
    figures.outline(ax, mask, size=(60, 40))
    ends = np.concatenate([segment for segment in ax.collections[0].get_segments()])
    assert ends.min() == 0 and ends.max() == 10


def test_a_map_covers_its_picture_and_scales_from_zero_to_the_given_peak(ax):
    drawn = figures.overlay(ax, picture((6, 4)), np.full((2, 3), 0.2), peak=0.8)
    assert drawn.get_extent() == [0, 6, 4, 0]
    assert drawn.get_clim() == (0, 0.8)


def test_a_map_of_zeros_is_drawn(ax):
    assert figures.overlay(ax, picture(), np.zeros((2, 2))).get_clim()[1] > 0


def test_a_grid_of_pictures_says_what_does_not_fit():
    _, axes = figures.grid(2, 2)
    with pytest.raises(ValueError, match=r"axes are \(2, 2\) but the pictures \(1, 3\)"):
        figures.image_grid(axes, [[picture()] * 3])


def test_a_grid_of_pictures_leaves_gaps_and_writes_captions():
    _, axes = figures.grid(1, 2)
    figures.image_grid(
        axes, [[picture(), None]], columns=["input", "edited"], captions=[["89.45", ""]]
    )
    assert len(axes[0].images) == 1 and len(axes[1].images) == 0
    assert [ax.get_title() for ax in axes] == ["input", "edited"]
    assert [text.get_text() for text in axes[0].texts] == ["89.45"]


@pytest.mark.parametrize("rotation", [0, 90])
def test_a_row_is_named_beside_its_first_picture_in_what_can_be_drawn(rotation):
    fig, axes = figures.grid(1, 2)
    figures.image_grid(axes, [[picture(), picture()]])
    said = "swap the $5 note \u200d for an \U0001f34e apple"
    figures.row_label(axes[0], said, width=12, rotation=rotation)
    fig.canvas.draw()
    (label,) = axes[0].texts
    lines = label.get_text().split("\n")
    assert len(lines) > 2 and max(map(len, lines)) <= 12
    assert "\u200d" not in label.get_text() and "$5" in label.get_text()
    assert label.get_window_extent().x1 <= axes[0].get_window_extent().x0


def comparison():
    return pd.DataFrame(
        {
            "metric": ["l1", "clip", "ssim"],
            "difference": [
                Interval(mean, low, high, 9, 0, "bca")
                for mean, low, high in ((-0.3, -0.4, -0.2), (0.1, -0.1, 0.3), (0.2, np.nan, np.nan))
            ],
            "primary": [True, False, False],
        }
    )


def test_a_difference_whose_interval_reaches_zero_is_hollow(ax):
    figures.forest(ax, comparison())
    points = [container.lines[0] for container in ax.containers]
    hollow = [mpl.colors.to_hex(point.get_markerfacecolor()) == "#ffffff" for point in points]
    assert hollow == [False, True, True]  # without an interval nothing is shown to differ


def test_a_forest_reads_from_top_to_bottom_with_the_primary_metric_in_bold(ax):
    figures.forest(ax, comparison())
    heights = {
        text.get_text(): y for text, y in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True)
    }
    assert heights["l1"] > heights["clip"] > heights["ssim"]
    weights = [text.get_fontweight() for text in ax.get_yticklabels()]
    assert weights == ["bold", "normal", "normal"]


def test_a_trade_off_is_a_curve_per_method_and_controls_are_dashed(ax):
    table = pd.DataFrame(
        {
            "method": ["ip2p"] * 2 + ["blend"] * 2,
            "x": [1, 2, 3, 4],
            "y": [1, 2, 2, 1],
        }
    )
    figures.trade_off(ax, table, x="x", y="y", controls=["blend"], better="upper left")
    curves = {c.get_label(): c.lines[0] for c in ax.containers}
    assert [curves[name].get_linestyle() for name in ("ip2p", "blend")] == ["-", "--"]
    np.testing.assert_array_equal(curves["ip2p"].get_xdata(), [1, 2])
    assert "↖ better" in {text.get_text() for text in ax.texts}


def test_an_unknown_corner_is_named(ax):
    table = pd.DataFrame({"method": ["a"], "x": [1], "y": [1]})
    with pytest.raises(ValueError, match="better='top'; it must be one of upper left"):
        figures.trade_off(ax, table, x="x", y="y", better="top")


def test_a_grid_of_numbers_prints_them(ax):
    table = pd.DataFrame([[0.125, 0.5]], index=["down"], columns=["head 0", "head 1"])
    figures.number_grid(ax, table, format=".3f")
    assert [text.get_text() for text in ax.texts] == ["0.125", "0.500"]


def test_time_runs_from_noise_to_image(ax):
    table = pd.DataFrame({"timestep": [999, 500, 0], "auc": [0.5, 0.7, 0.9]})
    figures.over_time(ax, table, y="auc")
    left, right = ax.get_xlim()
    assert left > right


def test_colours_that_grey_or_colour_blind_eyes_confuse_have_other_markers():
    """Luminance by ITU-R BT.709; deuteranopia by Vienot, Brettel & Mollon 1999."""
    assert len(style.MARKERS) == len(style.PALETTE) == len(set(style.MARKERS))
    rgb = np.array([to_rgb(colour) for colour in style.PALETTE]) ** 2.2
    grey = rgb @ [0.2126, 0.7152, 0.0722]
    seen = rgb @ np.array([[0.293, 0.707, 0.0], [0.293, 0.707, 0.0], [-0.021, 0.021, 1.0]]).T
    for i, j in itertools.combinations(range(len(rgb)), 2):
        apart = np.abs(seen[i] - seen[j]).sum() > 0.12 or abs(grey[i] - grey[j]) > 0.04
        assert apart or style.MARKERS[i] != style.MARKERS[j]
    # the two that are always compared can be told apart by lightness alone
    by_name = {name: to_rgb(getattr(style, name)) for name in ("BASELINE", "NOISY")}
    light = {k: np.array(v) ** 2.2 @ [0.2126, 0.7152, 0.0722] for k, v in by_name.items()}
    contrast = (max(light.values()) + 0.05) / (min(light.values()) + 0.05)
    assert contrast > 1.25


def test_a_table_without_its_index_looks_like_any_other_in_the_book():
    shown = tables.unnumbered(pd.DataFrame({"a": [1.0], "b": ["x"]})).to_html()
    assert 'class="dataframe"' in shown and "<th" in shown
    assert 'class="row_heading' not in shown


def test_a_logarithmic_axis_is_numbered_plainly():
    figures.use_style()
    fig, ax = plt.subplots()
    ax.plot([0, 1], [0.02, 3.0])
    figures.log_y(ax)
    fig.canvas.draw()
    said = [label.get_text() for label in ax.get_yticklabels() if label.get_text()]
    assert "0.1" in said and not any("$" in text or "\\" in text for text in said)


def test_a_metric_of_which_nothing_is_known_is_left_out_and_said(capsys):
    rows = pd.DataFrame({"id": ["a", "b"], "method": "x", "seed": 0, "success": np.nan,
                         "clip_direction": [0.1, np.nan], "clip_i_source": [0.5, 0.7]})  # fmt: skip
    found = tables.wide(rows, ["success", "clip_i_source"])
    assert list(found) == ["CLIP-I to source"]
    assert "left out: edit success. Success needs labels" in capsys.readouterr().out
    assert tables.known_best(rows, tables.ANSWERS) == "clip_direction"
    assert tables.known_best(rows, ("success",)) is None
    assert tables.known_best(rows, ("clip_t",)) is None


def test_nothing_to_draw_is_not_saved(tmp_path):
    figures.save(None, "01_none", folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_intervals_and_numbers_become_words():
    wide = Interval(0.5, 0.25, 1.0, 9, 0, "bca")
    lone, none = wide._replace(low=np.nan, high=np.nan), wide._replace(mean=np.nan, low=np.nan)
    table = pd.DataFrame({"a": [wide, lone, none], "n": [1, 2, 3], "b": [0.125, 0.25, 0.5]})
    found = tables.in_words(table, {"a": "A", "n": "N", "b": "B"}, ".2f")
    assert found["A"].tolist() == ["0.50\u00a0[0.25,\u00a01.00]", "0.50", "–"]
    assert found["N"].tolist() == [1, 2, 3] and found["B"].tolist() == ["0.12", "0.25", "0.50"]


@pytest.mark.parametrize("value", [0, 255])
def test_an_even_mask_is_drawn_in_its_own_brightness(value):
    fig, axes = figures.grid(1, 1)
    ax = np.ravel(axes)[0]
    figures.show(ax, np.full((8, 8), value, np.uint8))
    (image,) = ax.images
    drawn = image.cmap(image.norm(image.get_array()))
    assert np.allclose(drawn[..., :3], value / 255)


def test_numbers_on_logarithmic_axes_are_plain():
    table = pd.DataFrame(
        [dict(leak=s, side=side, timestep=t, error=10.0 ** -(1 + t / 500))
         for s in leak.LEAKS for side in ("inside", "outside") for t in (100, 900)]
    )  # fmt: skip
    fig = leak_chapter.losses_figure(table)
    fig.canvas.draw()
    said = [label.get_text() for ax in fig.axes for label in ax.get_yticklabels()]
    assert any(said) and not any("$" in text or "mathdefault" in text for text in said)


def test_no_figure_of_the_book_shows_the_markup_of_mathematics():
    charts = sorted(FIGURES.glob("*.svg"))
    assert charts and not [one.name for one in charts if "mathdefault" in one.read_text()]


@pytest.mark.parametrize("place, side", [((3.0, 1.0), "bottom"), ((3.0, 7.0), "top")])
def test_an_arrow_points_at_its_place_and_its_text_stands_away_from_it(ax, place, side):
    figures.show(ax, picture((6, 8)))
    figures.point_out(ax, "here", place)
    (found,) = ax.texts
    assert found.xy == place and found.get_va() == side


def test_names_stand_beside_their_curves_in_place_of_a_legend(ax):
    table = pd.DataFrame({"method": ["a", "b"], "x": [0.0, 1.0], "y": [2.0, 3.0]})
    figures.trade_off(ax, table, x="x", y="y", beside={"a": (5, 5), "b": (-5, -5)})
    assert ax.get_legend() is None
    assert [(t.get_text(), t.xy, t.get_ha()) for t in ax.texts] == [
        ("a", (0.0, 2.0), "left"), ("b", (1.0, 3.0), "right"),
    ]  # fmt: skip
