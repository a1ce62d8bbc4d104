# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Move the latents, scope the guidance
#
# Two methods leave the maps as they are and act on what follows from them.
#
# *Numbers are of the miniature, and methods are re-implementations.*
#
# *The answer in numbers: {numref}`tab-answer-15`.*

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
from cirp.experiments import results, study
from cirp.methods import asg, refocus

figures.use_style()
s = study.open_study(
    profile=profile, edits=edits, models=models, device=device, seed=seed, steps=steps,
    usual_steps=20,
    needs=("frontiers",),
)

table = results.known("frontiers")
answer = methods.family_finding(table, ['attention refocusing', 'ASG'])
answer

# %% tags=["remove-input"] mystnb={"table": {"caption": "The answer in numbers.", "name": "tab-answer-15"}}
answer.numbers

# %% [markdown]
# ## Attention refocusing
#
# **If attention is in the wrong place, move the latents until it is not.** Before each of the first steps the
# latents take gradient steps down two losses {cite}`phung2024refocusing`, of a word's map $a$ and of self-attention
# $A$, with region $R$:
#
# $$ L_{CAR} = (1 - \max_{u \in R} a_u) + \max_{u \notin R} a_u , \qquad
#    L_{SAR} = \frac{1}{|R|} \sum_{u \in R} \sum_{v \notin R} A_{uv} $$
#
# Losses as the paper describes them; the released code sharpens the maps first and counts boxes. Gradients are taken
# through the text branch of InstructPix2Pix. The paper's step sizes hardly move latents as small as the miniature's,
# so larger ones are used ({numref}`fig-refocusing`).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "attention refocusing on two test edits: where it gained most on the baseline and where it lost most. Lines are regions: the true one on the input, the one it worked with on its output. Maps are the edit words' attention, of the baseline and under the method.", "name": "fig-refocusing"}, "image": {"alt": "Two rows: input, baseline and its attention, the method and its attention, exact answer."}}
_ = s.save(methods.portrait(s, "attention refocusing", table), "15_refocusing")

# %% tags=["hide-input"]
methods.listing(refocus.car)

# %% [markdown]
# ## ASG
#
# **Leave attention and latents alone; let both guidance scales vary over the picture.** The words' map of the first
# steps becomes $M = \sigma(10\,(a - 0.5))$, and then {cite}`asg2026`
#
# $$ e = e(0,0) + G_I\,[e(I,0) - e(0,0)] + G_T\,[e(I,T) - e(I,0)] $$
#
# $$ G_T = g_{lo} + (s_T - g_{lo})\,M, \qquad G_I = s_I + (g_{hi} - s_I)\,(1 - M) $$
#
# It needs no second pass and replaces no latents. If the map's peak is less than 1.5 times its mean, the method
# abstains and the baseline runs; the miniature's maps are so even that 1.1 is used at the middle of its dial. From a
# description of the paper, not from its text: the description prints $M$ in both scales, and with `hold="inside"` it
# is applied literally ({numref}`fig-asg`).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "ASG on two test edits: where it gained most on the baseline and where it lost most. Lines are regions: the true one on the input, the one it worked with on its output. Maps are the edit words' attention, of the baseline and under the method.", "name": "fig-asg"}, "image": {"alt": "Two rows: input, baseline and its attention, the method and its attention, exact answer."}}
_ = s.save(methods.portrait(s, "ASG", table), "15_asg")

# %% tags=["hide-input"]
methods.listing(asg.scoped)

# %% [markdown]
# The same guidance with each map replaced by its own mean is the same dose without a place, and a control
# ({numref}`tab-asg`):

# %% mystnb={"table": {"caption": "Attention-scoped guidance (ASG) with its maps and with their means.", "name": "tab-asg"}}
methods.compared(table, ["ASG", "ASG, each map its own mean"])

# %% [markdown]
# ## Where they fail
#
# By kind of edit, at the one setting each is shown at ({numref}`tab-latent-kinds`).

# %% mystnb={"table": {"caption": "Methods that move latents, by kind of edit.", "name": "tab-latent-kinds"}}
methods.by_kind(table, ['attention refocusing', 'ASG'])

# %% [markdown]
# ## Exercises
#
# 1. Let the map of ASG be .5 everywhere. What are its two scales?
# 2. What are the two losses of refocusing, if the region is the whole picture?
#
# :::{dropdown} Answers
# In $L_{CAR}$ nothing is outside, and what is left asks that the word looks at some cell fully; in $L_{SAR}$ no cell is
# outside, so it is zero. Refocusing then has no place to refuse. (To the first: $G_T = (g_{lo} + s_T)/2$ and $G_I = (s_I +
# g_{hi})/2$, the same dose for every cell.)
# :::

# %% [markdown]
# ## What this does not show
#
# Gradients cost what they cost: {doc}`12_frontiers` has the price of each method beside what it buys.
