# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What the similarity scores cannot tell
#
# CLIP-I and DINOv2 to the input are highest for doing nothing, so a system that edits less looks as if it over-edits
# less. By how much, and what is to be read instead?
#
# *The answer in numbers: {numref}`tab-answer-07`.*

# %% tags=["parameters", "remove-input"]
profile: str = "quick"
edits: str = "data/edits"
models: str = "miniature"
device: str = "cpu"
seed: int = 0
steps: int = 150
# %% tags=["hide-input"]
from cirp import figures
from cirp.chapters import scores as chapter
from cirp.experiments import report, results, study
from cirp.figures import tables
from cirp.statistics.bootstrap import PRIMARY

figures.use_style()
s = study.open_study(
    profile=profile, edits=edits, models=models, device=device, seed=seed, steps=steps,
    prefers=("target caption", "mask",),
)
table = results.table(s, "main", again=False)
blends = results.table(s, "blends")
answer = chapter.cannot_tell_finding(table, blends)
answer

# %% tags=["remove-input"] mystnb={"table": {"caption": "The answer in numbers.", "name": "tab-answer-07"}}
answer.numbers

# %% [markdown]
# ## Fading the edit out improves every similarity
#
# Take one output, and mix its input back in:

# %%
import numpy as np
from PIL import Image

import cirp

item = next((item for item in s.items if item.mask() is not None), s.items[0])
output = cirp.edit(s.models, item.source(), item.record.instruction, method="ip2p", seed=seed, quiet=True).image
encoders = s.features
for share in (0.0, 0.5, 0.75):
    mixed = Image.blend(output, item.source(), share)
    scores = cirp.score(item.source(), mixed, features=encoders)
    print(f"{share:.0%} input: DINOv2 similarity {scores['dinov2']:.3f}")

# %% [markdown]
# The score that this book reads instead is, in four lines, the mean change of the pixels outside of the region that
# should change, less what the autoencoder alone changes there:

# %%
trip = cirp.edit(s.models, item.source(), "-", method="round trip", quiet=True).image
source, edited, trip = (np.asarray(p, float) / 255 for p in (item.source(), output, trip))
outside = np.ones(source.shape[:2], bool) if item.mask() is None else ~item.mask()
change, unavoidable = (np.abs(one - source).mean(axis=-1)[outside].mean() for one in (edited, trip))
print(f"excess outside change: {change - unavoidable:+.4f}")

# %% [markdown]
# (The tables leave out a band of two pixels around the region, too.) The same for all edits: CLIP-I and DINOv2 rise
# steadily with the share of the input, and every edit fades. An improvement of this kind proves nothing about
# over-editing ({numref}`tab-mixtures`, {numref}`fig-fade`).

# %% mystnb={"table": {"caption": "The baseline's outputs mixed with their inputs: similarity rises with every share.", "name": "tab-mixtures"}}
mixed = blends.assign(method=[f"{a:.0%} input" for a in blends["alpha"]])
tables.wide(mixed, ["success", PRIMARY, "clip_i_source", "dinov2_source", "leakage_auc"])

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Similarity to the input against success. The dashed line is mere blending: a method above and to the right of it does more than fade.", "name": "fig-fade"}, "image": {"alt": "CLIP-I against success for methods and the blending control."}}
_ = s.save(chapter.fade_figure(table, blends), "07_fade")
# %% [markdown]
# ## The true answer does not get the best score
#
# The exact target of every edit is known here. Its similarity to the input is what a *perfect* editor
# would get; whoever scores higher has edited too little. Its *edit success* is the measure's own
# ceiling: below 1, the judge misses edits that are there ({numref}`tab-exact`).

# %% mystnb={"table": {"caption": "Scores of the exact answers, and of the inputs as they are.", "name": "tab-exact"}}
chapter.truth_table(s)

# %% [markdown]
# ## Similarity does not know where
#
# Each point is one image edited by the baseline. If CLIP-I to the input measured over-editing, it would
# fall with the change *outside* the region ({numref}`fig-where`, {numref}`tab-where`).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "CLIP-I to the input against change outside and inside the true region, by image.", "name": "fig-where"}, "image": {"alt": "Two scatter plots of CLIP-I against outside and inside change."}}
_ = s.save(chapter.where_figure(table), "07_where")
# %% mystnb={"table": {"caption": "Correlation of similarity with change inside and outside of the region.", "name": "tab-where"}}
chapter.where_table(table)

# %% [markdown]
# ## Exercises
#
# 1. How much of the input has to be mixed back until the baseline is more like the input than the noisy input is, by
#    CLIP-I? And what has become of its edits by then? Write it down before you open the answer.
# 2. A new editor has a CLIP-I of 95 % to its input. What would you ask before you call it faithful?
#
# :::{dropdown} Answer to the second
# Whether it edits at all: what share of its edits succeed, and how doing nothing and mixing with the input score on the same
# pictures.
# :::

# %% tags=["hide-cell"]
mean = blends.groupby("alpha")[["clip_i_source", "success"]].mean()
rival = table.loc[table["method"] == report.NOISY, "clip_i_source"].mean()
mean.assign(above_the_noisy_input=mean["clip_i_source"] > rival).rename(columns=tables.named).round(3)

# %% [markdown]
# ## What to read instead
#
# Success and outside change together, with the controls beside them; the true region rather than the
# whole picture; the autoencoder's own error subtracted; and per image, not on average alone.
#
# ## What this does not show
#
# That CLIP-I and DINOv2 are useless. Against the *target* (`clip_i_target`) they reward the right
# thing, where a target exists.
