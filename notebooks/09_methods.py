# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Every method side by side
#
# What does each way of keeping an edit local do, to the same pictures, with the same model and the same noise?
#
# :::{admonition} In this part
# :class: tip
# You will learn what can be constrained so that an edit stays in its place, what each constraint is worth, and how to
# compare methods so that nobody wins by doing less. Chapters 10 to 13 have exercises with answers to open.
# :::
#
# The methods are re-implementations on one attention interface, on the *miniature*; none of these numbers is a
# number of the papers. FoI {cite}`guo2024foi` never released its code, and our version fills the gaps by its own
# choices.
#
# | method | where the region comes from | what is done with it |
# |---|---|---|
# | Prompt-to-Prompt {cite}`hertz2023prompttoprompt` | words' attention in source and target | source's attention is kept; latents blended |
# | FoI {cite}`guo2024foi` | words' attention, sharpened | scores raised inside, attention without instruction outside, guidance inside only |
# | LIME {cite}`simsar2025lime` | clusters of features under the attention | unrelated tokens lose their attention inside |
# | DenseDiffusion {cite}`kim2023densediffusion` | words' attention, binarised | scores of words raised inside, lowered outside |
# | attention refocusing {cite}`phung2024refocusing` | words' attention, binarised | gradient steps on the latents |
# | ASG {cite}`asg2026` | words' attention, soft | both guidance scales follow it |
# | LEDITS++ {cite}`brack2024ledits` | attention and guidance, both large | guidance inside only |
# | LOCATEdit {cite}`soni2025locatedit` | attention smoothed along self-attention | latents blended |
# | ZONE {cite}`li2024zone` | end of text against begin of text | pixels pasted |
# | Watch Your Steps {cite}`mirzaei2023wys` | change of the prediction with the text | latents blended, pixels pasted |
# | DiffEdit {cite}`couairon2023diffedit` | change of the prediction with the caption | inverted latents kept outside |
# | remap (ours) | what the text changes in the prediction, the foreseen picture and attention's writing, in the first step; half of Otsu's threshold {cite}`otsu1979` | attention's writing, latents, pixels |
#
# *The answer in numbers: {numref}`tab-answer-09`.*

# %% tags=["parameters", "remove-input"]
profile: str = "quick"
edits: str = "data/edits"
models: str = "miniature"
device: str = "cpu"
seed: int = 0
steps: int = 20

# %% tags=["hide-input"]
from cirp import figures
from cirp.chapters import frontiers as chapter
from cirp.chapters import methods
from cirp.experiments import configurations, frontiers, releases, results, study
from cirp.figures import tables
from cirp.figures.sentences import say

figures.use_style()
s = study.open_study(
    profile=profile, edits=edits, models=models, device=device, seed=seed, steps=steps,
    usual_steps=20,
    needs=("frontiers", "releases"),
)

table = results.known("frontiers")
answer = methods.finding(table)
answer

# %% tags=["remove-input"] mystnb={"table": {"caption": "The answer in numbers.", "name": "tab-answer-09"}}
answer.numbers

# %% [markdown]
# ## Where each thinks the edit belongs
#
# Lines are the regions the methods worked with; in the input, the true one ({numref}`fig-gallery`).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Three of the report's edits by every method. The line is the region each method worked with; where there is none it worked with the whole image, or with no region at all.", "name": "fig-gallery"}, "image": {"alt": "Three blocks of pictures: an input, the edit of it by each method, and the exact answer."}}
examples = [item for item in s.items if item.record.example][:3] or s.items[:3]
shown = s.made(examples, configurations.automatic(steps))
_ = s.save(methods.gallery(examples, shown), "09_gallery")

# %% [markdown]
# ## At one setting, and with the true region
#
# The local test edits, each method at the middle of its dial ({doc}`12_frontiers` turns the dials). Given the true
# region, a method's remaining errors are those of editing, not of finding. *Closed* is the share of the unwanted change
# that a method removes, of what the *same* method removes when it is given the true region. Its flaw: a method that
# hardly edits closes much as well, so read it beside success ({numref}`tab-methods`).

# %% mystnb={"table": {"caption": "Every method on the local test edits, at the one setting it is shown at, and with the true region.", "name": "tab-methods"}}
chapter.standing(table)

# %% [markdown]
# ## Edits of the whole picture, apart
#
# A new setting or style has no outside. Success and likeness are all there is to measure, and they are never
# averaged with the local edits ({numref}`tab-whole-picture`).

# %% mystnb={"table": {"caption": "Edits of the whole picture, apart.", "name": "tab-whole-picture"}}
chapter.whole_picture(table)

# %% [markdown]
# ## All metrics of the local edits
#
# How near each comes to the answer ({numref}`tab-method-answers`), and how like the source it stays
# ({numref}`tab-method-likeness`):

# %% mystnb={"table": {"caption": "How near the local test edits come to their answers, and what CLIP says of them.", "name": "tab-method-answers"}}
local = frontiers.at_shown(frontiers.local(table))
tables.wide(local, ["answer_distance", "clip_i_target", "clip_t", "clip_direction"])

# %% mystnb={"table": {"caption": "How like their sources the local test edits are.", "name": "tab-method-likeness"}}
tables.wide(local, ["ssim_source_outside_excess", "clip_i_source", "dinov2_source"])

# %% [markdown]
# ## Other tokens to look at
#
# The methods that look at words are given the words of the edit here. In {numref}`tab-releases` they look at other
# tokens: at end of text and padding, which carry more of an edit ({doc}`10_causes`), or at words that they find
# themselves. No threshold was chosen again. Where a method here differs from its authors' code, the table undoes each
# difference by itself, too.

# %% tags=["hide-input"]
undone = results.table(s, "releases")
say(releases.finding(undone, table))

# %% mystnb={"table": {"caption": "One thing changed at a time, and its difference from the method as it stands above, paired by image.", "name": "tab-releases"}}
releases.compared(undone, table)

# %% [markdown]
# ## What this does not show
#
# Real models. Settings were named before a test edit was looked at, three of each method's own knob around its
# paper's; another knob might serve a method better. One seed an image.
