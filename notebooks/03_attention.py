# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Reading cross-attention
#
# **Where do the words of an instruction look, and is that where the edit should happen?** In every
# cross-attention layer each cell of the picture distributes its attention over the tokens of the
# prompt; read the other way, each token has a map. DAAM {cite}`tang2023daam` averages these maps over
# layers, heads and time. InstructPix2Pix evaluates three rows at every step (text and image, image
# alone, neither), and only the first has ever seen the instruction.
#
# *The answer in numbers: {numref}`tab-answer-03`.*

# %% tags=["parameters", "remove-input"]
profile: str = "quick"
edits: str = "data/edits"
models: str = "miniature"
device: str = "cpu"
seed: int = 0
steps: int = 150
# %% tags=["hide-input"]
import pandas as pd

from cirp import figures
from cirp.attention.daam import daam_slices
from cirp.attention.site import INSTRUCT_BRANCHES
from cirp.chapters import attention as chapter
from cirp.experiments import study, word_maps

figures.use_style()
s = study.open_study(
    profile=profile, edits=edits, models=models, device=device, seed=seed, steps=steps,
    prefers=("words", "mask", "target caption",),
)
look = dict(seed=seed, settings={"steps": min(steps, 20)})
baseline = list(word_maps.watch_all(s.models, s.everything, "ip2p", **look))
noisy = list(word_maps.watch_all(s.models, s.everything, "noisy", **look))
scored = word_maps.with_masks(baseline)

answer = chapter.finding(scored, word_maps.with_masks(noisy))
answer

# %% tags=["remove-input"] mystnb={"table": {"caption": "The answer in numbers.", "name": "tab-answer-03"}}
answer.numbers

# %% [markdown]
# ## Recording attention
#
# `cirp.record` watches any Stable Diffusion pipeline while it runs. A word's map is the mean over its tokens, layers,
# heads and steps; "padding" names the tokens that fill the prompt up ({numref}`fig-record`).

# %% mystnb={"figure": {"caption": "Where the last word of an instruction and the padding look, over the input picture; each map has its own scale.", "name": "fig-record"}, "image": {"alt": "Two attention maps over one picture, each with a colour bar."}}
import torch

import cirp

item, pipe = s.items[:2][-1], s.models.instruct
text, generator = item.record.instruction, torch.Generator().manual_seed(seed)
with cirp.record(pipe) as rec:
    pipe(text, image=item.source(), num_inference_steps=min(steps, 20), generator=generator)
_ = rec.plot([rec.words()[-1], "padding"], picture=item.source())

# %% [markdown]
# Which of the two looks at what is to be edited? A word gets a few per cent of the attention at most; its bar ends far
# below the padding's.
#
# ## The words that carry the edit
#
# Brighter is more attention; within a row all maps share one scale. The white line is the true region
# ({numref}`fig-words`, {numref}`fig-words-noisy`).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "InstructPix2Pix: maps of the words that carry the edit, over the edited picture.", "name": "fig-words"}, "image": {"alt": "Attention maps of edit words for four edits."}}
_ = s.save(chapter.word_maps(baseline[:4]), "03_word_maps")
# %% tags=["hide-input"] mystnb={"figure": {"caption": "Noisy input: the same edits, with the words of the refined caption.", "name": "fig-words-noisy"}, "image": {"alt": "Attention maps of caption words for four edits."}}
_ = s.save(
    chapter.word_maps(noisy[:4]), "03_word_maps_noisy")
# %% [markdown]
# ## Explore
#
# Choose a word, a resolution and a time. It works in this page without a kernel.

# %% tags=["hide-input"]
chapter.attention_explorer(baseline[:2][-1])

# %% [markdown]
# ## A finding: the released DAAM never sees the instruction
#
# To leave out the unconditional half of a batch, daam 0.2.0 keeps its upper half. That is right for
# the two rows of Stable Diffusion and wrong for the three of InstructPix2Pix: of the rows *text, image,
# neither* it keeps half of *image* and all of *neither*. It raises nothing, and its maps look
# plausible. Two different instructions, the same picture and noise, one step ({numref}`tab-image-branch`):

# %% mystnb={"table": {"caption": "Largest difference of the maps under two instructions, by what reads them.", "name": "tab-image-branch"}}
first = {"steps": 1}
pair = [
    word_maps.watch(s.models, word_maps.reworded(s.everything[:2][-1], said), seed=seed, settings=first,
                  branches=INSTRUCT_BRANCHES, times=None)
    for said in (s.everything[:2][-1].record.instruction, "put it under the night sky")
]  # fmt: skip
slices = [daam_slices(one.record) for one in pair]
differences = {rule: float((a - slices[1][rule]).abs().max()) for rule, a in slices[0].items()}
pd.Series(differences, name="largest difference between two instructions").to_frame()

# %% [markdown]
# The release's maps of the two instructions are *identical*; the text rows' are not. Side by side, the
# map of the same token position under both instructions ({numref}`fig-slices`):

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What each way of slicing the batch shows for one token position, under two different instructions. Rows that never saw the text cannot tell them apart.", "name": "fig-slices"}, "image": {"alt": "Token maps by slicing rule for two instructions."}}
_ = s.save(chapter.slices_figure(pair, slices, position=2), "03_daam_slices")
# %% [markdown]
# ## Who gets the attention?
#
# Most of it goes to no word at all, but to begin of text, end of text, and padding ({numref}`tab-mass`).

# %% mystnb={"table": {"caption": "Where attention goes: its share by kind of token.", "name": "tab-mass"}}
systems = {"InstructPix2Pix": baseline, "noisy input": noisy}
mass = {name: pd.DataFrame([one.mass() for one in seen]).mean() for name, seen in systems.items() if seen}
pd.DataFrame(mass).map("{:.1%}".format)

# %% [markdown]
# ## Do the words find the region?
#
# Every map is scored against the true mask: the best intersection over union that any threshold
# gives, the pointing game, the share of energy inside beyond the mask's share of area, and ROC-AUC.
# Uninformative maps set the floor ({numref}`tab-map-scores`).

# %% mystnb={"table": {"caption": "How well maps of words find the things they name, beside uninformative maps.", "name": "tab-map-scores"}}
chapter.board(scored, word_maps.with_masks(noisy), seed=seed)

# %% [markdown]
# ## Which layer, which head, when?
#
# Averages hide who looks where; {numref}`fig-layers` and {numref}`fig-time` part them.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "ROC-AUC of the edit words' map by layer and head (0.5 is chance).", "name": "fig-layers"}, "image": {"alt": "Grid of ROC-AUC by layer and head."}}
_ = s.save(chapter.layers_figure(scored), "03_layers_heads")
# %% tags=["hide-input"] mystnb={"figure": {"caption": "ROC-AUC over the course of denoising, by the resolution of the maps.", "name": "fig-time"}, "image": {"alt": "Lines of ROC-AUC over time steps for three resolutions."}}
_ = s.save(chapter.time_figure(scored), "03_over_time")

# %% [markdown]
# ## What reading costs
#
# The fused kernel makes the picture, bit for bit as without us; the maps are computed beside it from the
# queries and keys it has just made, for the rows with the text only. Sums over time are kept, so memory does
# not grow with steps. Measured on a UNet of Stable Diffusion 1.5's size with random weights, in turn with
# daam's own trace, by `cirp cost attention` ({numref}`tab-recording`):

# %% mystnb={"table": {"caption": "What recording attention costs, beside daam's own trace.", "name": "tab-recording"}}
chapter.cost_table()

# %% [markdown]
# ## Exercises
#
# 1. Score the maps of {numref}`fig-record` against the true region by ROC-AUC. Do words or padding find it?
# 2. A cell's attention sums to one over all tokens. What happens to the map of every word when the prompt gets longer?
#
# :::{dropdown} Answer to the second
# Each cell has the same attention to give to more tokens, so maps get darker on average, although nothing else has
# changed. Compare a map with others of the same prompt, or by where it is bright.
# :::

# %% tags=["hide-cell"]
from sklearn.metrics import roc_auc_score

truth = item.mask()
found = {name: rec.word_map(name) for name in (rec.words()[-1], "end", "padding")}
pd.Series(
    {name: roc_auc_score(truth.ravel(), heat.ravel()) for name, heat in found.items()} if truth is not None else {},
    name="ROC-AUC", dtype=float,
).to_frame().round(3)

# %% [markdown]
# ## What this does not show
#
# That attention *causes* the change. A map may look at the right place and the picture change
# elsewhere all the same. Causes need interventions: swapping the map for the truth, or for its own
# mean. They are the next part of this book.
