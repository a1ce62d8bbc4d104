# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Find a region, keep the rest
#
# Six methods find a region and protect what lies outside of it. What makes a good region?
#
# *Numbers are of the miniature, and methods are re-implementations.*
#
# *The answer in numbers: {numref}`tab-answer-16`.*

# %% tags=["parameters", "remove-input"]
profile: str = "quick"
edits: str = "data/edits"
models: str = "miniature"
device: str = "cpu"
seed: int = 0
steps: int = 20

# %% tags=["hide-input"]
from cirp import figures
from cirp.chapters import methods
from cirp.experiments import configurations, results, study
from cirp.experiments.engine import score_methods
from cirp.figures import tables
from cirp.methods import locatedit, wys, zone

figures.use_style()
s = study.open_study(
    profile=profile, edits=edits, models=models, device=device, seed=seed, steps=steps,
    usual_steps=20,
    needs=("frontiers",),
)

table = results.known("frontiers")
answer = methods.family_finding(table, ['LEDITS++ mask', 'LOCATEdit mask', 'ZONE mask', 'Watch Your Steps', 'DiffEdit', "latent blending, words' mask"])
answer

# %% tags=["remove-input"] mystnb={"table": {"caption": "The answer in numbers.", "name": "tab-answer-16"}}
answer.numbers

# %% [markdown]
# ## From attention
#
# **LEDITS++** {cite}`brack2024ledits` lets guidance act where the words' attention *and* the guidance itself are
# both above their own quantile, anew at each step. **LOCATEdit** {cite}`soni2025locatedit` solves
#
# $$ (W^2 + 0.78\,L)\,m = W^2 m_0, \qquad W = \mathrm{diag}\,\sigma(2.61\,(m_0 - 0.4858)) $$
#
# with $L$ the Laplacian of the graph whose edges are self-attention, so that cells which attend to each other get
# similar values. **ZONE** {cite}`li2024zone` needs no keyword: its region is where end of text is looked at more
# than begin of text. What is compared is each paper's *mask*, on the same InstructPix2Pix: LEDITS++ inverts an image
# into Stable Diffusion, LOCATEdit edits with Prompt-to-Prompt, ZONE cuts its mask out with a segmentation model; none
# of this is here ({numref}`fig-ledits`, {numref}`fig-locatedit`, {numref}`fig-zone`).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "LEDITS++ mask on two test edits: where it gained most on the baseline and where it lost most. Lines are regions: the true one on the input, the one it worked with on its output. Maps are the edit words' attention, of the baseline and under the method.", "name": "fig-ledits"}, "image": {"alt": "Two rows: input, baseline and its attention, the method and its attention, exact answer."}}
_ = s.save(methods.portrait(s, "LEDITS++ mask", table), "16_ledits")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "LOCATEdit mask on two test edits: where it gained most on the baseline and where it lost most. Lines are regions: the true one on the input, the one it worked with on its output. Maps are the edit words' attention, of the baseline and under the method.", "name": "fig-locatedit"}, "image": {"alt": "Two rows: input, baseline and its attention, the method and its attention, exact answer."}}
_ = s.save(methods.portrait(s, "LOCATEdit mask", table), "16_locatedit")

# %% tags=["hide-input"]
methods.listing(locatedit.refined)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "ZONE mask on two test edits: where it gained most on the baseline and where it lost most. Lines are regions: the true one on the input, the one it worked with on its output. Maps are the edit words' attention, of the baseline and under the method.", "name": "fig-zone"}, "image": {"alt": "Two rows: input, baseline and its attention, the method and its attention, exact answer."}}
_ = s.save(methods.portrait(s, "ZONE mask", table), "16_zone")

# %% tags=["hide-input"]
methods.listing(zone.contrast)

# %% [markdown]
# ## From the prediction
#
# **Watch Your Steps** {cite}`mirzaei2023wys` takes the region from one call: where the instruction changes the
# prediction on the noised source, $|e(I,T) - e(I,0)|$, outliers clipped. **DiffEdit** {cite}`couairon2023diffedit`
# does the same with two captions on the text-to-image model, averaged over ten noises, and keeps the inverted
# latents outside. **Latent blending** {cite}`avrahami2023blended` keeps the noised source outside whatever mask it
# is given:
#
# $$ x_{t-1} \leftarrow m\,x_{t-1} + (1-m)\,\bigl(\sqrt{\bar\alpha_{t-1}}\,z + \sqrt{1-\bar\alpha_{t-1}}\,\epsilon\bigr) $$
#
# The released code of Watch Your Steps noises the source to the level just left, one step too noisy; here it is at
# the level the latents are at. It pastes the source's own pixels outside at the end, as the paper does, which no
# method that decodes latents can equal ({numref}`fig-wys`, {numref}`fig-diffedit`, {numref}`fig-blending`).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Watch Your Steps on two test edits: where it gained most on the baseline and where it lost most. Lines are regions: the true one on the input, the one it worked with on its output. Maps are the edit words' attention, of the baseline and under the method.", "name": "fig-wys"}, "image": {"alt": "Two rows: input, baseline and its attention, the method and its attention, exact answer."}}
_ = s.save(methods.portrait(s, "Watch Your Steps", table), "16_wys")

# %% tags=["hide-input"]
methods.listing(wys.relevance)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "DiffEdit on two test edits: where it gained most on the baseline and where it lost most. Lines are regions: the true one on the input, the one it worked with on its output. Maps are the edit words' attention, of the baseline and under the method.", "name": "fig-diffedit"}, "image": {"alt": "Two rows: input, baseline and its attention, the method and its attention, exact answer."}}
_ = s.save(methods.portrait(s, "DiffEdit", table), "16_diffedit")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "latent blending, words' mask on two test edits: where it gained most on the baseline and where it lost most. Lines are regions: the true one on the input, the one it worked with on its output. Maps are the edit words' attention, of the baseline and under the method.", "name": "fig-blending"}, "image": {"alt": "Two rows: input, baseline and its attention, the method and its attention, exact answer."}}
_ = s.save(methods.portrait(s, "latent blending, words' mask", table), "16_blending")

# %% [markdown]
# ## Where they fail
#
# By kind of edit, at the one setting each is shown at ({numref}`tab-region-kinds`).

# %% mystnb={"table": {"caption": "Methods that find a region, by kind of edit.", "name": "tab-region-kinds"}}
methods.by_kind(table, ['LEDITS++ mask', 'LOCATEdit mask', 'ZONE mask', 'Watch Your Steps', 'DiffEdit', "latent blending, words' mask"])

# %% [markdown]
# ## Exercises
#
# 1. Watch Your Steps has one threshold. At which of 0.2, 0.4, 0.6 and 0.8 do its regions overlap most with the true ones
#    on six edits? Is that where it changes least outside?
# 2. Watch Your Steps blurs nothing and looks once. Which two things could make its region miss half of a large object?
#
# :::{dropdown} Answer to the second
# A threshold relative to the strongest change, which leaves out what changes weakly; and a single level of noise, at which
# only part of the object is decided.
# :::

# %% tags=["hide-cell"]
local = [item for item in s.items if not item.record.is_global][:6]
method, settings = configurations.automatic(steps)["Watch Your Steps"]
tried = {f"threshold {t}": (method, {**settings, "threshold": t}) for t in (0.2, 0.4, 0.6, 0.8)}
cells = score_methods(s.models, s.features, local, tried, seeds=s.seeds[:1])
tables.wide(cells, ["region_iou", "success", "l1_source_outside_excess"])

# %% [markdown]
# ## The third part in short
#
# - Attention read and changed: {doc}`14_change_the_map`.
# - Guidance and latents moved instead: {doc}`15_guidance_and_latents`.
# - A region found first, from attention or from the prediction: this chapter. How near each comes to the true one is
#   measured in {doc}`12_frontiers`.
#
# ## What this does not show
#
# Segmentation models, which some of the papers lean on, and which would find a thing's outline better than any map
# of a 16 x 16 grid can.
