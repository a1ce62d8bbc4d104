# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Attention-scoped guidance
#
# **Leave attention and latents alone; let both guidance scales vary over the picture.**
#
# The words' map of the first steps becomes $M = \sigma(10\,(a - 0.5))$, and then {cite}`asg2026`
#
# $$ e = e(0,0) + G_I\,[e(I,0) - e(0,0)] + G_T\,[e(I,T) - e(I,0)] $$
#
# $$ G_T = g_{lo} + (s_T - g_{lo})\,M, \qquad G_I = s_I + (g_{hi} - s_I)\,(1 - M) $$
#
# It needs no second pass and replaces no latents. If the map's peak is less than 1.5 times its mean, the method
# abstains and the baseline runs. The chapter on causes replaces each map by its own mean: the same dose without
# a place.
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

# %% tags=["hide-input"] mystnb={"figure": {"caption": "ASG on two of the report's edits: where it gained most on the baseline and where it lost most. Lines are regions: the true one on the input, the one it worked with on its output. Maps are the edit words' attention, of the baseline and under the method.", "name": "fig-asg"}, "image": {"alt": "Two rows: input, baseline and its attention, the method and its attention, exact answer."}}
_ = figures.save(methods.portrait(s, "ASG", table), "17_asg", profile=profile)
# %% [markdown]
# ## Where it fails
#
# The recorded full run, by kind of edit: success, excess outside change, and the overlap of its region with the
# true one; then the same when it is told the true region.

# %%
methods.by_kind(table, told, ["ASG"])

# %% [markdown]
# ## As it is built here
#
# From a description of the paper, not from its text. The description prints $M$ in both scales; with
# `hold="inside"` it is taken at its word.
