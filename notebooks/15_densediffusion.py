# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # DenseDiffusion
#
# **Push scores up where a phrase belongs and down where it does not, by as much as the row allows.**
#
# With $s = QK^\top/\sqrt d$, a layout's segments $R$, and $S$ one minus a segment's share of the area
# {cite}`kim2023densediffusion`:
#
# $$ s \leftarrow s + R\,S\,w\,\xi\,(\max_k s - s) - (1-R)\,S\,w\,\xi\,(s - \min_k s), \qquad \xi = (t/1000)^5 $$
#
# in the first 30 % of the steps, for cross-attention ($w = 1$) and self-attention ($w = 0.3$). It was made to
# lay out a picture from nothing. Here the layout has one segment, the region of the edit's words, and the rest.
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

# %% tags=["hide-input"] mystnb={"figure": {"caption": "DenseDiffusion on two of the report's edits: where it gained most on the baseline and where it lost most. Lines are regions: the true one on the input, the one it worked with on its output. Maps are the edit words' attention, of the baseline and under the method.", "name": "fig-densediffusion"}, "image": {"alt": "Two rows: input, baseline and its attention, the method and its attention, exact answer."}}
_ = figures.save(methods.portrait(s, "DenseDiffusion", table), "15_densediffusion", profile=profile)
# %% [markdown]
# ## Where it fails
#
# The recorded full run, by kind of edit: success, excess outside change, and the overlap of its region with the
# true one; then the same when it is told the true region.

# %%
methods.by_kind(table, told, ["DenseDiffusion"])

# %% [markdown]
# ## As it is built here
#
# Brought to InstructPix2Pix, in the text branch only. The paper's phrase embeddings are left out. It has no
# means to keep what lies outside: it is compared because the report cites it.
