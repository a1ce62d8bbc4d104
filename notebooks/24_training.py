# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How the miniature was trained
#
# Would more training make the miniature's editor better? *The answer in numbers: {numref}`tab-answer-24`.*

# %% tags=["parameters", "remove-input"]
profile: str = "quick"
edits: str = "data/edits"
models: str = "miniature"
device: str = "cpu"
seed: int = 0
steps: int = 150
# %% tags=["hide-input"]
from cirp import figures, paths
from cirp.chapters import learning, world
from cirp.experiments import study

figures.use_style()
s = study.open_study(
    profile=profile, edits=edits, models=models, device=device, seed=seed, steps=steps,
    usual_steps=steps,
)  # fmt: skip

logs = paths.MODELS / "training"
looks = learning.logged(logs)
answer = learning.finding(looks)
answer
# %% tags=["remove-input"] mystnb={"table": {"caption": "The answer in numbers.", "name": "tab-answer-24"}}
answer.numbers


# %% [markdown]
# ## The learning curve
#
# While it trains, a monitor makes the same 96 validation edits again and again; it asks a little less of them than
# this book does (nearness to the one target, on average). By kind in {numref}`fig-learning`; the error of the
# prediction itself, inside and outside of what has to change, in {numref}`fig-learning-noise`; pictures in
# {numref}`fig-learning-strip`.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Share of the monitor's edits that succeed while the last stage trains, by kind, with exact 95 % intervals (twelve edits a kind).", "name": "fig-learning"}, "image": {"alt": "Eight panels, a line each."}}
_ = s.save(learning.by_kind(looks), "24_learning")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Squared error of the predicted velocity on local validation edits, by timestep, inside and outside of what has to change.", "name": "fig-learning-noise"}, "image": {"alt": "Two panels, a line a timestep."}}
_ = s.save(learning.by_noise(looks), "24_learning_noise")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The first validation edit of each kind after so many thousand samples of the last stage; before it came two and a half million of the joint stage.", "name": "fig-learning-strip"}, "image": {"alt": "Eight rows of pictures: input, the edit after more and more samples, the exact answer."}}
_ = s.save(learning.strip(logs), "24_learning_strip")

# %% [markdown]
# ## What was tried
#
# The changes that were tried in the last training run, and what each did ({numref}`tab-tried`). The loss of each stage
# is in {numref}`fig-curves`.

# %% mystnb={"table": {"caption": "Changes tried in the last training run: cost, effect, and whether the result is in use.", "name": "tab-tried"}}
learning.tried(logs)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Loss of each stage over its training time, as far as it was logged.", "name": "fig-curves"}, "image": {"alt": "Falling loss curves."}}
_ = s.save(world.curves(paths.MODELS / "training"), "24_training")
# %% [markdown]
# ## How they were trained
#
# Most of it in half an hour of one GPU, some on two processor cores; `cirp miniature train` goes through all stages on
# either. The model cards beside the weights say the same in full ({numref}`tab-training`).

# %% mystnb={"table": {"caption": "What each model saw, and where it was trained.", "name": "tab-training"}}
world.training(paths.MODELS / "training")

# %% [markdown]
# ## What this does not show
#
# One run of training, one size of model. The monitor's 96 edits are twelve of each kind, so a single panel moves by a
# twelfth when one edit succeeds or fails.
