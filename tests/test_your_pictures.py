"""The chapter on one's own pictures: what is known is shown, what is not is said to be missing."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cirp.attention.tokens import content_words
from cirp.chapters import your_pictures as chapter
from cirp.diffusion.tasks import Edit
from cirp.experiments import report
from tests.tiny import tiny_tokenizer


def table(count, **columns):
    rng = np.random.default_rng(0)
    rows = []
    for name, change in ((report.BASELINE, 0.2), (chapter.OURS, 0.1), (report.NOTHING, 0.0)):
        for i in range(count):
            rows.append(
                {"id": f"p{i}", "method": name, "seed": 0,
                 "l1_source": change + rng.uniform(0, 0.01), "clip_i_source": 1 - change,
                 "dinov2_source": 0.9, "success": np.nan,
                 "clip_t": np.nan, **columns}
            )  # fmt: skip
    return pd.DataFrame(rows)


def test_the_sentence_goes_by_the_interval_and_gives_none_of_few():
    answer = chapter.finding(table(9))
    assert "On 9 pictures remap changes less of the picture" in answer.data
    assert "[" in answer.numbers["value [95 %]"].iloc[0]
    for count in (1, 4):
        said = chapter.finding(table(count)).data
        assert "no interval" in said and "[" not in said
    assert "On 1 picture remap" in chapter.finding(table(1)).data


def test_what_cannot_be_known_is_left_out_with_a_line(capsys):
    found = chapter.numbers(table(6))
    assert list(found.index) == [
        "change of the picture (L1)",
        "CLIP-I to source",
        "DINOv2 to source",
    ]
    said = capsys.readouterr().out
    assert "edit success" in said and "CLIP-T" in said and "needs labels" in said
    known = chapter.numbers(table(6, success=1.0, clip_t=0.3))
    assert "edit success" in known.index and "CLIP-T" in known.index


@pytest.mark.parametrize("miniature, scale", [(True, 2.5), (False, 7.5)])
def test_both_run_at_the_same_scales(miniature, scale, items):
    found = chapter.chosen(items, steps=7, miniature=miniature)
    for name in (report.BASELINE, chapter.OURS):
        settings = found[name][1]
        assert (settings["text_scale"], settings["steps"]) == (scale, 7)
    assert report.NOISY in found


def test_without_captions_the_noisy_input_is_left_out(items):
    bare = {"target_caption": None, "source_caption": None, "target_words": []}
    some = [replace(i, record=i.record.model_copy(update=bare)) for i in items]
    found = chapter.chosen(some, steps=5, miniature=True)
    assert set(found) == {report.BASELINE, chapter.OURS, report.NOTHING, report.TRIP}


def test_words_are_the_instructions_own():
    tokenizer = tiny_tokenizer()
    assert content_words(tokenizer, "make the cat red and the hat red") == ["cat", "red", "hat"]
    assert content_words(tokenizer, "make it") == ["make", "it"]  # nothing else is left


def test_one_picture_is_enough_for_the_figure(items):
    edit = Edit(Image.new("RGB", items[0].size, "red"), "ip2p", {}, 1, 0.1, None, False)
    fig = chapter.side_by_side(items[:1], {report.BASELINE: [edit], chapter.OURS: [edit]})
    assert len(fig.axes) == 5
    plt.close(fig)
