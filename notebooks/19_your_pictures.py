# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your pictures
#
# What do InstructPix2Pix and remap make of pictures of your own? A picture and an instruction are enough: what else is
# known of an edit adds its columns, and what cannot be known is left out, with a line that says why.
#
# *On the ten examples here; three commands show yours:*
#
# ```console
# cirp curate --photos my-photos --out my-edits
# cirp refine --edits my-edits
# make book EDITS=my-edits MODELS=real
# ```
#
# The first takes a folder of pictures, each with its instruction in a text file of the same name or in a `metadata.csv`
# (`file_name,text`); what lacks one is written in `cirp.review("my-edits")`, where regions can be painted, too. The
# second is optional, and needs source captions.
#
# *The answer in numbers: {numref}`tab-answer-19`.*

# %% tags=["parameters", "remove-input"]
profile: str = "quick"
edits: str = "data/edits"
models: str = "miniature"
device: str = "cpu"
seed: int = 0
steps: int = 20
# %% tags=["hide-input"]
from cirp import figures
from cirp.chapters import attention
from cirp.chapters import your_pictures as chapter
from cirp.experiments import real_cost, study

figures.use_style()
s = study.open_study(
    profile=profile, edits=edits, models=models, device=device, seed=seed, steps=steps, usual_steps=20,
)
methods = chapter.methods(s)
table = chapter.scores(s, methods)
answer = chapter.finding(table)
answer

# %% tags=["remove-input"] mystnb={"table": {"caption": "The answer in numbers.", "name": "tab-answer-19"}}
answer.numbers

# %% [markdown]
# ## Numbers
#
# Means over the pictures with 95 % intervals. *Do nothing* and *autoencoder alone* are controls: similarity to the
# input is highest where nothing is edited ({numref}`tab-yours`).

# %% mystnb={"table": {"caption": "Scores of these pictures' edits.", "name": "tab-yours"}}
chapter.numbers(table)

# %% [markdown]
# ## Side by side
#
# At the right: what changed, bright where most did. The line is the region that remap has found by itself
# ({numref}`fig-own-pictures`).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Each picture, what both make of it, and what they change.", "name": "fig-own-pictures"}, "image": {"alt": "Rows of input, outputs and change maps."}}
shown = chapter.pictures(s)[:12]
made = s.made(shown, {name: methods[name] for name in list(methods)[:-2]})
_ = s.save(chapter.side_by_side(shown, made), "19_your_pictures")
chapter.save_first(s, shown, made)
# %% [markdown]
# ## Where the words look
#
# The words that carry the edit, if they are known, otherwise all but function words. Brighter is more attention; within
# a row all maps share one scale ({numref}`fig-own-words`).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "InstructPix2Pix: cross-attention of each word over the edited picture.", "name": "fig-own-words"}, "image": {"alt": "Attention maps of words for four pictures."}}
seen = chapter.watched(s, shown[:4], methods)
titles = [figures.fill(one.prompt, 24) for one in seen]
_ = s.save(attention.word_maps(seen, titles=titles), "19_word_maps")
# %% [markdown]
# ## What real models cost
#
# Arithmetic, not a measurement: rows that the UNet is given (a property of methods and settings), times the operations of
# one row of the real UNet at 512 x 512, over 40 % of what a card can do at most in float32. For ten edits and one seed, at
# the chapters' own steps; `STEPS=20` takes about a seventh of the first line. Weights alone are 10 GB: both pipelines,
# CLIP ViT-L/14 and DINOv2 ({numref}`tab-real-cost`).

# %% mystnb={"table": {"caption": "Minutes for ten edits on common cards, as arithmetic.", "name": "tab-real-cost"}}
real_cost.table().round(0).astype(int)

# %% [markdown]
# ## What this does not show
#
# Whether an edit is good. Without a mask nothing tells wanted from unwanted change, and without labels nobody says
# whether the edit happened: see {doc}`07_what_scores_cannot_tell`.
