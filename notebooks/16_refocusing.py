# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Attention refocusing
#
# **If attention is in the wrong place, move the latents until it is not.**
#
# Before each of the first steps the latents take gradient steps down two losses
# {cite}`phung2024refocusing`, of a word's map $a$ and of self-attention $A$, with region $R$:
#
# $$ L_{CAR} = (1 - \max_{u \in R} a_u) + \max_{u \notin R} a_u , \qquad
#    L_{SAR} = \frac{1}{|R|} \sum_{u \in R} \sum_{v \notin R} A_{uv} $$
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

# %% tags=["hide-input"] mystnb={"figure": {"caption": "attention refocusing on two of the report's edits: where it gained most on the baseline and where it lost most. Lines are regions: the true one on the input, the one it worked with on its output. Maps are the edit words' attention, of the baseline and under the method.", "name": "fig-refocusing"}, "image": {"alt": "Two rows: input, baseline and its attention, the method and its attention, exact answer."}}
_ = figures.save(methods.portrait(s, "attention refocusing", table), "16_refocusing", profile=profile)
# %% [markdown]
# ## Where it fails
#
# The recorded full run, by kind of edit: success, excess outside change, and the overlap of its region with the
# true one; then the same when it is told the true region.

# %%
methods.by_kind(table, told, ["attention refocusing"])

# %% [markdown]
# ## As it is built here
#
# Losses as the paper describes them; the released code sharpens the maps first and counts boxes. Gradients are
# taken through the text branch of InstructPix2Pix. The paper's step sizes hardly move latents as small as the
# miniature's, so larger ones are used.
