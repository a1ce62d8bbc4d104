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
# **Attention outside the region and text guidance outside the region go together with unwanted change.
# To learn which of them makes it, each is taken away.**
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
import pandas as pd

from cirp import causes, comparison, contenders, figures, plates, study
from cirp.statistics import PRIMARY

figures.use_style()
s = study.begin(profile=profile, edits=edits, models=models, device=device, seed=seed, steps=steps)
found = {**contenders.found(steps), **contenders.controls(steps)}
table = s.table("methods", found, seeds=s.seeds[:1])
told = s.table("methods_told", contenders.told(steps), seeds=s.seeds[:1])

# %% [markdown]
# ## What goes with it
#
# For every local edit: how much of the edit words' attention, and how much of the change that the text
# makes to the prediction, $|e(I,T) - e(I,0)|$, lies outside the region that should change. Rank
# correlations with the excess outside change of the baseline, over images; *area given* has the size of
# the outside partialled out.

# %%
seen = causes.traces(s.models, s.everything, seed=seed, steps=steps)
causes.correlations(seen, table).set_index("trace").round(3)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Each local edit: the share of the text's change to the prediction that falls outside the region, against the change found there.", "name": "fig-causes"}, "image": {"alt": "Two scatter plots of traces against excess outside change."}}
_ = figures.save(comparison.scatter(seen, table), "09_causes", profile=profile)
# %% [markdown]
# ## What happens if it is taken away
#
# A correlation is not a cause. So the same guidance is run again with the text's part gated: by the
# true region, by the map the words give, and by a constant as large as that map's mean, which is the
# same dose without a place. If *where* matters, the constant must not do what the map does.

# %%
gates = {
    contenders.BASELINE: "not gated",
    "ASG, each map its own mean": "gated by a constant of the same dose",
    "ASG": "gated by the words' map",
    "ASG, true mask": "gated by the true region",
    contenders.TRUTH: "latents kept outside the true region",
}
both = pd.concat([table, told], ignore_index=True)
both = both[both["method"].isin(gates)]
order = {name: n for n, name in enumerate(gates)}
both = both.sort_values("method", key=lambda names: names.map(order))
plates.wide(both.assign(method=both["method"].map(gates)), ["success", PRIMARY, "ssim_source_outside"])

# %% [markdown]
# ## Guidance scales
#
# The chapter on sweeps turns them; here is the end of that thread: outside change rises with the text
# scale and falls with the image scale, and so does success.

# %%
sweep = s.table("sweeps", study.sweep_methods(), seeds=s.seeds[:1])
dials = sweep[sweep["method"].str.startswith("baseline")]
plates.wide(dials, ["success", PRIMARY])

# %% [markdown]
# ## What this does not show
#
# Fifty images, one seed. The share of leaking training pairs is a cause of another kind; what was
# measured of it stands in the chapter on the world and its models.
