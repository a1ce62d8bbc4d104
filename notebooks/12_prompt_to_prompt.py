# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Prompt-to-Prompt
#
# **Whoever paints the same attention paints the same layout: take the source's maps, change only the words.**
#
# Two captions, one of the source and one of the target, are denoised side by side {cite}`hertz2023prompttoprompt`.
# While $t$ is in the first share of the steps, the target's cross-attention to a word that both captions
# share is replaced by the source's, and so is its self-attention below full resolution:
#
# $$ A^{target}_{:,j} \leftarrow A^{source}_{:,\,\mathrm{align}(j)} , \qquad x \leftarrow x^{source} + m\,(x - x^{source}) $$
#
# with $m$ the union of both captions' maps of the words that differ, binarised (local blend). A real image has
# no source latents, so they are found by running DDIM {cite}`song2021ddim` backwards. Plain inversion is not
# exact; here each backward step is iterated to a fixed point, and the source is put back on its own path
# after each step {cite}`ju2024pnpinversion`.
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

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Prompt-to-Prompt on two of the report's edits: where it gained most on the baseline and where it lost most. Lines are regions: the true one on the input, the one it worked with on its output. Maps are the edit words' attention, of the baseline and under the method.", "name": "fig-prompt-to-prompt"}, "image": {"alt": "Two rows: input, baseline and its attention, the method and its attention, exact answer."}}
_ = figures.save(methods.portrait(s, "Prompt-to-Prompt", table), "12_prompt_to_prompt", profile=profile)
# %% [markdown]
# ## Where it fails
#
# The recorded full run, by kind of edit: success, excess outside change, and the overlap of its region with the
# true one; then the same when it is told the true region.

# %%
methods.by_kind(table, told, ["Prompt-to-Prompt"])

# %% [markdown]
# ## How exact is the inversion?
#
# The root mean square error of the latents when the path found backwards is run forwards again, by the
# number of fixed-point iterations. One iteration is plain DDIM inversion.

# %%
methods.inversion_errors(s.models, s.items[:6], iterations=(1, 2, 3, 5), steps=steps)

# %% [markdown]
# ## As it is built here
#
# The text-to-image UNet and captions, so it is not the same model as the baseline. Words are aligned one by
# one if the captions have equally many, else by their longest common runs; rows are not renormalised, as in
# the authors' code. The blend's threshold is higher than the paper's 0.3: the miniature's maps are so diffuse
# that 0.3 takes the whole picture.
