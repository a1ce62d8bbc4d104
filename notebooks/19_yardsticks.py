# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Yardsticks
#
# **Regions without attention, and blending: what any attention method has to beat.**
#
# **Watch Your Steps** {cite}`mirzaei2023wys` takes the region from one call: where the instruction changes the
# prediction on the noised source, $|e(I,T) - e(I,0)|$, outliers clipped. **DiffEdit** {cite}`couairon2023diffedit`
# does the same with two captions on the text-to-image model, averaged over ten noises, and keeps the inverted
# latents outside. **Latent blending** {cite}`avrahami2023blended` keeps the noised source outside whatever mask
# it is given:
#
# $$ x_{t-1} \leftarrow m\,x_{t-1} + (1-m)\,\bigl(\sqrt{\bar\alpha_{t-1}}\,z + \sqrt{1-\bar\alpha_{t-1}}\,\epsilon\bigr) $$
#
# The released code of Watch Your Steps noises the source to the level just left, one step too noisy; here it is
# at the level the latents are at.
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

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Watch Your Steps on two of the report's edits: where it gained most on the baseline and where it lost most. Lines are regions: the true one on the input, the one it worked with on its output. Maps are the edit words' attention, of the baseline and under the method.", "name": "fig-yardsticks"}, "image": {"alt": "Two rows: input, baseline and its attention, the method and its attention, exact answer."}}
_ = figures.save(methods.portrait(s, "Watch Your Steps", table), "19_yardsticks", profile=profile)
# %% tags=["hide-input"] mystnb={"figure": {"caption": "DiffEdit on two of the report's edits: where it gained most on the baseline and where it lost most. Lines are regions: the true one on the input, the one it worked with on its output. Maps are the edit words' attention, of the baseline and under the method.", "name": "fig-yardsticks-diffedit"}, "image": {"alt": "Two rows: input, baseline and its attention, the method and its attention, exact answer."}}
_ = figures.save(methods.portrait(s, "DiffEdit", table), "19_yardsticks_diffedit", profile=profile)
# %% tags=["hide-input"] mystnb={"figure": {"caption": "latent blending, words' mask on two of the report's edits: where it gained most on the baseline and where it lost most. Lines are regions: the true one on the input, the one it worked with on its output. Maps are the edit words' attention, of the baseline and under the method.", "name": "fig-yardsticks-blending"}, "image": {"alt": "Two rows: input, baseline and its attention, the method and its attention, exact answer."}}
_ = figures.save(methods.portrait(s, "latent blending, words' mask", table), "19_yardsticks_blending", profile=profile)
# %% [markdown]
# ## Where it fails
#
# The recorded full run, by kind of edit: success, excess outside change, and the overlap of its region with the
# true one; then the same when it is told the true region.

# %%
methods.by_kind(table, told, ['Watch Your Steps', 'DiffEdit', "latent blending, words' mask"])

# %% [markdown]
# ## As it is built here
#
# Watch Your Steps pastes the source's own pixels outside at the end, as the paper does, which no method that
# decodes latents can equal: that is below the autoencoder's own error.
