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
# **An editor is told to change one thing and changes others too.** InstructPix2Pix
# {cite}`brooks2023instructpix2pix` turns a picture and an instruction into an edited picture. Ask it
# for chocolate on a donut, and the table under the donut may change as well. This book asks why, and
# whether starting from the *noised* input instead ("noisy input") is a cure or only a milder dose.
#
# :::{admonition} What the numbers are numbers of
# :class: important
# Everything on these pages is measured on the **miniature**: a world of drawn scenes with exact
# truth, and small models of the real classes, trained by this repository. No number here is a number
# of the real InstructPix2Pix. The same code takes the real models by name (`models="real"`).
# :::
#
# *Runs in about a minute on two cores; needs nothing beyond this repository.*

# %% tags=["parameters", "hide-input"]
profile: str = "quick"
edits: str = "data/edits"
models: str = "miniature"
device: str = "cpu"
seed: int = 0
steps: int = 150
# %% tags=["hide-input"]
from cirp import figures
from cirp.chapters import question as chapter
from cirp.experiments import report, study
from cirp.figures import tables

figures.use_style()
s = study.open_study(
    profile=profile, edits=edits, models=models, device=device, seed=seed, steps=steps,
    asks=("target caption", "mask",),
)

# %% [markdown]
# ## One edit, looked at closely
#
# The instruction: *change donut topping to chocolate*. The white line is the exact region in which the true target differs from
# the input. What is bright outside of it in the lower row was asked for by nobody.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "One edit. Above: the input, the two systems, and the exact answer. Below: how much each pixel changed, with the region that should change outlined.", "name": "fig-one-edit"}, "image": {"alt": "Input, InstructPix2Pix edit, noisy-input edit and true target, with maps of change."}}
item = s.items[:2][-1]
made = {name: edits[0] for name, edits in s.made([item]).items()}
_ = figures.save(chapter.close_up(item, made), "01_one_edit", profile=profile)
# %% [markdown]
# ## The main result
#
# Each system edits every image with the same initial noise; five seeds are averaged within an image,
# and the intervals are 95 % bootstrap intervals over images. To the right is better: the judge, a
# classifier that no system has seen, finds what was asked for and no longer what was there
# (how far the judge itself can be trusted is measured in {doc}`02_world`). Lower is
# better, too: **excess outside change** is the mean change outside the region, beyond what the
# autoencoder alone does to a picture.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What was asked for against what was not. Doing nothing is perfectly faithful and useless; a real method must lie to the right and below the dashed line of mere blending.", "name": "fig-main"}, "image": {"alt": "Scatter of edit success against excess outside change for all methods and controls."}}
table = s.table("main", report.main_methods(steps))
blends = s.blends((0.0, 0.25, 0.5, 0.75))
_ = figures.save(chapter.main_figure(table, blends), "01_main_result", profile=profile)
# %%
shown = ["success", "l1_source_outside_excess", "clip_i_source", "dinov2_source"]
tables.wide(table, shown)

# %% [markdown]
# ## How to read on
#
# - {doc}`02_world` draws the world, its edits and its exact masks, and says how good the models are.
# - {doc}`03_attention` reads cross-attention: where do the words of an instruction look?
# - {doc}`04_baseline_vs_noisy` sets the two systems side by side, and asks what "image 0.4-0.55"
#   meant.
# - {doc}`05_sweeps` turns every dial.
# - {doc}`06_tables` repeats the report's table, with controls, intervals and tests.
# - {doc}`07_what_scores_cannot_tell` shows what similarity scores reward.
