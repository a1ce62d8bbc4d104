"""SDXL's pipelines go through the same code: equal to diffusers' own, and every method runs."""

from typing import get_args

import numpy as np
import pytest
import torch
from diffusers import (
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInstructPix2PixPipeline,
    StableDiffusionXLPipeline,
)

from cirp.attention.control import controlled
from cirp.attention.maps import token_maps, word_map
from cirp.attention.record import Record
from cirp.diffusion import dreambooth, pipelines, text
from cirp.diffusion.pipelines import Models, fingerprint, load, parts
from cirp.diffusion.sampling import captions_to_images, encode
from cirp.diffusion.tasks import Task, generator
from cirp.methods import METHODS, ip2p, noisy
from tests.conftest import painted
from tests.tiny import tiny_ip2p, tiny_sd, tiny_xl, tiny_xl_pair

FAST = dict(steps=4, progress=False)


@pytest.fixture(scope="module")
def xl() -> Models:
    instruct, painter = tiny_xl_pair()
    return Models("tiny xl", instruct, painter, "xl")


def array(image) -> np.ndarray:
    return np.asarray(image).astype(int)


def task(image=None, **more) -> Task:
    mask = np.zeros((128, 128), dtype=bool)
    mask[32:96, 32:80] = True
    plain = {"source_caption": "a sad dog on the beach", "mask": mask}
    plain |= {"words": ("happy",), "target_words": ("happy",)}
    return Task(image or painted(128, 128), "make the dog happy", "a happy dog on the beach",
                0, "one", **(plain | more))  # fmt: skip


@pytest.mark.parametrize("zeros", [True, False])
@pytest.mark.parametrize("size", [(128, 128), (128, 96)], ids=str)
def test_the_baseline_equals_diffusers_own_xl_pipeline(zeros, size):
    pipe = tiny_xl(StableDiffusionXLInstructPix2PixPipeline, zeros_for_empty=zeros)
    mine = Models("tiny xl", pipe, tiny_xl(StableDiffusionXLPipeline), "xl")
    one = task(painted(*size), mask=None)
    (made,) = ip2p.edit(mine, [one], text_scale=7.5, image_scale=1.5, **FAST)
    theirs = pipe(
        one.instruction, image=one.image, num_inference_steps=4, guidance_scale=7.5,
        image_guidance_scale=1.5, generator=generator(one), width=size[0], height=size[1],
    ).images[0]  # fmt: skip
    assert np.abs(array(made.image) - array(theirs)).max() <= 1


def test_the_noisy_input_equals_diffusers_xl_image_to_image(xl):
    one = task()
    (made,) = noisy.edit(xl, [one], strength=0.5, text_scale=12.0, **FAST)
    img2img = StableDiffusionXLImg2ImgPipeline(
        **xl.text.components, force_zeros_for_empty_prompt=True, add_watermarker=False
    )
    img2img.set_progress_bar_config(disable=True)
    theirs = img2img(
        one.caption, image=encode([one.image], xl) * xl.vae.config.scaling_factor, strength=0.5,
        num_inference_steps=4, guidance_scale=12.0, generator=generator(one),
    ).images[0]  # fmt: skip
    assert np.abs(array(made.image) - array(theirs)).max() <= 1


@pytest.mark.parametrize("region", ["found", "given"])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_edits_with_xl_models(xl, name, region):
    settings = METHODS[name].settings.model_fields
    wanted = {"steps": 4, "region": region, "look_steps": 2}
    own = {k: v for k, v in wanted.items() if k in settings}
    regions = get_args(settings["region"].annotation) if "region" in settings else ("found",)
    if region not in regions:
        pytest.skip(f"knows no region {region}")
    (made,) = METHODS[name](xl, [task()], progress=False, **own)
    assert made.image.size == (128, 128)
    if name not in ("nothing", "round trip"):
        assert np.abs(array(made.image) - array(task().image)).mean() > 1


def test_words_have_maps_though_layers_have_different_numbers_of_heads(xl):
    record = Record(times="step")
    with controlled(xl.instruct.unet, record):
        ip2p.edit(xl, [task()], **FAST)
    assert record.strides == [2, 4]
    assert {len(record.layer(name)) for name in record.layers} == {2, 4}
    heat = word_map(record, xl.instruct.tokenizer, task().instruction, "dog", size=(128, 128))
    assert heat.shape == (128, 128) and float(heat.std()) > 0
    total = token_maps(record).sum(dim=0)
    torch.testing.assert_close(total, torch.ones_like(total))  # attention is shared out


def test_pictures_from_captions_and_what_cannot_be_tuned(xl):
    (image,) = captions_to_images(xl, ["a happy dog"], seed=0, steps=2)
    assert image.size == (128, 128)
    with pytest.raises(ValueError, match="XLPipeline cannot be tuned here"):
        dreambooth.tune(xl, [painted()], identifier="zyz", noun="dog", seed=0, steps=1)
    with pytest.raises(ValueError, match="two text towers"):
        text.states(["a dog"], xl.text)


def test_a_folder_of_xl_models_loads_by_what_it_says_it_is(tmp_path, xl):
    xl.instruct.save_pretrained(tmp_path / "instruct-pix2pix")
    xl.text.save_pretrained(tmp_path / "text-to-image")
    loaded = load(str(tmp_path))
    assert isinstance(loaded.instruct, StableDiffusionXLInstructPix2PixPipeline)
    every = [part for pipe in (xl.instruct, xl.text) for part in parts(pipe)]
    assert loaded.fingerprint == fingerprint(*every) and len(every) == 8
    assert pipelines.resolve("real-xl")[0].startswith("diffusers/sdxl")


def test_an_editor_in_the_painters_place_is_refused(tmp_path):
    tiny_sd().save_pretrained(tmp_path / "instruct-pix2pix")
    tiny_ip2p().save_pretrained(tmp_path / "text-to-image")
    with pytest.raises(ValueError, match="is a StableDiffusionPipeline; give a Stable.*Pix2Pix"):
        load(str(tmp_path))
