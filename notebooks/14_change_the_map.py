# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Change the map
#
# Four methods change where words look. Does that keep an edit where it belongs?
#
# :::{admonition} In this part
# :class: tip
# You will learn how each method works, from its equation and the lines of code that are its own, and where it fails.
# Chapters 14 to 16 have exercises with answers to open.
# :::
#
# *Numbers are of the miniature, and methods are re-implementations.*
#
# *The answer in numbers: {numref}`tab-answer-14`.*

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
from cirp.chapters import two_instructions as two
from cirp.chapters.dials import dial
from cirp.experiments import configurations, results, study
from cirp.experiments.engine import score_methods
from cirp.figures import tables
from cirp.methods import dense, foi, lime, p2p

figures.use_style()
s = study.open_study(
    profile=profile, edits=edits, models=models, device=device, seed=seed, steps=steps,
    usual_steps=20,
    needs=("frontiers",),
)

table = results.known("frontiers")
answer = methods.family_finding(table, ['Prompt-to-Prompt', 'FoI (re-implementation)', 'LIME', 'DenseDiffusion'])
answer

# %% tags=["remove-input"] mystnb={"table": {"caption": "The answer in numbers.", "name": "tab-answer-14"}}
answer.numbers

# %% [markdown]
# ## Prompt-to-Prompt
#
# **Whoever paints the same attention paints the same layout: take the source's maps, change only the words.** Two
# captions, one of the source and one of the target, are denoised side by side {cite}`hertz2023prompttoprompt`.
# While $t$ is in the first share of the steps, the target's cross-attention to a word that both captions share is
# replaced by the source's, and so is its self-attention below full resolution:
#
# $$ A^{target}_{:,j} \leftarrow A^{source}_{:,\,\mathrm{align}(j)} , \qquad x \leftarrow x^{source} + m\,(x - x^{source}) $$
#
# with $m$ the union of both captions' maps of the words that differ, binarised (local blend). A real image has
# no source latents, so they are found by running DDIM {cite}`song2021ddim` backwards; here each backward step is
# iterated to a fixed point, and the source is put back on its own path after each step {cite}`ju2024pnpinversion`
# ({numref}`fig-prompt-to-prompt`).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Prompt-to-Prompt on two test edits: where it gained most on the baseline and where it lost most. Lines are regions: the true one on the input, the one it worked with on its output. Maps are the edit words' attention, of the baseline and under the method.", "name": "fig-prompt-to-prompt"}, "image": {"alt": "Two rows: input, baseline and its attention, the method and its attention, exact answer."}}
_ = s.save(methods.portrait(s, "Prompt-to-Prompt", table), "14_prompt_to_prompt")

# %% tags=["hide-input"]
methods.listing(p2p.ReplaceCross)

# %% [markdown]
# The root mean square error of the latents when the path found backwards is run forwards again, by the number of
# fixed-point iterations; one iteration is plain DDIM inversion ({numref}`tab-inversion`):

# %% mystnb={"table": {"caption": "Error of inverting and denoising again, by fixed-point iterations.", "name": "tab-inversion"}}
methods.inversion_errors(s.models, s.items[:6], iterations=(1, 2, 3, 5), steps=steps)

# %% [markdown]
# The dial of Prompt-to-Prompt is the share of the steps in which self-attention is replaced: little of it lets the layout
# go, much of it lets nothing change. Without the local blend, so that it is seen. It works in this page without a kernel.

# %% tags=["hide-input"]
local = [item for item in s.items if not item.record.is_global][:6]
method, settings = configurations.automatic(steps)["Prompt-to-Prompt"]
free = {**settings, "local_blend": False}
shares = {f: (s.models, method, {**free, "self_replace": f}) for f in (0.0, 0.25, 0.5, 0.75, 1.0)}
dial("share of the steps", shares, local, s.features, seed=seed)

# %% [markdown]
# As it is built here: the text-to-image UNet and captions, so it is not the same model as the baseline. Rows are not
# renormalised, as in the authors' code. The blend's threshold is higher than the paper's 0.3: the miniature's maps
# are so diffuse that 0.3 takes the whole picture.
#
# ## FoI
#
# **Sharpen the keywords' map, then let the instruction act there and nowhere else.** FoI {cite}`guo2024foi` was
# published without code, and what is here is **our re-implementation** from its abstract and from descriptions by
# others; every choice those leave open is a setting. The keywords' map of the first steps is blurred, squared and
# stretched a few times, and binarised to $M$. Inside, the keywords' scores are raised towards the row's maximum;
# outside, the text branch takes the attention of the branch without instruction. Guidance is disentangled, so that
# several instructions each act in their own region ({numref}`fig-foi`, {numref}`fig-foi-both`):
#
# $$ e = e(0,0) + s_I\,[e(I,0) - e(0,0)] + s_T \sum_i M_i\,[e(I,T_i) - e(I,0)] $$

# %% tags=["hide-input"] mystnb={"figure": {"caption": "FoI (re-implementation) on two test edits: where it gained most on the baseline and where it lost most. Lines are regions: the true one on the input, the one it worked with on its output. Maps are the edit words' attention, of the baseline and under the method.", "name": "fig-foi"}, "image": {"alt": "Two rows: input, baseline and its attention, the method and its attention, exact answer."}}
_ = s.save(methods.portrait(s, "FoI (re-implementation)", table), "14_foi")

# %% tags=["hide-input"]
methods.listing(foi.Modulate)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Two instructions in one: the input with both true regions, the baseline, FoI (re-implementation) on each instruction alone and on both, remap on both, each with the region it found, and the exact answer.", "name": "fig-foi-both"}, "image": {"alt": "Two rows of pictures with two things to change."}}
_ = s.save(two.sheet(s.models, range(2), seed=seed, steps=steps), "14_foi_both")

# %% [markdown]
# remap parts such an instruction, too, and does one after the other, each in a region of its own.
#
# ## LIME
#
# **Clusters of features know where objects end; attention only has to say which cluster.** The outputs of the
# attention layers, taken from the branch that sees the image, are clustered by *k*-means. The clusters that hold the
# cells with the highest attention to the words are the region {cite}`simsar2025lime`. In a second pass, inside the
# region, the scores of every *unrelated* token (begin of text, function words, padding) are set to minus infinity
# before the softmax, in all three branches:
#
# $$ \tilde Q K^\top_{ij} = -\infty \quad\text{for } i \in R,\; j \text{ unrelated} $$
#
# Nothing is pasted or blended. As the released code has it where code and paper differ; its layers of 16 x 16 to
# 32 x 32 cells are one level finer here ({numref}`fig-lime`).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "LIME on two test edits: where it gained most on the baseline and where it lost most. Lines are regions: the true one on the input, the one it worked with on its output. Maps are the edit words' attention, of the baseline and under the method.", "name": "fig-lime"}, "image": {"alt": "Two rows: input, baseline and its attention, the method and its attention, exact answer."}}
_ = s.save(methods.portrait(s, "LIME", table), "14_lime")

# %% tags=["hide-input"]
methods.listing(lime.Regularise)

# %% [markdown]
# ## DenseDiffusion
#
# **Push scores up where a phrase belongs and down where it does not, by as much as the row allows.** With
# $s = QK^\top/\sqrt d$, a layout's segments $R$, and $S$ one minus a segment's share of the area
# {cite}`kim2023densediffusion`:
#
# $$ s \leftarrow s + R\,S\,w\,\xi\,(\max_k s - s) - (1-R)\,S\,w\,\xi\,(s - \min_k s), \qquad \xi = (t/1000)^5 $$
#
# in the first 30 % of the steps, for cross-attention ($w = 1$) and self-attention ($w = 0.3$). It was made to lay
# out a picture from nothing, and has no means to keep what lies outside: it is compared because the report cites it
# ({numref}`fig-densediffusion`).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "DenseDiffusion on two test edits: where it gained most on the baseline and where it lost most. Lines are regions: the true one on the input, the one it worked with on its output. Maps are the edit words' attention, of the baseline and under the method.", "name": "fig-densediffusion"}, "image": {"alt": "Two rows: input, baseline and its attention, the method and its attention, exact answer."}}
_ = s.save(methods.portrait(s, "DenseDiffusion", table), "14_densediffusion")

# %% tags=["hide-input"]
methods.listing(dense.Modulate)

# %% [markdown]
# ## Where they fail
#
# By kind of local edit: success, excess outside change, and the overlap of the region with the true one; then the
# same when they are given the true region ({numref}`tab-map-kinds`).

# %% mystnb={"table": {"caption": "Methods that change the map, by kind of edit.", "name": "tab-map-kinds"}}
methods.by_kind(table, ['Prompt-to-Prompt', 'FoI (re-implementation)', 'LIME', 'DenseDiffusion'])

# %% [markdown]
# ## Exercises
#
# 1. Prompt-to-Prompt replaces maps *and* pastes the source outside the words' maps (local blend). Which of the two keeps
#    the rest of the picture? Run it without the paste.
# 2. DenseDiffusion raises scores inside a region that it takes from the same map. What does it do where the map is wrong?
#
# :::{dropdown} Answer to the second
# It makes the map more certain of what it was wrong about. That is why it is also shown with the true region.
# :::

# %% tags=["hide-cell"]
tried = {"with local blend": (method, settings), "without": (method, {**settings, "local_blend": False})}
cells = score_methods(s.models, s.features, local, tried, seeds=s.seeds[:1])
tables.wide(cells, ["success", "l1_source_outside_excess", "clip_i_source"])

# %% [markdown]
# ## What this does not show
#
# What the papers' own models do. All four read the words' maps of a small model, and those maps are diffuse
# ({doc}`03_attention`).
