# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Add a method
#
# A method is a class of settings and a function that edits one batch. From the two follow its checks, its options on
# the command line, its row in each table and its dials in the explorer. The method of this page holds the input
# outside of a mask, but only in the last steps: until then the edit may draw where it likes.

# %% tags=["parameters", "remove-input"]
profile: str = "quick"
edits: str = "data/edits"
models: str = "miniature"
device: str = "cpu"
seed: int = 0
steps: int = 20
# %% [markdown]
# ## The method, in full

# %%
from pydantic import Field

from cirp.editing.masks import keep_outside
from cirp.editing.method import Regional, Share
from cirp.editing.regional import Constraint, regional
from cirp.methods import METHODS


class Settings(Regional):
    """Steps, guidance and region are those of each method with a region; one setting is new."""

    region: str = Field("given", description="the mask that the edit comes with")
    late: Share = Field(0.5, description="share of the steps, the last ones, that hold the input")


@regional("late hold", Settings)
def late_hold(work, masks, settings):
    """Return what is constrained outside of the regions; the rest of a run is the baseline's."""
    return Constraint(after=keep_outside(masks, work.start, share=settings.late))


METHODS["late hold"] = late_hold

# %% [markdown]
# ## The method at work
#
# From now on the method is called by its name, like all others. A setting out of range, a missing mask or a missing
# instruction is refused before anything runs. If the input is held in all steps, nothing changes outside of the mask
# ({numref}`fig-late-hold`).

# %%
import cirp
from cirp.data.edits import load_edits
from cirp.experiments.study import figures_folder, folder_of

both = cirp.load(models, device=device)
item = next(item for item in load_edits(folder_of(edits)) if item.mask() is not None)
shares = (0.0, 0.5, 1.0)
made = [
    cirp.edit(both, item.source(), item.record.instruction, method="late hold", mask=item.mask(),
              seed=seed, steps=steps, late=share)
    for share in shares
]  # fmt: skip

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The input with the region, and the edit with the input held outside of it in none, the last half, and all of the steps.", "name": "fig-late-hold"}, "image": {"alt": "An input and three edits."}}
from cirp import figures

figures.use_style()
fig, axes = figures.grid(1, 1 + len(made), side=1.9)
figures.show(axes[0], item.source(), "input", mask=item.mask())
for ax, share, one in zip(axes[1:], shares, made, strict=True):
    figures.show(ax, one.image, f"held in {share:.0%}")
_ = figures.save(fig, "20_late_hold", figures_folder(profile, edits, models, seed))

# %% [markdown]
# ## Its score
#
# The change outside of the mask, from 0 to 1, falls as more steps hold the input ({numref}`tab-late-hold`).

# %% mystnb={"table": {"caption": "Change inside and outside of the mask, by the share of steps that hold the input.", "name": "tab-late-hold"}}
import pandas as pd

scores = [cirp.score(item.source(), one.image, item.mask()) for one in made]
pd.DataFrame(scores, index=[f"{share:.0%}" for share in shares])[["l1_inside", "l1_outside", "ssim_outside"]].round(4)

# %% [markdown]
# ## An experiment with it
#
# An experiment is a list of cells: a method at one setting. Its table has a row for each edit and cell, with all scores,
# and with what the row was made of. Finished edits are kept, so that a second call computes none of them
# ({numref}`tab-late-experiment`).

# %% mystnb={"table": {"caption": "Success and outside change of the method at three settings, on three edits.", "name": "tab-late-experiment"}}
from cirp.experiments.engine import Cell, Experiment, Job
from cirp.figures import tables
from cirp.metrics.features import load_features

experiment = Experiment(
    "late hold",
    cells=lambda steps: [Cell(f"held in {share:.0%}", "late hold", dict(steps=steps, late=share)) for share in shares],
)
some = [item for item in load_edits(folder_of(edits)) if item.mask() is not None][:3]
job = Job(both, load_features("miniature" if both.is_miniature else "real", device=device), some)
rows = experiment.rows(job, experiment.cells(steps))
tables.wide(rows, ["success", "l1_source_outside", "clip_i_source"])

# %% [markdown]
# ## To keep it
#
# A file in `cirp/methods` with the class and the function, and a line with its name in `cirp/methods/__init__.py`,
# make it a method of the package: `cirp edit --method "late hold"` runs it, and the tests that ask something of all
# methods ask it of this one. An `Experiment` that is named in `cirp/experiments/results.py` is a table of the book:
# `cirp tables NAME` makes it, and `results.table(study, NAME)` reads it, after computing a few of its cells again.
# {doc}`../reference` lists the public functions.
