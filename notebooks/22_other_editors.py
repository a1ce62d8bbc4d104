# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Other editors
#
# Few people edit with InstructPix2Pix today. What changes for a reader of attention, and which methods of this book run on
# the editors that took its place?
#
# %% tags=["parameters", "remove-input"]
profile: str = "quick"
edits: str = "data/edits"
models: str = "miniature"
device: str = "cpu"
seed: int = 0
steps: int = 20

# %% tags=["hide-input"]

import cirp
from cirp import figures
from cirp.chapters import other_editors as chapter
from cirp.experiments import records
from cirp.experiments.study import figures_folder
from cirp.paths import RESULTS

figures.use_style()
chapter.finding()

# %% [markdown]
# Three editors of today run here beside InstructPix2Pix: DreamLite {cite}`dreamlite`, Qwen-Image-Edit {cite}`qwenimage` and
# FLUX.1 Kontext {cite}`kontext`. Their weights are too large for this book's build. So nothing below is measured on them: models
# of their classes, tiny or of full size, have random weights, and show that the code is right and what it costs.
#
# ```python
# models = cirp.load("kontext")  # or "dreamlite", "qwen-image-edit", a folder, a hub name
# text = "make the hat red"
# made = cirp.edit(models, "photo.jpg", text)  # remap
# with cirp.record(models.instruct) as rec:  # the editor as it is
#     cirp.edit(models, "photo.jpg", text, method="ip2p")
# rec.word_map("hat", kind="places")
# ```
#
# ## What they run
#
# All edit by one network with the source beside the noise. What differs is where the source stands, and what is run
# without the text ({numref}`tab-editors`). Remap and Watch Your Steps ask how the prediction changes with the text: where
# guidance runs that row anyway, the question is free.

# %% tags=["hide-input"] mystnb={"table": {"caption": "What each editor runs, as its adapter says. A row is one run of the network on one picture, given these; remap's first step runs so many.", "name": "tab-editors"}}
chapter.editors()

# %% [markdown]
# Methods that change cross-attention word by word, as Prompt-to-Prompt or FoI do, are for InstructPix2Pix alone, and say so.
# Remap's own change, that attention outside of the region writes what it writes without the text, is defined for all four. In
# one softmax it keeps more than text: what the picture's cells write for each other changes with the text, too.
#
# ## One softmax
#
# In DAAM's models a cell attends to words alone, and its row sums to one. In one softmax the row holds words, the picture
# and the source ({numref}`fig-one-softmax`). Two maps of a word remain, and they are not the same:
#
# - *share*: how much of its attention each cell gives the word. It is small everywhere; `kind="relative"` divides it by
#   what the cell gives all words.
# - *places*: where in the picture the word's own row looks. It sums to less than one over the picture.
#
# Text that is pooled into one vector reaches every cell without attention, and shows in neither.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The attention of one layer of FLUX.1 Kontext at 1024 × 1024, to scale: rows look, columns are looked at. Coloured blocks are what can be read.", "name": "fig-one-softmax"}, "image": {"alt": "A square of nine blocks, three by three: text is a thin strip; picture and source are wide."}}
_ = figures.save(chapter.anatomy(), "22_one_softmax", figures_folder(profile, edits, models, seed))

# %% [markdown]
# DreamLite has cross-attention. Its grid holds the target on the left and the source on the right, so a word has a map
# on both (`kind="source"`).
#
# ## Is it their own edit?
#
# With the same seed, `cirp.edit(..., method="ip2p")` gives the pixels that the editor's own pipeline gives
# ({numref}`tab-same-edit`). What is recorded is the same, too.

# %% mystnb={"table": {"caption": "Largest difference between this package's run and the editor's own pipeline, on tiny random models of three steps.", "name": "tab-same-edit"}}
chapter.equal(cirp.edit, cirp.record)

# %% [markdown]
# Maps are compared with those of attention-map-diffusers {cite}`attentionmapdiffusers` in its version 1.0.0, layer by
# layer, step by step and head by head ({numref}`tab-peer-maps`). It does not know Qwen-Image, records FLUX's double blocks
# alone, and counts Kontext's source to the picture; each is a test.

# %% mystnb={"table": {"caption": "Largest difference from the peer's maps, on tiny random models.", "name": "tab-peer-maps"}}
chapter.peers()

# %% [markdown]
# ## What recording costs
#
# At 1024 × 1024 pixels recording needs one more softmax a layer, a part of its rows at a time, so that memory stays small
# ({numref}`tab-editors-cost`; `cirp cost editors`, on one thread of a CPU).

# %% tags=["hide-input"] mystnb={"table": {"caption": "Time and memory of recording at full size, with random weights, which neither depends on: DreamLite's UNet (its class's defaults, 64 heads) on the three rows of one edit, and one double block of Kontext on 8,704 tokens.", "name": "tab-editors-cost"}}
chapter.cost(records.read(RESULTS / "editors_cost.csv"))

# %% [markdown]
# ## Exercises
#
# 1. Record a tiny Kontext (`cirp.experiments.tiny_editors`) and sum `rec.token_maps()` over tokens. Why is it not one?
# 2. Which of the nine blocks would have to change for Prompt-to-Prompt's replacement of a word?

# %% tags=["hide-cell"]
models_, _ = chapter.small()["FLUX.1 Kontext"]
with cirp.record(models_.instruct) as rec:
    cirp.edit(models_, chapter.picture(), chapter.SAID, method="ip2p", steps=2, quiet=True)
rec.token_maps().sum(axis=0).max()

# %% [markdown]
# ## What this does not show
#
# No trained editor was run here. Whether remap wins on one of them is not known; the constants that it was given on the
# miniature may be wrong for it. Own pictures and `cirp score` say ({doc}`21_any_editor`). DreamLite's card warns of blocks in
# its pictures with transformers 5, which this book uses; whether that is so was not tried.
