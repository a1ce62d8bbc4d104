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
# **Asked about the source, before anything has changed, the model says where an instruction acts, and whether
# it is about a part or about the whole picture. There the edit runs; elsewhere nothing does.**
#
# Within a run, every step adds to what strayed before. So the question is put to the noised *source*
# $z_t$, at several levels of noise $t$ and with noise drawn anew each time, and the answer with the text $T$ is
# compared with the answer without: in the prediction, $g_t = |e(z_t, I, T) - e(z_t, I, 0)|$, and in what the
# finest cross-attention layers write into the picture, $w = |o(T) - o(0)|$. Where a word *looks* is a poor guide
# to where it acts; what is *written* because of it is a good one.
#
# $$ m = g^{1-\alpha} \cdot w^{\alpha}, \qquad R = [\, m \ge \mathrm{Otsu}(m)\, ] $$
#
# Otsu's threshold {cite}`otsu1979` parts the map's values into two groups, so that none has to be chosen per
# image. An instruction about the whole picture shows in much noise: there the text changes the prediction in
# half of all cells by more than a fixed amount, and then $R$ is everything but the cells it leaves alone.
#
# The edit runs once. In cross-attention the text branch attends, outside $R$, as the branch without instruction
# does; text guidance acts inside $R$ only; latents outside are the noised source's, and pixels are the source's.
# There is no mask, no other model, no training, and no list of the words that matter. Because what strays is
# caught, the text guidance may be stronger than the baseline's; `cirp search` chose it on validation edits.
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
from cirp import figures
from cirp.chapters import methods
from cirp.chapters import remap as chapter
from cirp.experiments import configurations, study
from cirp.figures import tables
from cirp.statistics.bootstrap import PRIMARY

figures.use_style()
s = study.open_study(
    profile=profile, edits=edits, models=models, device=device, seed=seed, steps=steps,
    usual_steps=20,
    needs=("remap_first", "benchmark"),
)
ours = configurations.found(steps)[configurations.OURS]

# %% [markdown]
# ## The idea in a picture

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The report's edits and two of the whole picture: the true region (white line), how much the text changes the prediction, what cross-attention writes because of it, both, the change of the prediction in much noise (one scale for all rows), and the region found.", "name": "fig-evidence"}, "image": {"alt": "Rows of edits with maps of change and writing, and the region that follows."}}
whole = [item for item in s.everything if item.record.edit_type in ("change setting", "restyle")]
examples = [item for item in s.items if item.record.example][:6] + whole[::5][:2] or s.items[:8]
fig = chapter.evidence(s.models, examples, seed=seed, settings=ours[1])
_ = figures.save(fig, "10_evidence", profile=profile)
# %% [markdown]
# ## What each part is worth
#
# The log of what was tried, one part changed at a time: edit success, excess outside change, and how
# well the region found overlaps with the true one.

# %%
tried = s.table("remap_ideas", configurations.ideas(steps), seeds=s.seeds[:1])
tables.wide(tried, ["success", PRIMARY, "l1_target_inside", "region_iou"])

# %% [markdown]
# Two rows are worth a thought. Remapping the attention adds nothing that can be told once guidance and latents
# are held: where the region is right, several ways to keep to it are as good. And pasting the source's pixels
# does a large part of the work outside, where it undoes even the autoencoder's error. Of the others only Watch
# Your Steps and ZONE paste, too.
#
# ## What was tried before
#
# A first version multiplied the edit words' attention, the guidance and the change of a quick edit of the
# baseline, and carried the product along self-attention. This is its record on the 500 test edits, kept with
# its settings (the code is in the history), beside the present one.

# %%
chapter.versions().set_index("version").round(3)

# %% [markdown]
# What did not help either, on validation edits: taking the evidence by segments of the source's colours (Ward's
# clustering, of pixels or of latents), dividing it by what other instructions write, and leaving the words'
# attention in the product.
#
# ## Where it fails
#
# By kind of edit. For *add* there is nothing yet to hold on to, and the model hardly knows where it would draw;
# small parts and expressions are found, but with a wide margin.

# %%
mine = tried[tried["method"] == "remap as it is"]
mine.groupby("edit_type")[["success", PRIMARY, "region_iou"]].mean().round(3)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The edits whose regions were found worst: input with the true region, baseline, remap with its region, exact answer.", "name": "fig-remap-failures"}, "image": {"alt": "Rows of failures of remap."}}
worst = chapter.worst(s.items, mine, count=5)
shown = s.made(worst, {n: configurations.found(steps)[n] for n in (configurations.BASELINE, configurations.OURS)})
_ = figures.save(methods.gallery(worst, shown), "10_failures", profile=profile)
# %% [markdown]
# ## What this does not show
#
# Whether it carries over to real models. The levels of noise, and the amount that tells an instruction about
# the whole picture, were chosen by hand on the miniature's validation edits, and the amount belongs to this
# model: with another one it has to be looked up first.
