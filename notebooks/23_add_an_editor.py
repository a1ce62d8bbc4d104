# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Add an editor
#
# Methods, recorder, explorer and command line ask an editor the same few things. Whoever answers them in a class has all of
# these. The editor of this page is Qwen-Image-Edit-2509, which differs from Qwen-Image-Edit in one of them.

# %% tags=["parameters", "remove-input"]
profile: str = "quick"
edits: str = "data/edits"
models: str = "miniature"
device: str = "cpu"
seed: int = 0
steps: int = 20
# %% [markdown]
# ## What a class says
#
# | the class says | which is |
# |---|---|
# | `encode`, `decode` | pictures to latents and back |
# | `read` | the texts, with and without the instruction, as the network takes them |
# | `rows` | what the network answers for some branches: with text and source, with the source, with neither |
# | `guided` | one prediction of these; by default InstructPix2Pix's two scales |
# | `branches`, `defaults` | the rows that guidance needs; steps and scales where the user gives none |
# | `tokens`, `before` | what cuts the prompt into tokens, and what the pipeline writes before it |
# | `target`, `spread` | which cells of an attention layer are the picture that is made |
#
# A whole one is short. This is FLUX.1 Kontext's:
#
# ```{literalinclude} ../../cirp/diffusion/editors/kontext.py
# :language: python
# ```
#
# ## A new one
#
# Qwen-Image-Edit-2509 shows its language model a smaller copy of the source. All else is as before.

# %%
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus import (
    CONDITION_IMAGE_SIZE,
    calculate_dimensions,
)

from cirp.diffusion.editors import editor, qwen


@editor("QwenImageEditPlusPipeline")  # the name of the pipeline's class in diffusers
class QwenImageEditPlus(qwen.QwenImageEdit):
    """As Qwen-Image-Edit; the language model sees a smaller source."""

    def read(self, prompts, images, shown, scale):
        ratio = images[0].width / images[0].height
        width, height = calculate_dimensions(CONDITION_IMAGE_SIZE, ratio)
        small = self.pipe.image_processor.resize(images[0], height, width)
        return super().read(prompts, [[small]], shown, scale)


# %% [markdown]
# ## At work
#
# From now on `cirp.load("Qwen/Qwen-Image-Edit-2509")` loads it, and everything runs on it. Here it has tiny random weights
# ({numref}`tab-new-editor`).

# %% mystnb={"table": {"caption": "The new editor, with tiny random weights: rows of the network by method, and what is recorded.", "name": "tab-new-editor"}}
import pandas as pd
from diffusers import QwenImageEditPlusPipeline

import cirp
from cirp.api import as_models
from cirp.chapters.other_editors import SAID, picture
from cirp.experiments.tiny_editors import tiny_qwen

new = as_models(tiny_qwen(QwenImageEditPlusPipeline))
new.editor.resolution = 16  # pixels; 1024 by default
rows = {}
for method in ("ip2p", "wys", "remap"):
    with cirp.record(new.instruct) as rec:
        made = cirp.edit(new, picture(), SAID, method=method, steps=4, quiet=True)
    heat = rec.word_map("hat")
    rows[method] = {"network rows": made.unet_calls, "map of “hat”": heat.shape}
pd.DataFrame.from_dict(rows, orient="index")

# %% [markdown]
# ## Is it right?
#
# Make one edit with the editor's own pipeline and one with `cirp.edit(..., method="ip2p", seed=0)`, with a generator
# seeded by 0. Pixels must be equal; `tests/test_editors.py` asks this of every editor. Where they are not, print the
# first step's prediction of both.
