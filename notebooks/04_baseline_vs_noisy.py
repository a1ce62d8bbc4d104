# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Baseline versus noisy input
#
# The report found that the noisy input keeps more of the picture. Does it, and does it still make the edit?
#
# *The answer in numbers: {numref}`tab-answer-04`.*

# %% tags=["parameters", "remove-input"]
profile: str = "quick"
edits: str = "data/edits"
models: str = "miniature"
device: str = "cpu"
seed: int = 0
steps: int = 150
# %% tags=["hide-input"]
from cirp import figures
from cirp.chapters import noisy_input as chapter
from cirp.experiments import results, study
from cirp.figures import tables

figures.use_style()
s = study.open_study(
    profile=profile, edits=edits, models=models, device=device, seed=seed, steps=steps,
    prefers=("target caption",),
)
table = results.table(s, "main", again=False)
answer = chapter.finding(table)
answer

# %% tags=["remove-input"] mystnb={"table": {"caption": "The answer in numbers.", "name": "tab-answer-04"}}
answer.numbers

# %% [markdown]
# The baseline starts from pure noise and sees the input concatenated to it, with text guidance 7.5 and image guidance
# 1.5. The *noisy input* starts from the input itself, noised, and concatenates nothing; its prompts are refined captions
# of the target, its text guidance 12 to 15. Both are shown as the report set them, at 150 steps.
#
# ## From instruction to caption
#
# The text-to-image model knows no instructions: it is told what the picture should show. `cirp.data.target_caption`
# writes that by rule, and `cirp refine` has a language model write it. The report's own edits ({numref}`tab-refined`):

# %% mystnb={"table": {"caption": "Instructions, the captions refined from them, and what differs.", "name": "tab-refined"}}
worked = [item for item in s.items if item.record.example][:5] or s.items[:3]
chapter.captions(worked)

# %% [markdown]
# Write a caption of your own: what it changes is underlined, what it leaves out is struck through. In JupyterLab it
# can also be run, at 20 steps, on the same noise.

# %% tags=["hide-input"]
chapter.caption_editor(s, worked)

# %% [markdown]
# ## Both in plain diffusers
#
# The baseline is a call of diffusers' own pipeline. The noisy input is its image-to-image pipeline: `strength` says to
# how much noise the input is brought, and the prompt is the caption ({numref}`fig-plain`).

# %% mystnb={"figure": {"caption": "The input, the baseline's edit, and the noisy input's, made with diffusers alone.", "name": "fig-plain"}, "image": {"alt": "An input and two edits of it."}}
import torch
from diffusers import AutoPipelineForImage2Image

item, few = worked[0], min(steps, 20)
said = dict(image=item.source(), num_inference_steps=few)
edit = s.models.instruct(item.record.instruction, **said, guidance_scale=7.5, image_guidance_scale=1.5,
                         generator=torch.manual_seed(seed)).images[0]
img2img = AutoPipelineForImage2Image.from_pipe(s.models.text)
img2img.set_progress_bar_config(disable=True)
caption = item.record.target_caption or item.record.instruction
noisy = img2img(caption, **said, strength=0.55, guidance_scale=12.0, generator=torch.manual_seed(seed)).images[0]
_, axes = figures.grid(1, 3)
for ax, picture, title in zip(axes, (item.source(), edit, noisy), ("input", "baseline", "noisy input"), strict=True):
    figures.show(ax, picture, title)

# %% [markdown]
# ## Side by side
#
# Under each output its CLIP-I {cite}`radford2021clip` and DINOv2 {cite}`oquab2024dinov2` similarity to
# the *input*, in per cent, and whether the edit was done. Where it was not, the reason stands there: what the judge
# misses, or that the picture is too far from each right answer ({numref}`fig-side-by-side`).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The report's comparison on its own edits: input, both outputs with their similarities to the input, and the exact answer. The line is the region that should change.", "name": "fig-side-by-side"}, "image": {"alt": "Ten rows of input, baseline, noisy input and exact answer."}}
examples = ([item for item in s.items if item.record.example] or s.items)[: 10 if profile == "full" else 5]
made = s.made(examples)
_ = s.save(chapter.side_by_side(examples, made, table, seed), "04_side_by_side")
# %% [markdown]
# ## What did "image 0.4-0.55" mean?
#
# The report gives two numbers, "image 0.4-0.55" and "text 12-15". They can be read in several ways,
# and the ways are different experiments:
#
# 1. the *strength* to which the input is noised, on the text-to-image UNet with the target caption:
#    SDEdit {cite}`meng2022sdedit`, diffusers' image-to-image;
# 2. the same strength on the InstructPix2Pix UNet, with no image concatenated;
# 3. an *image guidance scale* of 0.5 on the baseline, applied literally;
# 4. the same, fed to diffusers' pipeline as it is. That pipeline turns **both** guidance scales off
#    when the image scale is below 1, and then runs at 1 and 1, silently.
#
# Reading 4 edits less for that reason alone, and similarity rewards it ({numref}`tab-readings`, {numref}`fig-readings`):

# %% mystnb={"table": {"caption": "The report's setting, read in four ways.", "name": "tab-readings"}}
readings = results.table(s, "readings")
tables.wide(readings, ["success", "l1_source_outside_excess", "clip_i_source", "dinov2_source"])

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Every reading of the report's setting, on one axis of success and one of similarity: the readings are different experiments.", "name": "fig-readings"}, "image": {"alt": "Points of success against CLIP-I for each reading."}}
_ = s.save(chapter.readings_figure(readings), "04_readings")
# %% [markdown]
# That diffusers ignores both scales there can be seen directly. Two very different settings give the
# same picture, to the last bit ({numref}`tab-gate`):

# %% mystnb={"table": {"caption": "diffusers' own pipeline at three pairs of scales.", "name": "tab-gate"}}
chapter.gate(s.models, s.items[0], [(12.0, 0.4), (15.0, 0.55), (7.5, 1.5)], steps=min(10, steps))

# %% [markdown]
# ## Exercises
#
# 1. Bring the input to less and to more noise. How much of the picture does the noisy input change at each strength?
# 2. The noisy input is not shown the picture. How can it keep any of it?
#
# :::{dropdown} Answer to the second
# It starts from the input with noise, not from noise alone. What the noise has not covered is kept: large shapes and
# colours first, details last.
# :::

# %% tags=["hide-cell"]
import pandas as pd

import cirp

changed = {
    strength: cirp.score(item.source(), img2img(
        caption, **said, strength=strength, guidance_scale=12.0, generator=torch.manual_seed(seed)
    ).images[0])["l1"]
    for strength in (0.3, 0.55, 0.9)
}
pd.Series(changed, name="mean change of a pixel, 0 to 1").rename_axis("strength").to_frame().round(3)

# %% [markdown]
# ## What this does not show
#
# Which reading the report's authors ran. Its table is compatible with more than one of them.
