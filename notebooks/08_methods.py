# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Every method side by side
#
# **One model, the same images, the same noise, the same attention interface: what each way of keeping
# an edit local does, with the region it finds by itself and with the true one.**
#
# The methods are re-implementations on one interface, on the *miniature*; none of these numbers is a
# number of the papers. Each runs from the instruction's words alone. Told the true region (hollow
# points), what remains is the error of editing, not of finding. FoI {cite}`guo2024foi` never released
# its code, and our version fills the gaps by its own choices.
#
# | method | where the region comes from | what is done with it |
# |---|---|---|
# | Prompt-to-Prompt {cite}`hertz2023prompttoprompt` | words' attention in source and target | source's attention is kept; latents blended |
# | FoI {cite}`guo2024foi` | words' attention, sharpened | scores raised inside, attention without instruction outside, guidance inside only |
# | LIME {cite}`simsar2025lime` | clusters of features under the attention | unrelated tokens lose their attention inside |
# | DenseDiffusion {cite}`kim2023densediffusion` | words' attention, binarised | scores of words raised inside, lowered outside |
# | attention refocusing {cite}`phung2024refocusing` | words' attention, binarised | gradient steps on the latents |
# | ASG {cite}`asg2026` | words' attention, soft | both guidance scales follow it |
# | LEDITS++ {cite}`brack2024ledits` | attention and guidance, both large | guidance inside only |
# | LOCATEdit {cite}`soni2025locatedit` | attention smoothed along self-attention | latents blended |
# | ZONE {cite}`li2024zone` | end of text against begin of text | pixels pasted |
# | Watch Your Steps {cite}`mirzaei2023wys` | change of the prediction with the text | latents blended, pixels pasted |
# | DiffEdit {cite}`couairon2023diffedit` | change of the prediction with the caption | inverted latents kept outside |
# | remap (ours) | what the text changes in the noised source, and what attention writes; Otsu's threshold {cite}`otsu1979` | attention, guidance, latents, pixels |
#
# *Runs in a few minutes; the full run's tables are recorded, and a slice is computed again here.*

# %% tags=["parameters", "hide-input"]
profile: str = "quick"
edits: str = "data/edits"
models: str = "miniature"
device: str = "cpu"
seed: int = 0
steps: int = 20
# %% tags=["hide-input"]
import pandas as pd

from cirp import figures
from cirp.chapters import methods
from cirp.experiments import configurations, records, study
from cirp.figures import tables
from cirp.statistics.bootstrap import PRIMARY

figures.use_style()
s = study.open_study(
    profile=profile, edits=edits, models=models, device=device, seed=seed, steps=steps,
    usual_steps=20,
    needs=("search",),
)
found = {**configurations.found(steps), **configurations.controls(steps)}
table = s.table("methods", found, seeds=s.seeds[:1])
told = s.table("methods_told", configurations.told(steps), seeds=s.seeds[:1])
still = table[table["method"].isin(configurations.controls(steps))]
table = table[~table["method"].isin(configurations.controls(steps))]

# %% [markdown]
# ## Success against what nobody asked for
#
# The lower right corner is the goal: the edit happens and nothing else does. The star is the yardstick
# that is told where: latent blending with the true mask {cite}`avrahami2023blended`. A method left of
# the baseline pays for its quiet with edits that do not happen.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Edit success against excess outside change for every method; bars are 95 % intervals over images. Hollow points are the same methods told the true region.", "name": "fig-plane"}, "image": {"alt": "Scatter of all methods: success against outside change, with and without the true mask."}}
_ = figures.save(methods.plane(table, told, still), "08_plane", profile=profile)
# %% [markdown]
# ## The same in numbers
#
# Differences are against the baseline, paired by image, with BCa intervals. *Closed* is the share of
# the way from the baseline's outside change to the yardstick's.

# %%
methods.standing(table, told).set_index("method").round(3)

# %% [markdown]
# ## Where each thinks the edit belongs
#
# Lines are the regions the methods worked with; in the first column, the true one.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The report's edits by every method. The line is the region each method worked with; where there is none it worked with the whole image, or with no region at all.", "name": "fig-gallery"}, "image": {"alt": "Ten rows of edits, one column for each method."}}
examples = [item for item in s.items if item.record.example] or s.items[:10]
shown = s.made(examples, configurations.found(steps))
_ = figures.save(methods.gallery(examples, shown), "08_gallery", profile=profile)
# %% [markdown]
# ## All metrics

# %%
columns = ["success", PRIMARY, "l1_source_outside_excess_if_success", "ssim_source_outside",
           "l1_target_inside", "clip_i_source", "clip_i_target", "dinov2_source", "clip_t",
           "clip_direction"]  # fmt: skip
tables.wide(pd.concat([table, still]), columns)

# %% [markdown]
# ## Told the true region

# %%
tables.wide(told, columns[:5])

# %% [markdown]
# ## How the settings were chosen
#
# Whoever searches longer for one method than for another can make it win. So each got the same budget:
# six candidates, the first of them its paper's own settings (one level of resolution finer, since the
# miniature's latents are small), on validation edits that are not among these 50. *Utility* is success
# over the baseline's, minus outside change over the baseline's. `cirp search` repeats it.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Six settings of each method on validation edits; the chosen one is filled, the cross is the baseline.", "name": "fig-swept"}, "image": {"alt": "Thirteen panels of success against outside change, one for each method, six points in each."}}
tried = records.required("search")
_ = figures.save(methods.swept(tried), "08_swept", profile=profile)
# %% tags=["hide-output"]
tried.set_index("method").round(3)

# %% [markdown]
# ## What this does not show
#
# Real models. Six candidates and two dozen edits are a small search, and the rule that chooses is ours:
# another weight between success and quiet would choose otherwise. One seed an image.
