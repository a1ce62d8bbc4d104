import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.nn.functional import interpolate

from cirp.attention.control import controlled
from cirp.attention.localisation import scores
from cirp.attention.maps import Record, binarise, fuse, over_time, resized, token_maps, word_map
from cirp.attention.site import INSTRUCT_BRANCHES, NEITHER, TEXT, Site
from tests.tiny import tiny_ip2p, tiny_tokenizer

PROMPT = "make the cat wear a hat and a zyzzogeton"


@pytest.fixture(scope="module")
def record():
    """A three-step edit of a 96 x 64 image: two levels, with all branches and each step."""
    pipe = tiny_ip2p()
    record = Record(branches=INSTRUCT_BRANCHES, times="step")
    with controlled(pipe.unet, record):
        pipe(
            PROMPT,
            image=Image.linear_gradient("L").convert("RGB").resize((96, 64)),
            num_inference_steps=3,
            generator=torch.Generator().manual_seed(0),
            output_type="latent",
        )
    return record


def random(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def outer_layers(record):
    return [name for name in record.layers if not name.startswith("mid_block")]


def test_maps_have_the_latents_shape_and_sum_to_one_over_tokens(record):
    maps = token_maps(record)
    assert maps.shape == (77, 16, 24)
    torch.testing.assert_close(maps.sum(dim=0), torch.ones(16, 24))


def test_maps_are_the_mean_over_layers_and_heads_of_resized_maps(record):
    expected = torch.cat(
        [
            interpolate(record.layer(name), size=(20, 30), mode="bilinear", align_corners=False)
            for name in outer_layers(record)
        ]
    ).mean(dim=0)
    torch.testing.assert_close(token_maps(record, size=(20, 30)), expected, atol=1e-6, rtol=1e-5)


def test_layers_heads_and_strides_can_be_chosen(record):
    layer = next(name for name in record.layers if record.stride(name) == 1)
    one = token_maps(record, layers=[layer], heads=[2])
    torch.testing.assert_close(one, record.layer(layer)[2])
    coarse = [name for name in outer_layers(record) if record.stride(name) == 2]
    assert 0 < len(coarse) < len(outer_layers(record))
    torch.testing.assert_close(token_maps(record, strides=[2]), token_maps(record, layers=coarse))


def test_the_middle_block_counts_only_if_asked_for(record):
    (middle,) = (name for name in record.layers if name.startswith("mid_block"))
    with_it = token_maps(record, layers=record.layers)
    n = 4 * len(record.layers)  # heads x layers
    only = token_maps(record, layers=[middle])
    torch.testing.assert_close(with_it, ((n - 4) * token_maps(record) + 4 * only) / n)


def test_stride_eight_counts_only_if_asked_for():
    record = Record()
    for queries, layer, value in ((64, "up_blocks.1.attn2", 1.0), (1, "up_blocks.0.attn2", 9.0)):
        site = Site(layer, True, 999.0, (8, 8))
        record.on_probs(torch.full((3, 2, queries, 5), value), site)
    assert record.strides == [1, 8]
    assert token_maps(record).unique().tolist() == [1]
    assert token_maps(record, strides=[8]).unique().tolist() == [9]
    assert token_maps(record, strides=[1, 8]).unique().tolist() == [5]
    assert token_maps(record, layers=["up_blocks.0.attn2"]).unique().tolist() == [9]


def test_the_mean_over_times_is_the_record(record):
    by_time = torch.stack([token_maps(record, time=time) for time in record.times])
    assert len(by_time) == 3
    torch.testing.assert_close(by_time.mean(dim=0), token_maps(record), atol=1e-6, rtol=1e-5)
    assert (by_time[0] - by_time[2]).abs().max() > 1e-3


def test_a_time_has_resolutions_too(record):
    time = record.times[0]
    fine, coarse = (token_maps(record, time=time, strides=[s]) for s in record.strides)
    (total_fine, n_fine), (total_coarse, n_coarse) = record.time(time).values()
    assert record.strides == [1, 2] and n_fine != 0 != n_coarse
    both = (fine * n_fine + coarse * n_coarse) / (n_fine + n_coarse)
    torch.testing.assert_close(token_maps(record, time=time), both, atol=1e-6, rtol=1e-5)


def test_words_over_time_are_each_times_maps_at_each_resolution(record):
    found = over_time(record, [[3], [5, 6]])
    assert {stride: maps.shape for stride, maps in found.items()} == {
        1: (3, 2, 16, 24),
        2: (3, 2, 8, 12),
    }
    for stride, maps in found.items():
        for i, time in enumerate(record.times):
            grid = tuple(maps.shape[2:])
            expected = token_maps(record, time=time, strides=[stride], size=grid)
            torch.testing.assert_close(maps[i, 0], expected[3])
            torch.testing.assert_close(maps[i, 1], (expected[5] + expected[6]) / 2)


def test_words_over_time_need_recorded_times():
    with pytest.raises(ValueError, match="no times were recorded"):
        over_time(Record(), [[1]])


def test_sums_are_means_times_steps(record):
    torch.testing.assert_close(token_maps(record, summed=True), 3 * token_maps(record))


def test_branches_differ(record):
    text, neither = (token_maps(record, branch=branch) for branch in (TEXT, NEITHER))
    assert (text - neither).abs().max() > 0.01


def test_a_word_is_the_mean_over_its_tokens(record):
    tokenizer, maps = tiny_tokenizer(), token_maps(record)
    pieces = tokenizer.tokenize(PROMPT)
    assert pieces.count("hat</w>") == 1
    hat = word_map(record, tokenizer, PROMPT, "hat")
    torch.testing.assert_close(hat, maps[1 + pieces.index("hat</w>")])
    long = word_map(record, tokenizer, PROMPT, "zyzzogeton")
    torch.testing.assert_close(long, maps[1 + pieces.index("z") : 1 + len(pieces)].mean(dim=0))


def test_a_repeated_word_is_one_map_or_each_its_own(record):
    first, second = (
        word_map(record, tiny_tokenizer(), PROMPT, "a", occurrence=i, size=(8, 8)) for i in (0, 1)
    )
    both = word_map(record, tiny_tokenizer(), PROMPT, "a", size=(8, 8))
    torch.testing.assert_close(both, (first + second) / 2)
    assert not torch.equal(first, second)


def test_a_word_map_in_the_images_size_can_be_scored(record):
    mask = np.zeros((64, 96), dtype=bool)
    mask[8:40, 30:80] = True
    heat = word_map(record, tiny_tokenizer(), PROMPT, "cat", size=mask.shape)
    row = scores(heat, mask)
    assert 0 < row["roc_auc"] < 1 and row["area"] == pytest.approx(32 * 50 / (64 * 96))


@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)), st.tuples(st.integers(1, 9), st.integers(1, 9))
)
def test_an_even_map_stays_even_at_any_size(shape, size):
    for resize in ("bilinear", "bicubic"):
        maps = resized(torch.full((1, 1, *shape), 0.7), size, resize=resize)
        torch.testing.assert_close(maps, torch.full((1, 1, *size), 0.7))


def test_bilinear_resizing_keeps_the_borders_of_cells():
    maps = resized(torch.tensor([[[[0.0, 1.0]]]]), (1, 4))
    assert maps.flatten().tolist() == [0, 0.25, 0.75, 1]  # centres at 1/8, 3/8, 5/8, 7/8


def test_making_smaller_averages():
    checks = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).tile(8, 8)[None, None]
    inner = resized(checks, (4, 4))[..., 1:3, 1:3]
    torch.testing.assert_close(inner, torch.full((1, 1, 2, 2), 0.5), atol=0.02, rtol=0)


def test_bicubic_does_not_undershoot_below_zero():
    spike = torch.zeros(1, 1, 5, 5)
    spike[..., 2, 2] = 1
    assert interpolate(spike, size=(20, 20), mode="bicubic").min() < 0
    assert resized(spike, (20, 20), resize="bicubic").min() == 0


def test_parts_weigh_as_many_maps_as_they_are():
    fused = fuse([(torch.full((1, 1, 2, 2), 6.0), 3), (torch.full((2, 1, 4, 4), 7.0), 2)], (4, 4))
    assert fused.unique().tolist() == [(6 + 14) / 5]


@pytest.mark.parametrize("resize", ["bilinear", "bicubic"])
def test_the_order_of_parts_does_not_matter(resize):
    parts = [(random(2, 3, 4, 4), 2), (random(3, 3, 2, 2), 3)]
    one, other = (fuse(p, (8, 6), resize=resize) for p in (parts, parts[::-1]))
    torch.testing.assert_close(one, other)


def test_binarise_takes_a_share_of_the_maximum():
    heat = torch.tensor([[0.0, 1.0], [2.0, 4.0]])
    assert binarise(heat, 0.5).tolist() == [[False, False], [True, True]]
    assert not binarise(torch.zeros(2, 2), 0.5).any()
    for threshold in (0.0, 1.5):
        with pytest.raises(ValueError, match=f"threshold={threshold}"):
            binarise(heat, threshold)


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"layers": ["up"]}, "no layer 'up' was recorded; there are up_blocks"),
        ({"heads": [4]}, r"heads \[4\]: recorded are 0 to 3"),
        ({"heads": []}, r"heads \[\]: recorded are 0 to 3"),
        ({"layers": ["up"], "strides": [1]}, r"leave strides=\[1\] out"),
        ({"positions": [77]}, r"positions \[77\]: recorded are 0 to 76"),
        ({"strides": [4]}, r"strides=\[4\]; recorded were strides \[1, 2\]"),
        ({"time": 5.0}, "time 5.0 was not recorded; there are "),
        ({"time": 999.0, "heads": [0]}, "choose none of those"),
        ({"image": 1}, "image 1 was not recorded"),
    ],
)
def test_a_selection_of_nothing_is_refused(record, selection, message):
    with pytest.raises(ValueError, match=message):
        token_maps(record, **selection)


def test_a_word_that_is_not_in_the_prompt_is_refused(record):
    with pytest.raises(ValueError, match="'dog' is not in"):
        word_map(record, tiny_tokenizer(), PROMPT, "dog")
