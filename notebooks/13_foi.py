# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Focus on Your Instruction
#
# **Sharpen the keywords' map, then let the instruction act there and nowhere else.**
#
# FoI {cite}`guo2024foi` was published without code, and what is here is **our re-implementation** from its
# abstract and from descriptions by others. Every choice those leave open is a setting. No number on this page
# is a number of FoI.
#
# The keywords' map of the first steps is blurred, then squared and stretched to 0..1 a few times, and
# binarised to $M$. Inside, the keywords' scores are raised towards the row's maximum, fading with the time
# step; outside, the text branch takes the attention of the branch without instruction. Guidance is
# disentangled, so that several instructions each act in their own region:
#
# $$ e = e(0,0) + s_I\,[e(I,0) - e(0,0)] + s_T \sum_i M_i\,[e(I,T_i) - e(I,0)] $$
#
# *Runs in seconds.*

# %% tags=["parameters", "hide-input"]
profile: str = "quick"
edits: str = "data/edits"
models: str = "miniature"
device: str = "cpu"
seed: int = 0
steps: int = 20
# %% tags=["hide-input"]
from cirp import figures
from cirp.chapters import methods
from cirp.chapters import two_instructions as two
from cirp.experiments import records, study

figures.use_style()
s = study.open_study(
    profile=profile, edits=edits, models=models, device=device, seed=seed, steps=steps,
    usual_steps=20,
    needs=("methods", "methods_told"),
)
table = records.required("methods")
told = records.required("methods_told")

# %% [markdown]
# ## What it does
#
# On the miniature; the numbers are in the chapter that lays all methods side by side.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "FoI (re-implementation) on two of the report's edits: where it gained most on the baseline and where it lost most. Lines are regions: the true one on the input, the one it worked with on its output. Maps are the edit words' attention, of the baseline and under the method.", "name": "fig-foi"}, "image": {"alt": "Two rows: input, baseline and its attention, the method and its attention, exact answer."}}
_ = figures.save(methods.portrait(s, "FoI (re-implementation)", table), "13_foi", profile=profile)
# %% [markdown]
# ## Where it fails
#
# The recorded full run, by kind of edit: success, excess outside change, and the overlap of its region with the
# true one; then the same when it is told the true region.

# %%
methods.by_kind(table, told, ["FoI (re-implementation)"])

# %% [markdown]
# ## Several instructions at once
#
# What disentangled guidance is for: each instruction acts in its own region, so that two of them need not
# get into each other's way.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Two instructions in one: the input with both true regions, the baseline, FoI (re-implementation) on each instruction alone and on both, each with the region it found, and the exact answer.", "name": "fig-foi-both"}, "image": {"alt": "Three rows of pictures with two things to change."}}
_ = figures.save(two.sheet(s.models, range(3), seed=seed, steps=steps), "13_foi_both", profile=profile)
# %% [markdown]
# ## As it is built here
#
# Several instructions are written as one, parted by `separator`; each costs one more branch. The number of
# rounds, the blur, the threshold and the fading are guesses.
