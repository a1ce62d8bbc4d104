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

# %% tags=["parameters", "hide-input"]
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

from cirp.diffusion.sampling import decode
from cirp.diffusion.tasks import Made
from cirp.editing.driver import begin_edit, run_editor
from cirp.editing.masks import given, keep_outside
from cirp.editing.method import Regional, Share, method
from cirp.methods import METHODS


class Settings(Regional):
    """Steps, guidance and region are those of each method with a region; one setting is new."""

    region: str = Field("given", description="the mask that the edit comes with")
    late: Share = Field(0.5, description="share of the steps, the last ones, that hold the input")


@method("late hold", Settings)
def late_hold(models, tasks, settings, controls):
    """Edit a batch of images of one size; return pictures, UNet rows, and the regions used."""
    start = begin_edit(models, tasks)
    masks = given(tasks, start.grid).to(start.source)
    latents, rows = run_editor(
        models, tasks, start, **settings.guidance, controls=controls,
        after=keep_outside(masks, start, share=settings.late),
    )
    return Made(decode(latents, models), rows, masks)


METHODS["late hold"] = late_hold

# %% [markdown]
# ## The method at work
#
# From now on the method is called by its name, like all others. A setting out of range, a missing mask or a missing
# instruction is refused before anything runs. Held in all steps, the input keeps what it was outside of the mask
# ({numref}`fig-late-hold`).

# %%
import cirp
from cirp.data.edits import load_edits
from cirp.experiments.study import folder_of

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
_ = figures.save(fig, "20_late_hold", profile=profile)

# %% [markdown]
# ## Its score
#
# The change outside of the mask, from 0 to 1, falls as more steps hold the input ({numref}`tab-late-hold`).

# %% mystnb={"table": {"caption": "Change inside and outside of the mask, by the share of steps that hold the input.", "name": "tab-late-hold"}}
import pandas as pd

scores = [cirp.score(item.source(), one.image, item.mask()) for one in made]
pd.DataFrame(scores, index=[f"{share:.0%}" for share in shares])[["l1_inside", "l1_outside", "ssim_outside"]].round(4)

# %% [markdown]
# ## To keep it
#
# A file in `cirp/methods` with the class and the function, and a line with its name in `cirp/methods/__init__.py`,
# make it a method of the package: `cirp edit --method "late hold"` runs it, and the tests that ask something of all
# methods ask it of this one. {doc}`../reference` lists the public functions.
