# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Five edits in a row
#
# A person who edits does not stop after one instruction. What is left, after five, of what nobody touched?
#
# *Numbers are of the miniature.*
#
# *The answer in numbers: {numref}`tab-answer-13`.*

# %% tags=["parameters", "remove-input"]
profile: str = "quick"
edits: str = "data/edits"
models: str = "miniature"
device: str = "cpu"
seed: int = 0
steps: int = 20

# %% tags=["hide-input"]
import pandas as pd

from cirp import figures
from cirp.chapters import turns as chapter
from cirp.experiments import configurations, results, study, turns

figures.use_style()
s = study.open_study(
    profile=profile, edits=edits, models=models, device=device, seed=seed, steps=steps,
    usual_steps=20,
    needs=("turns",),
)

table = results.table(s, "turns")
answer = chapter.finding(table)
answer

# %% tags=["remove-input"] mystnb={"table": {"caption": "The answer in numbers.", "name": "tab-answer-13"}}
answer.numbers

# %% [markdown]
# ## What wears away
#
# Each method edits its own last picture. Of each turn is asked what of all that should now be there is still seen,
# and how far the pixels that no instruction so far has meant are from the first picture's ({numref}`fig-turns`, {numref}`fig-strip`).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Over five turns: change of what no instruction meant, and the share of the true scene's labels that the judge still sees; 95 % intervals over chains.", "name": "fig-turns"}, "image": {"alt": "Two panels of lines over five turns, a line a method."}}
_ = s.save(chapter.curves(table), "13_turns")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The first chain of the test split: five instructions, one after the other, by three systems, and the exact answers.", "name": "fig-strip"}, "image": {"alt": "Rows of six pictures, a row a system."}}
shown = [configurations.BASELINE, configurations.NOISY, configurations.OURS]
_ = s.save(chapter.strip(s.models, turns.EXPERIMENT.items()[0], shown), "13_strip")

# %% [markdown]
# ## After the last turn
#
# Change of what no instruction meant, and what is still right ({numref}`tab-turns`).

# %% mystnb={"table": {"caption": "After the fifth edit of a scene in a row.", "name": "tab-turns"}}
chapter.last_turn(table)

# %% [markdown]
# Where a turn was not done, a later one may find nothing to lose and count as done: read *done* beside what is
# still seen.

# %% [markdown]
# ## Exercises
#
# 1. Is the damage of five turns five times that of one? Guess for the baseline, the noisy input and remap.
# 2. Which of the methods could be run five times without harm, if the source of the *first* turn were kept? Why are turns
#    harder than that?
#
# :::{dropdown} Answer to the second
# A method that pastes the source's pixels could paste the first source's. But a later edit may be about what an earlier one
# made, so the source of each turn is the result of the turn before.
# :::

# %% tags=["hide-cell"]
mean = table.pivot_table(index="method", columns="turn", values="untouched_change", sort=False)
one, five = mean[1], mean[5]
pd.DataFrame({"after one turn": one, "after five": five, "times": five / one}).round(4)

# %% [markdown]
# ## The second part in short
#
# To keep an edit in its place is two tasks: find the place, and keep the rest.
#
# - What each method does on the same pictures: {doc}`09_methods`. What each constraint is worth: {doc}`10_causes`.
# - How remap finds the region and keeps the rest, and what each of its parts is worth: {doc}`11_remap`.
# - Who is better than whom, over the whole dial and by interval: {doc}`12_frontiers`.
# - What small unwanted changes add up to: this chapter.
#
# ## What this does not show
#
# Chains are of local edits alone, and a drawn scene of three things is forgiving: a photograph has more to lose.
