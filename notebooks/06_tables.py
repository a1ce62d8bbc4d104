# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Metric tables
#
# What becomes of the report's table when it is given controls, intervals, tests, and the question whether the edit
# happened?
#
# *The full run's tables are recorded, and a slice is computed again here.*
#
# *The answer in numbers: {numref}`tab-answer-06`.*

# %% tags=["parameters", "remove-input"]
profile: str = "quick"
edits: str = "data/edits"
models: str = "miniature"
device: str = "cpu"
seed: int = 0
steps: int = 150
# %% tags=["hide-input"]
from cirp import figures
from cirp.chapters import scores as chapter
from cirp.experiments import results, study
from cirp.figures import tables
from cirp.statistics.bootstrap import PRIMARY

figures.use_style()
s = study.open_study(
    profile=profile, edits=edits, models=models, device=device, seed=seed, steps=steps,
    prefers=("target caption", "mask",),
)
table = results.table(s, "main")
answer = chapter.tables_finding(table)
answer

# %% tags=["remove-input"] mystnb={"table": {"caption": "The answer in numbers.", "name": "tab-answer-06"}}
answer.numbers

# %% [markdown]
# ## The report's table
#
# As it was reported, and as it is measured here ({numref}`tab-report`).

# %% tags=["hide-input"]
chapter.whose(s)

# %% mystnb={"table": {"caption": "The report's table: similarity of output and input, with what was measured here beside it.", "name": "tab-report"}}
tables.unnumbered(chapter.report_table(table, s.shown_as))

# %% [markdown]
# Doing nothing wins the report's two columns outright. That is no accident of these models: the
# similarity of a picture with itself is 100 %.
#
# ## All metrics
#
# `success` asks the judge, and for nearness to a right answer. *Inside* and *outside* are relative to the true region, with a guard band of
# two pixels left out; *excess* has the autoencoder's own error subtracted. Global edits have no outside
# ({numref}`tab-all-metrics`).

# %% mystnb={"table": {"caption": "All metrics of both systems and their controls.", "name": "tab-all-metrics"}}
columns = ["success", PRIMARY, "l1_source_outside_excess_if_success", "leakage_auc",
           "l1_target_inside", "clip_i_source", "clip_i_target", "dinov2_source", "dinov2_target",
           "clip_t", "clip_direction", "psnr_source_outside", "ssim_source_outside",
           "feature_distance_dinov2_source_outside"]  # fmt: skip
tables.wide(table, columns).T

# %% [markdown]
# ## Noisy input against baseline, paired by image
#
# The primary metric was declared before anything was run: excess outside change. The unit is the
# image; seeds are averaged within it; intervals are BCa {cite}`efron1987bca`, *p* values come from
# sign flips and are corrected after Holm {cite}`holm1979` over the secondary metrics ({numref}`tab-paired`, {numref}`fig-forest`).

# %% mystnb={"table": {"caption": "Noisy input minus baseline, paired by image, with corrected tests.", "name": "tab-paired"}}
paired = chapter.paired(table)
chapter.paired_table(paired)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Noisy input minus baseline. A hollow point's interval reaches zero.", "name": "fig-forest"}, "image": {"alt": "Paired differences of six metrics with intervals."}}
_ = s.save(chapter.forest_figure(paired), "06_forest")
# %% [markdown]
# ## By kind of edit
#
# Both systems on each kind ({numref}`tab-report-kinds`).

# %% mystnb={"table": {"caption": "Edit success and excess outside change by kind of edit.", "name": "tab-report-kinds"}}
chapter.by_kind(table)

# %% [markdown]
# ## What did it? The 2 x 2 x 2
#
# The report changed three things at once: how the image enters, the guidance scales, and instruction
# into caption. Here each is changed by itself, on one and the same InstructPix2Pix UNet ({numref}`tab-cube`, {numref}`tab-effects`).

# %% mystnb={"table": {"caption": "The eight corners between the two systems.", "name": "tab-cube"}}
ablation = results.table(s, "ablation")
tables.unnumbered(chapter.ablation_table(ablation)).format(precision=3)

# %% mystnb={"table": {"caption": "What each of the three changes does by itself.", "name": "tab-effects"}}
effects = chapter.main_effects(ablation, ["success", PRIMARY, "clip_i_source", "dinov2_source"])
effects = effects.assign(metric=effects["metric"].map(tables.named)).set_index(["change", "metric"])
tables.in_words(effects, {"difference": "difference", "n": "edits"})

# %% [markdown]
# ## Exercises
#
# 1. In which of the metrics does *do nothing* not come first?
# 2. Why is the unit of {numref}`tab-paired` the image, and not the edit, of which there are twice as many?
#
# :::{dropdown} Answer to the second
# Both seeds of an image share its instruction, its difficulty and its region. Counting them as two would make the
# interval look narrower than the evidence is.
# :::

# %% tags=["hide-cell"]
ranks = table.groupby("method", sort=False)[columns].mean().rank(ascending=False).loc["do nothing"]
higher = ranks[[name for name in columns if "l1" not in name and "distance" not in name and "leakage" not in name]]
higher.rename(index=tables.named).to_frame("rank among five, where higher is better")

# %% [markdown]
# ## What this does not show
#
# Whether people would agree with the judge. Fifty images decide differences of about 0.4 standard
# deviations, no smaller ones.
