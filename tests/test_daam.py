"""Our maps against daam 0.2.0 itself, on the kind of pipeline it is right for and on the other."""

import builtins

import pytest
import torch
from daam.heatmap import GlobalHeatMap, RawHeatMapCollection, WordHeatMap
from daam.trace import trace
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image

from cirp.attention import daam
from cirp.attention.control import Control, controlled
from cirp.attention.daam import daam_layers, daam_slices, sliced
from cirp.attention.maps import Record, token_maps
from cirp.attention.site import INSTRUCT_BRANCHES, TEXT
from tests.tiny import tiny_ip2p, tiny_sd

# daam's autocast on torch of today
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.cuda.amp.autocast.*:FutureWarning")

PROMPT = "the cat and a hotdog on the zyzzogeton beach"
SD_SIZE = dict(sample_size=64, vae_scale=8)  # 512 pixels: where stock daam knows the latent's size


def generate(pipe, prompt, *, steps=1, **options):
    return pipe(
        prompt,
        num_inference_steps=steps,
        generator=torch.Generator().manual_seed(0),
        output_type="latent",
        **options,
    ).images


def explicit(pipe):
    """Cross-attention by diffusers' explicit processor, as daam computes it, so that both runs
    round alike and only maps are compared; the larger self-attention stays fused."""
    for name, module in pipe.unet.named_modules():
        if name.endswith("attn2"):
            module.set_processor(AttnProcessor())
    return pipe


def source(pixels):
    return Image.linear_gradient("L").convert("RGB").resize((pixels, pixels))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("daam")  # daam makes one at once; by default in the home folder


@pytest.fixture(scope="module")
def text_to_image(folder):
    """Two steps at 512 pixels: daam's trace, its global map, and our record of the same run."""
    pipe = explicit(tiny_sd(**SD_SIZE))
    with trace(pipe, data_dir=folder) as traced:
        theirs = generate(pipe, PROMPT, steps=2)
        global_map = traced.compute_global_heat_map()
    record = Record()
    with controlled(pipe.unet, record):
        ours = generate(pipe, PROMPT, steps=2)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    return pipe, traced, global_map, record


def test_raw_maps_equal_daams(text_to_image):
    _, traced, _, record = text_to_image
    theirs = dict(traced.all_heat_maps)
    ours = dict(daam.raw_heat_maps(record))
    assert ours.keys() == theirs.keys() and len(ours) == 4 * len(daam_layers(record))
    for key in theirs:
        torch.testing.assert_close(ours[key], theirs[key], atol=1e-5, rtol=0)


def test_global_maps_equal_daams(text_to_image):
    pipe, _, theirs, record = text_to_image
    ours = daam.global_heat_map(record, pipe.tokenizer, PROMPT)
    assert isinstance(ours, GlobalHeatMap)
    torch.testing.assert_close(ours.heat_maps, theirs.heat_maps, atol=1e-5, rtol=0)


@pytest.mark.parametrize("word", ["cat", "hotdog", "zyzzogeton", "the", "on the"])
def test_word_maps_equal_daams(text_to_image, word):
    pipe, _, global_map, record = text_to_image
    theirs = global_map.compute_word_heat_map(word)
    ours = daam.word_heat_map(record, pipe.tokenizer, PROMPT, word)
    assert isinstance(ours, WordHeatMap) and ours.word == word
    assert theirs.value.max() > 0.01
    torch.testing.assert_close(ours.value, theirs.value, atol=1e-5, rtol=0)


def test_word_maps_equal_daams_with_the_stock_attention_too(folder):
    pipe = tiny_sd(**SD_SIZE)  # fused: daam's own forward pass then rounds differently from stock
    with trace(pipe, data_dir=folder) as traced:
        generate(pipe, PROMPT, steps=2)
        theirs = traced.compute_global_heat_map().compute_word_heat_map("zyzzogeton").value
    record = Record()
    with controlled(pipe.unet, record):
        generate(pipe, PROMPT, steps=2)
    ours = daam.word_heat_map(record, pipe.tokenizer, PROMPT, "zyzzogeton").value
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_daam_makes_the_same_of_our_raw_maps(text_to_image):
    pipe, traced, _, record = text_to_image
    before = traced.all_heat_maps
    traced.all_heat_maps = daam.raw_heat_maps(record)
    try:
        theirs = traced.compute_global_heat_map(PROMPT).heat_maps
    finally:
        traced.all_heat_maps = before
    ours = daam.global_heat_map(record, pipe.tokenizer, PROMPT).heat_maps
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_means_over_time_are_daams_sums_divided_by_the_steps(text_to_image):
    _, _, theirs, record = text_to_image
    maps = token_maps(record, resize="bicubic")
    last = len(theirs.heat_maps)
    torch.testing.assert_close(maps[:last], theirs.heat_maps / 2, atol=1e-5, rtol=0)


def test_hat_is_not_found_in_a_longer_word_though_daam_finds_it(text_to_image):
    pipe, _, _, record = text_to_image
    prompt = "the zzhat and the dog"
    theirs = GlobalHeatMap(pipe.tokenizer, prompt, token_maps(record))
    assert theirs.compute_word_heat_map("hat").value.shape == (64, 64)
    with pytest.raises(ValueError, match="'hat' is not in"):
        daam.word_heat_map(record, pipe.tokenizer, prompt, "hat")


def test_objects_of_images_that_are_not_square():
    pipe, record = tiny_ip2p(), Record()
    with controlled(pipe.unet, record):
        generate(pipe, PROMPT, image=Image.new("RGB", (96, 64)))
    heat = daam.word_heat_map(record, pipe.tokenizer, PROMPT, "cat")
    assert heat.value.shape == (16, 24)
    assert isinstance(daam.raw_heat_maps(record), RawHeatMapCollection)


# InstructPix2Pix: the finding


class Probabilities(Control):
    """The text rows of one call, as (head, query, token)."""

    reads_only = True

    def __init__(self):
        self.text = {}

    def on_probs(self, probs, site):
        self.text[site.layer] = probs[0]  # one image: row 0 is text


@pytest.fixture(scope="module", params=[4, 8], ids=["4 heads", "8 heads"])
def two_instructions(request, folder):
    """The first step of two edits that differ in the instruction only, by daam and by us.

    At 256 pixels daam labels resolutions wrongly, but its raw maps are what they are.
    """
    pipe = explicit(tiny_ip2p(**SD_SIZE, heads=request.param))
    found = []
    for instruction in ("make the cat red", "put a hotdog on the beach"):
        with trace(pipe, data_dir=folder) as traced:
            generate(pipe, instruction, image=source(256))
        record, truth = Record(branches=INSTRUCT_BRANCHES), Probabilities()
        with controlled(pipe.unet, record, truth):
            generate(pipe, instruction, image=source(256))
        found.append((dict(traced.all_heat_maps), record, truth.text))
    return found


def difference(one, other):
    return max((one[key] - other[key]).abs().max().item() for key in one)


def test_the_released_daam_sees_no_difference_between_two_instructions(two_instructions):
    (one, _, _), (other, _, _) = two_instructions
    assert one and one.keys() == other.keys()
    assert difference(one, other) == 0.0
    assert max(heat.max().item() for heat in one.values()) > 0.1  # and yet there are maps


def test_ours_differ_between_two_instructions(two_instructions):
    (_, one, _), (_, other, _) = two_instructions
    for layer in daam_layers(one):
        assert (one.layer(layer) - other.layer(layer)).abs().max() > 0.1


def test_ours_are_the_text_rows_of_the_probabilities(two_instructions):
    for _, record, truth in two_instructions:
        for layer in record.layers:
            maps = record.layer(layer, branch=TEXT)
            assert torch.equal(maps.flatten(2).mT, truth[layer])


def test_the_reproduced_slice_is_what_the_released_daam_keeps(two_instructions):
    for theirs, record, _ in two_instructions:
        ours = sliced(record, daam.RELEASED)
        compared = 0
        for (_, index, head), heat in theirs.items():
            kept = ours[daam_layers(record)[index]][head]
            torch.testing.assert_close(kept, heat, atol=1e-5, rtol=0)
            compared += 1
        assert compared == sum(len(kept) for kept in ours.values())


def test_the_reproduced_slice_is_put_together_as_the_released_daam_does(folder):
    pipe = explicit(tiny_ip2p(**SD_SIZE))
    with trace(pipe, data_dir=folder) as traced:
        generate(pipe, PROMPT, image=source(512))
        theirs = traced.compute_global_heat_map().heat_maps
    record = Record(branches=INSTRUCT_BRANCHES)
    with controlled(pipe.unet, record):
        generate(pipe, PROMPT, image=source(512))
    ours = daam_slices(record)[daam.RELEASED][: len(theirs)]
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)


@pytest.mark.parametrize("heads", [4, 8])
def test_each_rule_keeps_the_rows_it_says(heads):
    pipe, record = tiny_ip2p(heads=heads), Record(branches=INSTRUCT_BRANCHES)
    with controlled(pipe.unet, record):
        generate(pipe, PROMPT, image=source(64))
    layer = daam_layers(record)[0]
    text, image, neither = (record.layer(layer, branch=b) for b in INSTRUCT_BRANCHES)
    upper_half = torch.cat([image[heads // 2 :], neither])
    one_too_many = torch.cat([text, image[:1]])
    expected = {
        "daam 0.2.0": upper_half,
        "daam pull request 60": one_too_many if heads == 8 else upper_half,
        "pull request 60, any heads": one_too_many,
        "text rows": text,
    }
    for rule, rows in expected.items():
        assert torch.equal(sliced(record, rule)[layer], rows), rule
    assert list(daam_slices(record)) == list(expected)


def test_slices_are_put_together_at_any_size():
    pipe, record = tiny_ip2p(), Record(branches=INSTRUCT_BRANCHES)
    with controlled(pipe.unet, record):
        generate(pipe, PROMPT, image=Image.new("RGB", (96, 64)), steps=2)
    maps = daam_slices(record, positions=[3, 1], size=(64, 96))
    ours = token_maps(record, positions=[3, 1], size=(64, 96), resize="bicubic", summed=True)
    torch.testing.assert_close(maps[daam.TEXT_ROWS], ours)
    assert (maps[daam.RELEASED] - ours).abs().max() > 0.05
    nearly = maps[daam.OFF_BY_ONE] * 5  # of 4 heads: their maps and one of another branch
    assert ((nearly - 4 * ours) >= -1e-4).all()


def test_a_record_that_cannot_be_sliced_is_refused():
    pipe, record = tiny_ip2p(), Record()
    with controlled(pipe.unet, record):
        generate(pipe, PROMPT, image=source(64))
    with pytest.raises(ValueError, match=r"branches \(0,\) of 1 images.*INSTRUCT_BRANCHES"):
        daam_slices(record)
    with pytest.raises(ValueError, match="rule 'mine' is not one of 'daam 0.2.0'"):
        sliced(record, "mine")


def test_without_daam_the_way_to_install_it_is_told(monkeypatch, text_to_image):
    real = builtins.__import__

    def without_daam(name, *args, **kwargs):
        if name.split(".")[0] == "daam":
            raise ModuleNotFoundError("No module named 'daam'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_daam)
    pipe, _, _, record = text_to_image
    with pytest.raises(ImportError, match=r"pip install --no-deps daam==0\.2\.0"):
        daam.global_heat_map(record, pipe.tokenizer, PROMPT)
