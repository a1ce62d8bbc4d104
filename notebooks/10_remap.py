# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Remap
#
# **Attention knows what is meant, guidance knows what the instruction does, a quick edit knows where it
# ends up. Each over-reaches elsewhere, so our region is what all three agree on.**
#
# One quick pass of the baseline gives three maps: the edit words' cross-attention $a$, the text's change
# to the prediction $g = |e(I,T) - e(I,0)|$, and what the quick edit really changed, $d = |z - z_{source}|$.
# Stretched to 0..1, multiplied, and carried along self-attention $S$, so that an object is taken or left
# as a whole:
#
# $$ m = S\, (a^{\alpha} \cdot g^{\beta} \cdot d^{\gamma}), \qquad R = [\, m \ge \mathrm{Otsu}(m)\, ] $$
#
# Otsu's threshold {cite}`otsu1979` parts the map's values into two groups, so that none has to be chosen
# per image. Then the edit runs again. In cross-attention the text branch attends, outside $R$, as the
# branch without instruction does; text guidance acts inside $R$ only; latents outside are the noised
# source's. There is no mask, no other model and no training.
#
# *Runs in a minute.*

# %% tags=["parameters", "hide-input"]
profile: str = "quick"
edits: str = "data/edits"
models: str = "miniature"
device: str = "cpu"
seed: int = 0
steps: int = 20
# %% tags=["hide-input"]
from cirp import comparison, contenders, figures, plates, study
from cirp.statistics import PRIMARY

figures.use_style()
s = study.begin(profile=profile, edits=edits, models=models, device=device, seed=seed, steps=steps)
ours = contenders.found(steps)[contenders.OURS]

# %% [markdown]
# ## The idea in a picture

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The report's edits: the true region (white line), a quick edit, the three maps, what they agree on, and the region found.", "name": "fig-evidence"}, "image": {"alt": "Rows of edits with attention, guidance and change maps and the region that follows."}}
examples = [item for item in s.items if item.record.example] or s.items[:10]
fig = comparison.evidence(s.models, examples[:6], seed=seed, settings=ours[1])
_ = figures.save(fig, "10_evidence", profile=profile)
# %% [markdown]
# ## What each part is worth
#
# The log of what was tried, one part changed at a time: edit success, excess outside change, and how
# well the region found overlaps with the true one.

# %%
tried = s.table("remap_ideas", contenders.ideas(steps), seeds=s.seeds[:1])
plates.wide(tried, ["success", PRIMARY, "l1_target_inside", "region_iou"])

# %% [markdown]
# ## Where it fails
#
# By kind of edit. The words of *add* name what is not there yet, so attention has nothing to hold on to
# in the source; and for a new setting the region is everything but the objects.

# %%
mine = tried[tried["method"] == "remap as it is"]
mine.groupby("edit_type")[["success", PRIMARY, "region_iou"]].mean().round(3)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The edits whose regions were found worst: input with the true region, baseline, remap with its region, exact answer.", "name": "fig-remap-failures"}, "image": {"alt": "Rows of failures of remap."}}
worst = comparison.worst(s.items, mine, count=5)
shown = s.made(worst, {n: contenders.found(steps)[n] for n in (contenders.BASELINE, contenders.OURS)})
_ = figures.save(comparison.gallery(worst, shown), "10_failures", profile=profile)
# %% [markdown]
# ## What this does not show
#
# Whether it carries over to real models, where attention is sharper and quick edits are worse. The parts
# were chosen by hand on the miniature's validation edits.
