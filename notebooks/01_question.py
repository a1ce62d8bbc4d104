# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The question
#
# An editor is told to change one thing. What else does it change, why, and what stops it?
#
# :::{admonition} What was measured
# :class: important
# All numbers on these pages are of the **miniature**: drawn scenes whose right answers are known pixel by pixel, and small
# models of the real classes, trained by this repository. No number is one of the real InstructPix2Pix. The same code
# runs the real models by name (`models="real"`).
# :::
#
# :::{admonition} In this part
# :class: tip
# You will learn to measure over-editing: to tell an edit that happened from one that did not, wanted change from
# unwanted, and a score that means something from one that rewards doing nothing; and to read where words look. Chapters
# 2 to 8 have exercises with answers to open.
# :::
#
# *Needs nothing beyond this repository.*
#
# *The answer in numbers: {numref}`tab-answer-01`.*

# %% tags=["parameters", "remove-input"]
profile: str = "quick"
edits: str = "data/edits"
models: str = "miniature"
device: str = "cpu"
seed: int = 0
steps: int = 150

# %% tags=["hide-input"]
from cirp import figures
from cirp.chapters import question as chapter
from cirp.experiments import results, study
from cirp.figures import tables

figures.use_style()
s = study.open_study(
    profile=profile, edits=edits, models=models, device=device, seed=seed, steps=steps,
    requires=("target caption", "mask",),
)

recorded = chapter.frontiers_table(s)
answer = chapter.finding(recorded)
answer

# %% tags=["remove-input"] mystnb={"table": {"caption": "The answer in numbers.", "name": "tab-answer-01"}}
answer.numbers

# %% tags=["hide-input"] mystnb={"figure": {"caption": "One edit that succeeds and strays. Above: the input with the region that should change, InstructPix2Pix's edit, remap's, and the exact answer. Below: where the words look, and how much each pixel changed; the brightest colour is what the baseline changes most outside of the line.", "name": "fig-one-edit"}, "image": {"alt": "Input, attention, two edits and true target, with maps of change."}}
item = chapter.chosen(s, recorded)
_ = s.save(chapter.over_edited(s.models, item, seed=seed, steps=steps), "01_one_edit")

# %% [markdown]
# {numref}`fig-one-edit` shows one of the book's local edits that both systems get right, in words that the model was
# trained on: the one whose structure outside the region (SSIM) remap keeps best, compared with the baseline. It was
# selected by this rule, not by hand. What is bright outside of the line nobody asked for.
#
# ## The report's comparison
#
# InstructPix2Pix {cite}`brooks2023instructpix2pix` starts from noise and is shown the input beside it, with text
# guidance 7.5 and image guidance 1.5. The *noisy input* starts from the noised input itself, and is prompted with a
# caption of the result. Each system edits every image with the same initial noise; seeds are averaged within an
# image, and the intervals are 95 % bootstrap intervals over images. To the right is better: the judge, a classifier
# that no system has seen, finds what was asked for, no longer what was there, and all the rest of the scene
# ({doc}`02_world` measures how far it can be trusted). Lower is better, too: **excess outside change** is the mean
# change outside the region, beyond what the autoencoder alone does to a picture ({numref}`fig-main`,
# {numref}`tab-main`).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What was asked for against what was not. Doing nothing is perfectly faithful and useless; a real method must lie to the right and below the dashed line of mere blending.", "name": "fig-main"}, "image": {"alt": "Scatter of edit success against excess outside change for all methods and controls."}}
table = results.table(s, "main", again=False)
blends = results.table(s, "blends", again=False)
_ = s.save(chapter.main_figure(table, blends), "01_main_result")

# %% mystnb={"table": {"caption": "The report's two systems, and two controls: no edit, and autoencoding only.", "name": "tab-main"}}
shown = ["success", "l1_source_outside_excess", "clip_i_source", "dinov2_source"]
tables.wide(table, shown)

# %% [markdown]
# ## How to read on
#
# **Over-editing.** {doc}`02_world` draws the world and says how good its models are. {doc}`03_attention` reads
# cross-attention: where do the words of an instruction look? {doc}`04_baseline_vs_noisy` sets the two systems side by
# side. {doc}`05_sweeps` turns every dial, {doc}`06_tables` repeats the report's table with controls, intervals and
# tests, and {doc}`07_what_scores_cannot_tell` shows what similarity scores reward. {doc}`08_leak` asks where the habit
# is learnt.
#
# **Remapping.** {doc}`09_methods` has every method side by side, {doc}`10_causes` takes apart what carries an edit
# beyond its place, {doc}`11_remap` builds our own, {doc}`12_frontiers` compares all along their dials, and
# {doc}`13_turns` lets them edit five times in a row.
