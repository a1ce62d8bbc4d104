# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Why it over-edits
#
# Which part of the model carries a change beyond the region that should change, and which one stops it when it is
# constrained there?
#
# *Numbers are of the miniature.*
#
# *The answer in numbers: {numref}`tab-answer-10`.*

# %% tags=["parameters", "remove-input"]
profile: str = "quick"
edits: str = "data/edits"
models: str = "miniature"
device: str = "cpu"
seed: int = 0
steps: int = 20

# %% tags=["hide-input"]
from cirp import figures
from cirp.chapters import causes as chapter
from cirp.experiments import (
    carries,
    configurations,
    factorial,
    frontiers,
    results,
    study,
    swaps,
    traces,
)
from cirp.figures import tables

figures.use_style()
s = study.open_study(
    profile=profile, edits=edits, models=models, device=device, seed=seed, steps=steps,
    usual_steps=20,
    needs=("factorial", "carries", "swaps", "frontiers", "strays", "traces"),
)

crossed = results.table(s, "factorial")
found = factorial.against_baseline(crossed)
carried = carries.against_nothing(results.table(s, "carries"))
answer = chapter.finding(found, carried)
answer

# %% tags=["remove-input"] mystnb={"table": {"caption": "The answer in numbers.", "name": "tab-answer-10"}}
answer.numbers

# %% [markdown]
# ## One part constrained at a time
#
# The baseline runs with one of its parts *constrained* outside a region, that is, kept as it is without the instruction.
# Guidance: the text's part is set to zero there. Cross-attention and self-attention: the maps of the branch that has not
# seen the text are used. Latents: the noised source's. All scales stay the same, so that nothing else differs.
#
# Latents can be constrained in any diffusers pipeline, by a callback that puts the noised source back outside of the region
# after every step ({numref}`fig-hold`):

# %% mystnb={"figure": {"caption": "The test edit on which InstructPix2Pix strays most: the input with the region that should change, the edit, and the same edit with the latents constrained outside of the region.", "name": "fig-hold"}, "image": {"alt": "An input and two edits of it."}}
import torch
from torch.nn.functional import adaptive_max_pool2d

from cirp.diffusion.sampling import encode

item = chapter.strays_most(factorial.EXPERIMENT.items(), results.known("frontiers"))
pipe = s.models.instruct
clean = encode([item.source()], s.models) * pipe.vae.config.scaling_factor
noise = torch.randn(clean.shape, generator=torch.manual_seed(seed))
inside = adaptive_max_pool2d(torch.tensor(item.mask())[None, None].float(), clean.shape[-2:])


def constrain(pipe, step, timestep, tensors):
    """Put the noised source back outside of the region."""
    later = pipe.scheduler.timesteps[step + 1 : step + 2]
    kept = pipe.scheduler.add_noise(clean, noise, later) if len(later) else clean
    tensors["latents"] = inside * tensors["latents"] + (1 - inside) * kept
    return tensors


call = dict(image=item.source(), latents=noise, num_inference_steps=steps, guidance_scale=2.5, image_guidance_scale=1.5)
plain, kept = (
    pipe(item.record.instruction, **call, callback_on_step_end=each).images[0] for each in (None, constrain)
)
_, axes = figures.grid(1, 3)
figures.show(axes[0], item.source(), "input", mask=item.mask())
figures.show(axes[1], plain, "unconstrained")
figures.show(axes[2], kept, "latents constrained")

# %% [markdown]
# Guidance alone was constrained in five ways: outside the true region, evenly at the same strength, outside another picture's
# region, *inside* the true region, and nowhere. If the place mattered for the unwanted change, the first would have the
# least of it ({numref}`tab-gates`):

# %% mystnb={"table": {"caption": "Guidance constrained outside the true region, and in four other ways.", "name": "tab-gates"}}
chapter.gates(found)

# %% [markdown]
# ## Region times constraint
#
# Every method with a mask finds a region and constrains something outside of it. Each region was combined with each
# constraint, to tell what finding the region is worth from what constraining is worth ({numref}`fig-crossed`, {numref}`tab-factorial`).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Means over the local test edits, by region (rows) and by what is constrained outside of it (columns), at the baseline's own scales.", "name": "fig-crossed"}, "image": {"alt": "Two grids of numbers, outside change and edit success, by region and constraint."}}
_ = s.save(chapter.crossed_figure(found), "10_crossed")

# %% tags=["hide-output"] mystnb={"table": {"caption": "Every region and every constraint, against the baseline.", "name": "tab-factorial"}}
chapter.factorial_table(found)

# %% [markdown]
# *Pasted* rows have the source's own pixels outside of the region, which is free for whoever knows one.
#
# ## Which tokens carry the edit
#
# A prompt has more tokens than words: begin of text, end of text, and the padding up to the encoder's length. Each group
# was muted in turn, and all but each group: the text branch gives muted tokens no attention, and the others take their
# part ({numref}`fig-carries`, {numref}`tab-carries`).

# %% tags=["hide-input"]
chapter.carries_finding(carried)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Edit success and outside change on the local test edits with a group of tokens muted. Blue: the shipped editor at text scale 2.5, means with 95 % intervals. Grey: other trainings and scales.", "name": "fig-carries"}, "image": {"alt": "Two panels of dots with intervals, a row for each group of tokens, grey marks for other trainings and scales."}}
_ = s.save(chapter.carries_figure(carried), "10_carries")

# %% tags=["hide-output"] mystnb={"table": {"caption": "Each group of tokens muted, for the shipped editor at text scale 2.5.", "name": "tab-carries"}}
chapter.carries_table(carried)

# %% [markdown]
# Muting takes attention away, and what is left gets more than it ever had. An exchange leaves every token in place. Each
# edit was given a second instruction about another part of the same picture, and one group of tokens was taken from
# it, as the text encoder wrote them there. Which of the two edits is made ({numref}`fig-swaps`, {numref}`tab-swaps`)?

# %% tags=["hide-input"]
exchanged = swaps.both_done(results.table(s, "swaps"))
chapter.swaps_finding(exchanged)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How often the judge sees the edit of the first instruction done, and that of the second, with a group of tokens taken from the second instruction; the shipped editor at text scale 2.5, means with 95 % intervals.", "name": "fig-swaps"}, "image": {"alt": "Pairs of dots with intervals, a row for each group of tokens that is exchanged."}}
_ = s.save(chapter.swaps_figure(exchanged), "10_swaps")

# %% tags=["hide-output"] mystnb={"table": {"caption": "Which edit is made, for two trainings and two text scales.", "name": "tab-swaps"}}
chapter.swaps_table(exchanged)

# %% [markdown]
# Every token of end and padding has read the whole instruction: the text encoder lets a token see all before it. So a map
# of the important words shows where they look, and not what writes the edit.
#
# ## Where it lands
#
# Every pixel outside belongs to one ring around the region, and to one meaning. If an instruction strayed because its
# words fit other things as well, those would change most; if it strayed because latents smear, the nearest ring
# would ({numref}`fig-strays`).

# %% tags=["hide-input"]
landed = results.table(s, "strays")
chapter.strays_finding(landed)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Excess change outside of the true region, by distance from it and by what is seen there; means over the local test edits that have such pixels, with 95 % intervals.", "name": "fig-strays"}, "image": {"alt": "Two panels of dots with intervals, a colour a method: by ring, and by meaning."}}
_ = s.save(chapter.strays_figure(landed), "10_strays")

# %% [markdown]
# ## What correlates with it
#
# A correlation is no cause, but it shows where to look. For every local edit: how much of the edit words' attention,
# and how much of the change that the text makes to the prediction, $|e(I,T) - e(I,0)|$, lies outside the region
# that should change. Rank correlations with the baseline's excess outside change, over images; *area given* has the
# size of the outside partialled out ({numref}`tab-traces`, {numref}`fig-causes`).

# %% mystnb={"table": {"caption": "Rank correlation of the unwanted change with what can be measured while the edit runs.", "name": "tab-traces"}}
table = results.known("frontiers")
base = frontiers.at_shown(frontiers.local(table))
base = base[base["method"] == configurations.BASELINE]
seen = results.table(s, "traces")
columns = {"spearman": "Spearman's rho", "area given": "the area outside partialled out", "n": "edits"}
tables.in_words(traces.correlations(seen, base).set_index("trace"), columns)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Each dot is a local edit: what the text changes in the prediction outside the region, as a share of all it changes and per cell, against the change found outside.", "name": "fig-causes"}, "image": {"alt": "Two scatter plots of traces against excess outside change."}}
_ = s.save(chapter.scatter(seen, base), "10_causes")

# %% [markdown]
# ## Exercises
#
# 1. Constrain the latents *inside* the region instead of outside of it. How much changes on either side?
# 2. {numref}`tab-gates` says that guidance constrained outside of the true region *raises* the change there. How can less
#    guidance change more?
#
# :::{dropdown} Answer to the second
# Constrained means: kept as it is without the instruction. But the branch without the instruction does not copy its input
# faithfully; where it alone is followed, the picture drifts.
# :::

# %% tags=["hide-cell"]
import pandas as pd

import cirp

outside, inside = inside, 1 - inside  # `constrain` reads the second
other = pipe(item.record.instruction, **call, callback_on_step_end=constrain).images[0]
inside = outside
sides = {name: cirp.score(item.source(), made, item.mask()) for name, made in
         {"unconstrained": plain, "constrained outside": kept, "constrained inside": other}.items()}
pd.DataFrame(sides).T[["l1_inside", "l1_outside"]].round(3)

# %% [markdown]
# ## What this does not show
#
# One seed an edit, one small model. Guidance and attention are constrained to the branch without instruction.
# Where that branch does not copy its input, the constraint cannot help. An editor whose other branch copied faithfully
# might gain from it. Latents are constrained to the input itself.
