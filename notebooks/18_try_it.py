# ---
# jupyter:
#   html_theme.sidebar_secondary.remove: true
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Try it
#
# Run an edit, see where it strays, and stop it.

# %% tags=["parameters", "remove-input"]
profile: str = "quick"
edits: str = "data/edits"
models: str = "miniature"
device: str = "cpu"
seed: int = 0
steps: int = 10
request: str = ""
# %% tags=["remove-input"]
from cirp import figures
from cirp.experiments import study
from cirp.explorer import chapter

figures.use_style()
shown = chapter.explorer(edits=edits, models=models, device=device, seed=seed, steps=steps, request=request)
shown

# %% [markdown]
# ## What one can do with it
#
# In this page the miniature itself runs in your browser: it is fetched (25 MB) when you come to the explorer, and then
# ten steps take a few seconds. In JupyterLab (`make lab`) the same explorer runs on the kernel: it takes any model, runs
# every method by its name on the same noise, draws scenes anew or takes a picture of your own, and can ask remap for a
# region. Nothing you type leaves your machine. The line above the pictures leads through the first minute; then, or instead:
#
# 1. Press *Run*. The picture forms, and the words of the instruction get their maps: point at one. *end* and *padding*
#    are what stands after the words: the editor reads the instruction there, too.
# 2. Choose *what it changed* under *shown*. What is bright outside the white line was asked for by nobody.
# 3. Take *the true one* as a region, or *paint* your own, and run again: outside, the latents are kept the input's.
#    *this run | before* wipes between the two, and the table says what became of the change outside. Then try the same
#    with *guidance* or *attention* alone: {doc}`10_causes` measures what each is worth.
# 4. Weigh a word: the slider under it multiplies its attention, from nothing to four times. Or let two words trade
#    their maps, or freeze the maps of one layer, or of all, to those of the last run that was not frozen, and change
#    something else: what still changes did not come through attention.
# 5. Raise *noisy input*, its strength: the run then starts from the noised input, no longer shown beside, and image
#    guidance multiplies nothing. {doc}`04_baseline_vs_noisy` compares the two over many edits; here, run one and wipe.
# 6. Maps are averages until you choose a layer, a head, a step, or a branch: *with the text* reads the instruction,
#    *image only* and *neither* read an empty one.
# 7. Click into the picture, or move with the arrow keys: the bars say what that cell attends to. *save maps* gives all
#    maps of the run, as arrays that `numpy.load` reads.
#
# The run that it opens at, as it was made when this page was built ({numref}`fig-try-it`). *as a command* writes the
# line that makes this picture of what you have chosen, with papermill and without a window.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Input with the region that should change, the edit, what it changed, and where each word of the instruction looks: the mean over steps, layers and heads.", "name": "fig-try-it"}, "image": {"alt": "Input, edit, change, and a map for each word."}}
folder = study.figures_folder(profile, edits, models, seed)
_ = figures.save(chapter.made(shown), "18_try_it", folder)

# %% [markdown]
# ## The same in Python
#
# One line opens it in any notebook; everything that can be chosen in it can be given:
#
# ```python
# import cirp
#
# cirp.explore(item="change-colour-0", text_scale=7.5)
# ```
#
# ## What this does not show
#
# The miniature knows a few hundred words, and marks those it does not know. The page has the fifty pictures of
# this book and four seeds of each; its scores are those that need no judge.
