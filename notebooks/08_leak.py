# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Where it learns to over-edit
#
# Is the habit in the training data? InstructPix2Pix {cite}`brooks2023instructpix2pix` was trained on pairs made by
# Prompt-to-Prompt {cite}`hertz2023prompttoprompt`, in which more changes than the instruction says. In the drawn
# world that flaw is a dial.
#
# *Numbers are of the miniature.*
#
# *The answer in numbers: {numref}`tab-answer-08`.*

# %% tags=["parameters", "remove-input"]
profile: str = "quick"
edits: str = "data/edits"
models: str = "miniature"
device: str = "cpu"
seed: int = 0
steps: int = 20

# %% tags=["hide-input"]
from cirp import figures, paths
from cirp.chapters import leak as chapter
from cirp.chapters.dials import dial
from cirp.experiments import configurations, factorial, leak, results, study
from cirp.figures import tables

figures.use_style()
s = study.open_study(
    profile=profile, edits=edits, models=models, device=device, seed=seed, steps=steps,
    usual_steps=20,
    needs=("leak",),
)

table = results.table(s, "leak")
found = leak.at_equal_success(table)
answer = chapter.finding(table, found)
answer

# %% tags=["remove-input"] mystnb={"table": {"caption": "The answer in numbers.", "name": "tab-answer-08"}}
answer.numbers

# %% [markdown]
# Three editors were trained from the same start, for as many steps, on the same pairs in the same order with the
# same noise. Of the first none of the targets leak, of the second half, of the third all: the setting is drawn
# anew, a neighbour is shifted, or the light changes. Nothing else differs between them. All three were trained a
# second time with another seed, that is with the pairs in another order and other noise.
#
# A pair that leaks is drawn like any other. The same number with and without a leak has the same scene and the same
# instruction:

# %%
from cirp.miniature.draw_pairs import draw_pair

clean, leaking = (draw_pair(3, "train", leak=share) for share in (0.0, 1.0))
print(f"{clean.instruction!r}; the leaking pair also changes: {', '.join(leaking.leaked)}")

# %% [markdown]
# ## Compared at equal success
#
# A timid editor changes little outside because it changes little at all. So each is run at six pairs of guidance
# scales, and what is compared is the least outside change with which each reaches the same edit success: the
# dashed line, at nine tenths of what the least able of them can do ({numref}`fig-leak-edges`, {numref}`tab-leak`).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Edit success against excess outside change of three editors, at six pairs of guidance scales each, and of the same three trained again with another seed (dotted). Lines are the lower right edges of the points.", "name": "fig-leak-edges"}, "image": {"alt": "Three frontiers, the higher the more training pairs leaked."}}
_ = s.save(chapter.edges(table), "08_leak")

# %% mystnb={"table": {"caption": "The editors at equal edit success.", "name": "tab-leak"}}
columns = {
    "most success": "most success", "outside": "outside change at equal success",
    "outside - leak 0": "minus that without leaks",
}  # fmt: skip
tables.in_words(found.set_index(["training seed", "leak"]), columns, ".4f")

# %% [markdown]
# Intervals are over images; the last column is paired with the editor without leaks of the same training.
#
# ## The same edits by all three
#
# What each of the three changes ({numref}`fig-leak-pictures`).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Four test edits by the three editors, each above the map of what it changed; the line is the region that should change.", "name": "fig-leak-pictures"}, "image": {"alt": "Rows of edits and change maps for three editors."}}
shown = [item for item in factorial.EXPERIMENT.items()[:12:2]][:4]
_ = s.save(chapter.pictures(s.models, shown), "08_leak_pictures")

# %% [markdown]
# Turn the share of leaking pairs yourself: the same edit, the same noise, another editor. It works in this page without
# a kernel.

# %% tags=["hide-input"]
scales = dict(steps=steps, text_scale=configurations.TEXT_SCALE, image_scale=configurations.IMAGE_SCALE)
editors = {share: (editor, "ip2p", scales) for share, editor in leak.editors(s.models).items()}
dial("share of pairs that leak", editors, shown, s.features, seed=seed)

# %% [markdown]
# ## In which noise is it learnt?
#
# Each editor was asked, at the end of its training, for edits whose answer does not leak, at five levels of noise. Its
# error is counted apart where the answer changes and where it does not ({numref}`fig-leak-losses`).

# %% tags=["hide-input"]
losses = chapter.losses(paths.MODELS / "training" / "monitor")
chapter.losses_said(losses)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Mean squared error of the predicted velocity on local validation edits, by timestep, where the exact answer changes and where it does not; the second training's editors.", "name": "fig-leak-losses"}, "image": {"alt": "Two panels of three lines each; outside the lines part towards much noise."}}
_ = s.save(chapter.losses_figure(losses), "08_losses")

# %% [markdown]
# ## Exercises
#
# 1. Compare the three at one setting, text 2.5 and image 1.5, instead of at equal success. Is the order the same? Which
#    of the two comparisons could a timid editor win?
# 2. Why is leak a share of *pairs*, and not an amount of change in each?
#
# :::{dropdown} Answer to the second
# A pair that leaks teaches that something else may change, whatever its amount. Shares can be compared between data sets:
# one counts pairs.
# :::

# %% tags=["hide-cell"]
one = table[(table["text_scale"] == 2.5) & (table["image_scale"] == 1.5)]
one.groupby(["training_seed", "leak"])[["success", "l1_source_outside_excess"]].mean().round(4)

# %% [markdown]
# ## The first part in short
#
# Each chapter answers its question in its first sentence, and a table has the intervals:
#
# - what over-editing looks like ({doc}`01_question`), and what one has to know to measure it ({doc}`02_world`);
# - where words look ({doc}`03_attention`);
# - what the report's noisy input is worth against the baseline ({doc}`04_baseline_vs_noisy`), and what its dials do
#   ({doc}`05_sweeps`);
# - what the report's table becomes with controls ({doc}`06_tables`), and what its scores cannot tell
#   ({doc}`07_what_scores_cannot_tell`);
# - where an editor learns to stray: this chapter. Whether it can be kept from it when it runs is the next part's.
#
# ## What this does not show
#
# That a clean data set would cure the real InstructPix2Pix: nobody has one. Each editor was trained with two seeds,
# for 16,000 samples from one and the same start; longer training would separate them further or not. The editors
# ship as four-bit differences from the book's own (`cirp.diffusion.variants`) and are measured as they come out of
# their files.
