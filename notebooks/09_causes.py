# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Why it over-edits
#
# **Where the words look hardly goes with unwanted change; how much the text changes the prediction outside the
# region does. Take that away, and the change goes while the edit stays.**
#
# *Runs in a minute or two.*

# %% tags=["parameters", "hide-input"]
profile: str = "quick"
edits: str = "data/edits"
models: str = "miniature"
device: str = "cpu"
seed: int = 0
steps: int = 20
# %% tags=["hide-input"]
from cirp import figures
from cirp.chapters import causes as chapter
from cirp.chapters import world
from cirp.experiments import configurations, gates, records, study
from cirp.figures import tables
from cirp.statistics.bootstrap import PRIMARY

figures.use_style()
s = study.open_study(
    profile=profile, edits=edits, models=models, device=device, seed=seed, steps=steps,
    usual_steps=20,
    needs=("benchmark", "sweeps", "steps", "traces"),
)
table = records.required("benchmark")

# %% [markdown]
# ## What goes with it
#
# For every local edit of the 500 held-out ones: how much of the edit words' attention, and how much of the
# change that the text makes to the prediction, $|e(I,T) - e(I,0)|$, lies outside the region that should change.
# Rank correlations with the excess outside change of the baseline, over images; *area given* has the size of
# the outside partialled out. Shares say little, and what they say is mostly the size of the region: a new
# setting leaves little outside. The amount per cell is what counts.

# %%
seen = gates.held_out(s, steps)
gates.correlations(seen, table).set_index("trace").round(3)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Each dot is a local edit: what the text changes in the prediction outside the region, as a share of all it changes and per cell, against the change found outside. Lines are means of tenths of the edits.", "name": "fig-causes"}, "image": {"alt": "Two scatter plots of traces against excess outside change."}}
_ = figures.save(chapter.scatter(seen, table), "09_causes", profile=profile)
# %% [markdown]
# ## What happens if it is taken away
#
# A correlation is not a cause. So the same guidance is run again with the text's part gated: by the
# true region, by the map the words give, and by a constant as large as that map's mean, which is the
# same dose without a place. If *where* matters, the constant must not do what the map does.

# %%
labels = {
    configurations.BASELINE: "not gated",
    "ASG, each map its own mean": "by a constant of the same dose",
    "ASG": "by the words' map",
    "remap (ours)": "by the region remap finds",
    "remap (ours), true mask": "by the true region",
    configurations.TRUTH: "not gated, but latents kept outside the true region",
}
gates.interventions(table, labels).set_index("text guidance")

# %% [markdown]
# ## Guidance scales and steps
#
# The chapter on sweeps turns them; here is the end of that thread: outside change rises with the text
# scale and falls with the image scale, and success goes with it. More steps add a little outside.

# %%
sweep = records.required("sweeps")
dials = sweep[sweep["method"].str.startswith("baseline")]
tables.wide(dials, ["success", PRIMARY])

# %%
counts = records.required("steps")
tables.wide(counts[~counts["method"].str.startswith(configurations.OURS)], ["success", PRIMARY])

# %% [markdown]
# ## What it was trained on
#
# Pairs in which something else changes too teach over-editing. The same model, fine-tuned on with pairs of
# which none, half or all leak. With the shipped weights this says little: two in five of their leaking
# targets were drawn of another scene (see the warning in the chapter on the world):

# %%
world.leak_table(records.required("bars", "cirp miniature quality"))

# %% [markdown]
# ## What this does not show
#
# One seed an edit, one small model. The levels of `leak` were trained for a few minutes each from the shipped
# weights, so they show a direction, not how far it goes. Attention outside the region goes with the change less
# than guidance does; that does not clear it, since guidance is made from what attention writes.
