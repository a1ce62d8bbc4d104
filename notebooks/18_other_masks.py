# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Three more masks
#
# **Guidance and attention together; attention smoothed along self-attention; begin against end of text.**
#
# **LEDITS++** {cite}`brack2024ledits` lets guidance act where the words' attention *and* the guidance itself are
# both above their own quantile, anew at each step. **LOCATEdit** {cite}`soni2025locatedit` solves
#
# $$ (W^2 + 0.78\,L)\,m = W^2 m_0, \qquad W = \mathrm{diag}\,\sigma(2.61\,(m_0 - 0.4858)) $$
#
# with $L$ the Laplacian of the graph whose edges are self-attention, so that cells which attend to each other get
# similar values. **ZONE** {cite}`li2024zone` needs no keyword: its region is where end of text is looked at more
# than begin of text.
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

# %% tags=["hide-input"] mystnb={"figure": {"caption": "LEDITS++ mask on two of the report's edits: where it gained most on the baseline and where it lost most. Lines are regions: the true one on the input, the one it worked with on its output. Maps are the edit words' attention, of the baseline and under the method.", "name": "fig-other-masks"}, "image": {"alt": "Two rows: input, baseline and its attention, the method and its attention, exact answer."}}
_ = figures.save(methods.portrait(s, "LEDITS++ mask", table), "18_other_masks", profile=profile)
# %% tags=["hide-input"] mystnb={"figure": {"caption": "LOCATEdit mask on two of the report's edits: where it gained most on the baseline and where it lost most. Lines are regions: the true one on the input, the one it worked with on its output. Maps are the edit words' attention, of the baseline and under the method.", "name": "fig-other-masks-locatedit"}, "image": {"alt": "Two rows: input, baseline and its attention, the method and its attention, exact answer."}}
_ = figures.save(methods.portrait(s, "LOCATEdit mask", table), "18_other_masks_locatedit", profile=profile)
# %% tags=["hide-input"] mystnb={"figure": {"caption": "ZONE mask on two of the report's edits: where it gained most on the baseline and where it lost most. Lines are regions: the true one on the input, the one it worked with on its output. Maps are the edit words' attention, of the baseline and under the method.", "name": "fig-other-masks-zone"}, "image": {"alt": "Two rows: input, baseline and its attention, the method and its attention, exact answer."}}
_ = figures.save(methods.portrait(s, "ZONE mask", table), "18_other_masks_zone", profile=profile)
# %% [markdown]
# ## Where it fails
#
# The recorded full run, by kind of edit: success, excess outside change, and the overlap of its region with the
# true one; then the same when it is told the true region.

# %%
methods.by_kind(table, told, ["LEDITS++ mask", "LOCATEdit mask", "ZONE mask"])

# %% [markdown]
# ## As it is built here
#
# What is compared is each paper's *mask*, on the same InstructPix2Pix. LEDITS++ inverts an image into Stable
# Diffusion, LOCATEdit edits with Prompt-to-Prompt, ZONE cuts its mask out with a segmentation model; none of this
# is here.
