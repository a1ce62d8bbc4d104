"""Reading attention while a method works."""

import numpy as np
import pytest

from cirp.chapters import attention
from cirp.data.edits import EditItem, EditRecord
from cirp.diffusion.pipelines import Models
from cirp.experiments import word_maps
from tests.conftest import painted
from tests.tiny import tiny_ip2p, tiny_sd, tiny_unet


@pytest.fixture
def item(tmp_path):
    painted().save(tmp_path / "x.png")
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[16:48, 16:48] = 255
    from PIL import Image

    Image.fromarray(mask).save(tmp_path / "mask.png")
    record = EditRecord(
        source_file_name="x.png",
        mask_file_name="mask.png",
        instruction="make the dog happy",
        target_caption="a happy dog on the beach",
        words=["dog", "happy"],
        target_words=["happy"],
    )
    return EditItem(record, tmp_path)


def watched(models, item, method="ip2p"):
    return word_maps.watch(
        models, item, method, seed=0, settings={"steps": 3}, times=(0, 500, 1000)
    )


@pytest.mark.parametrize("method, words", [("ip2p", ["dog", "happy"]), ("noisy", ["happy"])])
def test_the_words_are_those_of_the_prompt_that_was_given(models, item, method, words):
    one = watched(models, item, method)
    assert one.words == words and all(word in one.prompt for word in words)
    heat = one.heat()
    assert heat.shape == (64, 64) and heat.min() >= 0
    np.testing.assert_allclose(heat, np.mean([one.heat([w]) for w in words], axis=0))


def test_all_attention_is_accounted_for(models, item):
    assert watched(models, item).mass().sum() == pytest.approx(1, abs=1e-5)


def test_a_leaderboard_has_the_words_and_the_uninformative_maps(models, item):
    board = word_maps.leaderboard([watched(models, item)], by="it").set_index("map")
    assert {"it: words of the edit", "uninformative: even"} <= set(board.index)
    assert board.loc["uninformative: even", "roc_auc"] == 0.5
    assert board.loc["uninformative: even", "energy_gain"] == pytest.approx(0)


def test_layers_heads_and_times_have_a_score_each(models, item):
    one = [watched(models, item)]
    layers = word_maps.by_layer(one)
    assert layers.shape == (len(one[0].record.layers), 4) and layers.notna().all().all()
    times = word_maps.by_time(one)
    assert set(times["timestep"]) == {0, 500} and times["roc_auc"].between(0, 1).all()


def test_a_middle_block_with_a_resolution_of_its_own_is_left_out_everywhere(item):
    """As in Stable Diffusion, whose coarsest level has no cross-attention."""
    pipe = tiny_ip2p()
    pipe.unet = tiny_unet(in_channels=8, channels=(32, 64, 64), plain_last=True)
    one = watched(Models("tiny", pipe, tiny_sd(), "tiny-fingerprint"), item)
    middle = [name for name in one.record.layers if name.startswith("mid_block")]
    assert middle and one.record.stride(middle[0]) == 4
    assert one.record.strides == [1, 2]
    assert set(word_maps.by_time([one])["maps"]) == {"16 x 16", "8 x 8"}
    assert attention.attention_explorer(one).layers
    assert word_maps.by_layer([one]).shape == (len(one.record.layers), 4)


def test_words_that_nobody_has_named_are_the_content_words_of_the_instruction(models, item):
    blind = word_maps.reworded(item, "make it happy on the beach")
    (one,) = word_maps.watch_all(models, [blind], "ip2p", seed=0, settings={"steps": 1})
    assert one.words == ["make", "happy", "beach"] or one.words == ["happy", "beach"]
    assert blind.record.instruction == "make it happy on the beach" and blind.record.words == []


def test_the_noisy_input_is_watched_only_where_there_are_words_of_a_caption(models, item):
    told = {"seed": 0, "settings": {"steps": 2}}
    assert len(list(word_maps.watch_all(models, [item], "noisy", **told))) == 1
    for bare in ({"target_caption": None}, {"target_words": []}):
        other = EditItem(item.record.model_copy(update=bare), item.folder)
        assert list(word_maps.watch_all(models, [other], "noisy", **told)) == []


def test_edits_of_the_whole_picture_are_passed_over_and_unmasked_ones_not_scored(models, item):
    whole = EditItem(item.record.model_copy(update={"is_global": True}), item.folder)
    bare = EditItem(item.record.model_copy(update={"mask_file_name": None}), item.folder)
    seen = list(
        word_maps.watch_all(models, [whole, bare, item], "ip2p", seed=0, settings={"steps": 1})
    )
    assert [one.item.record.mask_file_name for one in seen] == [None, "mask.png"]
    assert [one.item for one in word_maps.with_masks(seen)] == [item]


def test_edits_watched_together_have_the_maps_of_each_alone(models, item):
    other = word_maps.reworded(item, "make the hat red")
    how = dict(seed=0, settings={"steps": 2})
    seen = list(word_maps.watch_all(models, [item, other], "ip2p", **how))
    assert [one.prompt for one in seen] == ["make the dog happy", "make the hat red"]
    assert seen[0].record is seen[1].record and seen[1].image == 1
    alone = word_maps.watch(models, word_maps.with_words(other, models), **how)
    np.testing.assert_allclose(seen[1].heat(), alone.heat(), atol=1e-5)
    for name, heat in seen[1].special().items():
        np.testing.assert_allclose(heat, alone.special()[name], atol=1e-5)
    np.testing.assert_allclose(seen[1].mass(), alone.mass(), atol=1e-5)
    assert not np.allclose(seen[0].heat(), seen[1].heat(), atol=1e-5)


def test_layer_names_are_short():
    assert word_maps.short("up_blocks.1.attentions.0.transformer_blocks.0.attn2") == "up 1.0"
    assert word_maps.short("mid_block.attentions.0.transformer_blocks.0.attn2") == "mid"
    assert (
        word_maps.short("up_blocks.1.attentions.0.transformer_blocks.1.attn2") == "up 1.0 block 1"
    )
