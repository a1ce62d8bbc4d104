# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A world with truth
#
# **Over-editing can only be measured where the right answer is known.** For a photograph nobody
# knows exactly which pixels "make the dog happy" should change. So we draw a world in which every
# edit has an exact answer: the target picture, and the region in which it differs from the source.
# On this world we train small models of exactly the classes that the real systems use.
#
# Can success be measured so that nobody games it? *The answer in numbers: {numref}`tab-answer-02`.*

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
from cirp.chapters import controls as checks
from cirp.chapters import world
from cirp.experiments import controls, results, study

figures.use_style()
s = study.open_study(
    profile=profile, edits=edits, models=models, device=device, seed=seed, steps=steps,
    usual_steps=steps,
    needs=("bars", "controls"),
)  # fmt: skip

checked = results.table(s, "controls")
rates = controls.rates(controls.without_valid_answers(checked))
answer = checks.finding(checked)
answer

# %% tags=["remove-input"] mystnb={"table": {"caption": "The answer in numbers.", "name": "tab-answer-02"}}
answer.numbers

# %% [markdown]
# ## Things
#
# Each thing is a function of its parameters and of a seed for its natural variation: pose,
# proportions, hue. Some have *states* that an edit can change while everything else stays: a donut's
# topping, a burger's dip, a dog's expression, a car's colour ({numref}`fig-kinds`).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The kinds of thing that the pairs are made of. They are vector drawings; the models see them at 64 x 64 pixels.", "name": "fig-kinds"}, "image": {"alt": "A sheet of drawn fruit, animals, faces, vehicles, toys and more."}}
_ = s.save(world.kinds(), "02_kinds")
# %% [markdown]
# ## Places and styles
#
# Where scenes stand, and how they are drawn ({numref}`fig-settings`).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The settings, textured so that an unwanted change shows, and the whole-picture styles.", "name": "fig-settings"}, "image": {"alt": "Ten settings and six styles of one scene."}}
_ = s.save(world.settings_and_styles(), "02_settings_and_styles")
# %% [markdown]
# ## Eight kinds of edit
#
# Scene, captions and instruction come from the same values, so text and picture cannot disagree.
# The mask is where the two drawings differ by more than 8 of 255 ({numref}`fig-edits`).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "One edit of each kind from the test split: source, target, and the exact region that should change.", "name": "fig-edits"}, "image": {"alt": "Eight rows of source, target and mask with their instructions."}}
_ = s.save(world.edit_kinds(), "02_edit_kinds")
# %% [markdown]
# ## Leak: pairs that over-edit
#
# The real InstructPix2Pix was trained on pairs made by Prompt-to-Prompt
# {cite}`hertz2023prompttoprompt`, in which more than the instruction's object changes. Here that flaw
# is a dial, `leak`: the share of training pairs in which the setting is drawn anew, a neighbour is
# shifted or recoloured, or the light changes. Evaluation pairs never leak ({numref}`fig-leak`).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The same four training edits without and with a leak.", "name": "fig-leak"}, "image": {"alt": "Source, clean target and leaking target of four edits."}}
_ = s.save(world.leaks(), "02_leaks")
# %% [markdown]
# ## The 50 edits of this book
#
# Ten stand in for the report's own, and five are drawn of each kind ({numref}`tab-edits`).

# %% mystnb={"table": {"caption": "The 50 edits of this book by kind.", "name": "tab-edits"}}
counts = pd.Series([item.record.edit_type for item in s.everything]).value_counts()
counts.rename_axis("kind of edit").to_frame("edits")

# %% [markdown]
# ## The models, and how good they are
#
# Six small models of the real classes, trained on the training split alone. A *bar* is what we wanted of each; what
# was reached is beside it, with its 95 % interval over held-out test edits. A bar counts as *reached* or *missed*
# only if the whole interval says so. The judge alone has seen every combination of thing and setting, on scenes of
# its own: a measuring instrument that had learnt what is never found where would miss it in just the pictures it has
# to judge ({numref}`tab-bars`).

# %% mystnb={"table": {"caption": "What was wanted of each model and what it reaches, with 95 % intervals over held-out test edits.", "name": "tab-bars"}}
bars = results.known("bars")
world.bars(bars)

# %% [markdown]
# ## Success that nobody can game
#
# An edit succeeds if the judge sees what was gained, no longer sees what was lost, still sees everything else of the
# scene, and sees neither damage nor anything that nobody asked for; and if the picture is nearer to one of up to 32
# right answers than the source is: on average, in four fifths of the pixels that clearly have to change, and in half
# of these by half of the way at least. (On the mean alone half an answer, drawn well, passed one time in ten, and a
# blurred face passed as another expression one time in thirty.) How often would that be said of pictures that are no
# edit at all? The true region filled with noise, grey, its border's colour, or a blur of itself; the upper half of the
# right answer alone; another edit's answer; the source through the autoencoder. A fill counts where it is a
# counterfeit: clearly unlike the nearest right answer in a fifth of what has to change ({numref}`tab-controls`,
# {numref}`fig-controls`):

# %% mystnb={"table": {"caption": "How often each picture passes as a success, in per cent: the source and what is no edit, then right answers.", "name": "tab-controls"}}
checks.table(rates)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How often pictures that are no edit pass, by kind of edit, with 95 % intervals. The dashed line is the most that was wanted.", "name": "fig-controls"}, "image": {"alt": "A panel for each control; dots with intervals, a row a kind of edit."}}
_ = s.save(checks.figure(rates), "02_controls")

# %% [markdown]
# One right answer is not enough where an instruction leaves something open: "add a car" does not say which. How far an
# edit is from the nearest of so many right answers (mean absolute difference of a pixel, 0 to 1, inside of what they
# change), by kind, over the first validation edits ({numref}`tab-answers`):

# %% mystnb={"table": {"caption": "Mean distance to the nearest of so many right answers, by kind of edit.", "name": "tab-answers"}}
world.nearest_by_count(36 if profile == "full" else 16).round(4)

# %% [markdown]
# Two independent witnesses, the judge and that distance, on the baseline's local test edits
# ({numref}`tab-witnesses`):

# %% mystnb={"table": {"caption": "Local test edits of the baseline by what the judge says and by whether they are nearer to a right answer than the source.", "name": "tab-witnesses"}}
world.verdicts(results.known("frontiers"))

# %% [markdown]
# ## What it makes of edits it has never seen
#
# The first validation edits, in the order they are drawn in: source, what InstructPix2Pix makes of it at its own
# best scales (text 2.5, image 1.5), and the exact answer ({numref}`fig-grid`). {doc}`24_training` says how it was trained.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The first validation edits: source, InstructPix2Pix, exact answer.", "name": "fig-grid"}, "image": {"alt": "Triples of pictures."}}
_ = s.save(world.first_edits(24 if profile == "full" else 12), "02_first_edits")
# %% [markdown]
# ## Exercises
#
# 1. Of which kind of edit does most of the picture have to change? Guess before you open the answer.
# 2. One judge says yes to every picture, another no. Which rows of {numref}`tab-controls` would show each of them up?
#
# :::{dropdown} Answer to the second
# The first passes what is no edit: every row of fills. The second fails what is right: the true targets. A measure needs
# controls of both kinds.
# :::

# %% tags=["hide-cell"]
masks = [(item.record.edit_type, item.mask().mean()) for item in s.everything if item.mask() is not None]
pd.DataFrame(masks, columns=["kind of edit", "share of the picture"]).groupby("kind of edit").mean().round(3)

# %% [markdown]
# ## What this does not show
#
# Drawings are not photographs. The miniature has a few dozen nouns, one to three things in a picture, and no occlusion
# worth the name. What is true of its attention need not be true of a model a hundred times larger; what it offers is
# truth to measure against. Instructions worded as in no training pair succeed less often (the bars): it has learnt
# wordings more than language.
