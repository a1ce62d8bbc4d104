# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # DreamBooth
#
# **A rare word can come to stand for one particular character, learnt from five pictures of it. What the word
# for its class meant is kept by practising it.**
#
# DreamBooth {cite}`ruiz2023dreambooth` goes on training a text-to-image model on pictures $x$ of a subject
# under a prompt $c$ with a rare word in it, *a zyz bear*. Alone, that would make every bear this bear. So the
# model's own pictures $x'$ of *a bear*, $c'$, are trained on as well (equation 2, prior preservation):
#
# $$ \mathbb{E}\; \lVert e(z_t, c) - \epsilon \rVert^2 \;+\; \lambda\, \lVert e(z'_{t'}, c') - \epsilon' \rVert^2 $$
#
# Here the newcomer is a teddy bear. Its drawing was kept from training; bears were trained on.
#
# *The full run trains longer.*

# %% tags=["parameters", "remove-input"]
profile: str = "quick"
edits: str = "data/edits"
models: str = "miniature"
device: str = "cpu"
seed: int = 0
steps: int = 20
# %% tags=["hide-input"]
from cirp import figures
from cirp.chapters import dreambooth
from cirp.experiments import results, study, subject
from cirp.figures import tables

figures.use_style()
s = study.open_study(
    profile=profile, edits=edits, models=models, device=device, seed=seed, steps=steps,
    usual_steps=20,
)
known = subject.variants(s.models, steps=subject.STEPS[profile], seed=seed)

# %% [markdown]
# ## What it learns
#
# The pictures it is learnt from, and what each model then draws on the beach, on the grass, in the snow and in
# the kitchen. The miniature draws bears poorly to begin with, so what is to be seen is colour, outline, a bow.
# A quick build trains for 80 steps, which is where it begins to show; the full run, whose figure is in
# `figures/`, for 400 ({numref}`fig-newcomer`).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Five pictures of the newcomer; below, samples of the model as it was trained, tuned on the pictures alone, and tuned with prior preservation, each asked for the newcomer and for any bear.", "name": "fig-newcomer"}, "image": {"alt": "Rows of samples before and after tuning."}}
_ = s.save(dreambooth.sheet(known, seed=seed, steps=steps), "17_newcomer")
# %% [markdown]
# ## The same in numbers
#
# Similarity of the samples to the newcomer, and to a bear, both drawn in the place that was asked for. What is
# wanted: *a zyz bear* comes nearer to the newcomer, and *a bear* stays a bear. The table is the full run's.
# Trained alone, both become the newcomer, and the places are mixed up. With the prior the two part: of the two
# prompts only the one with the rare word is near the newcomer, though less so ({numref}`tab-newcomer`).

# %% mystnb={"table": {"caption": "Likeness of samples to the newcomer and to a bear, drawn in the place asked for.", "name": "tab-newcomer"}}
table = results.table(s, "subject")
tables.wide(table, ["clip_i_subject", "clip_i_class", "dinov2_subject", "dinov2_class"])

# %% [markdown]
# ## Edited by the methods of this book
#
# The tuned model is a model like any other, so whatever edits by captions can put the newcomer where a bear was
# ({numref}`fig-newcomer-edits`).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Bears to be turned into the newcomer, by three methods, with the model as it was trained and as it was tuned. The line is the region that should change.", "name": "fig-newcomer-edits"}, "image": {"alt": "Rows of bears edited by three methods with two models."}}
_ = s.save(dreambooth.edits(known, seed=seed, steps=steps), "17_edits")
# %% [markdown]
# ## As it is built here
#
# Only the UNet is trained, the text tower stays; the class's pictures stay latents. The rate is far above the
# paper's, for a far smaller model, and text guidance is lower than elsewhere.
#
# ## What this does not show
#
# How well DreamBooth works. A model that draws its own bears as brown shapes cannot be taught a face in minutes:
# it learns the newcomer's colours and its bow, and loses some of the places on the way; *a bear*, practised on
# sixteen of the model's own pictures, comes out burnt. With one subject and one seed of training there is
# nothing to generalise from.
