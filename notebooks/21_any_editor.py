# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Any editor's outputs
#
# Most editors of today are not on these pages. Can their outputs be scored, and repaired, without their model?
#
# *Numbers are of the miniature.*
#
# *The answer in numbers: {numref}`tab-answer-21`.*

# %% tags=["parameters", "remove-input"]
profile: str = "quick"
edits: str = "data/edits"
models: str = "miniature"
device: str = "cpu"
seed: int = 0
steps: int = 20

# %% tags=["hide-input"]
import cirp
from cirp import figures
from cirp.chapters import any_editor as chapter
from cirp.experiments import any_editor, results, study

figures.use_style()
s = study.open_study(
    profile=profile, edits=edits, models=models, device=device, seed=seed, steps=steps,
    usual_steps=20,
    needs=("registration", "repair", "repair_unseen"),
)

unseen = results.table(s, "repair_unseen")
answer = chapter.finding(unseen)
answer

# %% tags=["remove-input"] mystnb={"table": {"caption": "The answer in numbers.", "name": "tab-answer-21"}}
answer.numbers

# %% [markdown]
# ## One picture
#
# Source and output are enough. `cirp.keep` aligns the output, finds where it differs, and puts the source back
# elsewhere:

# %%
item = s.items[1]
output = cirp.edit(s.models, item.source(), item.record.instruction, method="ip2p", quiet=True).image
kept = cirp.keep(item.source(), output)
print(f"change outside of the region: {kept.before:.4f} before, {kept.after:.4f} after")

# %% [markdown]
# {numref}`fig-any-editor` shows the same for an output that lies three pixels beside its source, as the outputs of many editors
# do. Without alignment, every edge counts as a change.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "An output of InstructPix2Pix, shifted by three pixels: the change that is measured as it lies, after alignment, and after the repair. The line is the region that was to change.", "name": "fig-any-editor"}, "image": {"alt": "Six pictures in a row: source, shifted output, two maps of change, the repaired picture and its map."}}
_ = s.save(chapter.strip(s.models, any_editor.LOCAL()[:24]), "21_any_editor")

# %% [markdown]
# In JupyterLab the explorer does the same without code: open a picture, and choose another editor's output for it under
# *repair another editor's output*. A region that you painted is the region ({doc}`18_try_it`).
#
# ## A folder of outputs
#
# From a terminal, with one folder of outputs an editor:
#
# ```console
# cirp score --edits my-edits --outputs mine=my-outputs --outputs theirs=their-outputs --out my-scores
# ```
#
# This writes `scores.csv`, `summary.json` and a page, *Your editor*, with every output beside its source. Outputs may
# have any size and format. The folder of edits may also be one of PIE-Bench, MagicBrush, ImgEdit, GEdit or PaintBench.
# Where the right answer is known, PaintBench's score is among the columns: the right part of what had to change, over
# that and what was wrongly changed elsewhere {cite}`paintbench`. Doing nothing scores zero.
#
# ## Is the alignment right?
#
# Outputs of the baseline were moved by known amounts ({numref}`tab-registration`). Outputs that were not moved should
# not be said to be.

# %% mystnb={"table": {"caption": "Moves that are found, and by how much they are missed (medians), on the local test edits.", "name": "tab-registration"}}
chapter.alignment(results.table(s, "registration"))

# %% [markdown]
# What moves by less than a pixel, as most of the picture does at a zoom of 1 %, is not found in pictures of 64 pixels.
#
# ## Is the region right?
#
# Without a mask, the region is where the output itself changed most. So what is outside of it changed less, and the
# score is too kind ({numref}`tab-agreement`). It orders outputs as the true region does.

# %% mystnb={"table": {"caption": "Scores by the region found from the output, against scores by the true region.", "name": "tab-agreement"}}
chapter.agreement(unseen)

# %% [markdown]
# ## What the repair is worth
#
# The plan asked for two things of the baseline's outputs on edits that nothing was chosen on ({numref}`tab-repair-aims`).

# %% mystnb={"table": {"caption": "What was asked of the repair, and what was reached.", "name": "tab-repair-aims"}}
chapter.wanted(unseen)

# %% [markdown]
# The same for every method of this book ({numref}`tab-repair`). Methods that paste by themselves have little to gain.

# %% mystnb={"table": {"caption": "Outputs before and after the repair, on the local test edits; change outside is the mean absolute difference.", "name": "tab-repair"}}
chapter.by_method(results.table(s, "repair"))

# %% [markdown]
# ## Exercises
#
# 1. Shift an output by twenty pixels of 64 and score it. Why has the alignment no answer?
# 2. An editor returns every picture half a pixel to the left. Which score suffers most, and does alignment help?
#
# :::{dropdown} Answer to the second
# Change outside: every edge counts. Alignment finds moves of parts of a pixel, but has to interpolate, so some of the change
# stays.
# :::

# %% tags=["hide-cell"]
from cirp.metrics.registration import move, register

register(item.source(), move(output, dx=20.0))

# %% [markdown]
# ## What this does not show
#
# The miniature's outputs are not moved by themselves, and its autoencoder is gentle. An edit of the whole picture has no
# outside: such outputs are refused, unless one says what they are.
