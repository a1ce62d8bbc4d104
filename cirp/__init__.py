"""Why instruction-guided image editing over-edits, and how remapping cross-attention stops it.

with cirp.record(pipe) as rec:      the attention of a diffusers pipeline
    pipe(prompt, image=image)
rec.word_map("topping")             where a word looks: (height, width)
cirp.edit(pipe, image, text)        one edit, by any of cirp.METHODS
cirp.score(source, edited, mask)    what changed inside and outside
cirp.score_folder(edits, outputs)   the same of any editors' outputs, with a page
cirp.keep(source, edited)           the edit alone; the rest as it was
cirp.heat_map(pipe, image, prompt, word)
cirp.load("miniature")              both pipelines of a preset or folder
cirp.explore()                      an explorer in JupyterLab
cirp.review(folder)                 keep, drop, correct and paint curated edits
"""

import os
from importlib import import_module

# Importing transformers says that torchvision is missing, which nothing here needs.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

# name -> where it stands; read when it is asked for, since models' libraries take seconds
_PUBLIC = {
    "METHODS": "cirp.methods",
    "edit": "cirp.api",
    "explore": "cirp.explorer.widget",
    "heat_map": "cirp.api",
    "keep": "cirp.api",
    "load": "cirp.diffusion.pipelines",
    "load_edits": "cirp.data.edits",
    "record": "cirp.api",
    "review": "cirp.explorer.reviewing",
    "score": "cirp.api",
    "score_folder": "cirp.api",
}
__all__ = [*_PUBLIC, "__version__"]  # noqa: F822  (all of them are read on demand)


def __getattr__(name: str):
    if name in _PUBLIC:
        try:
            return getattr(import_module(_PUBLIC[name]), name)
        except ModuleNotFoundError as error:
            if error.name not in ("anywidget", "ipywidgets", "traitlets", "resvg_py"):
                raise
            text = f'cirp.{name} needs {error.name}; run: pip install "cirp[lab]"'
            raise AttributeError(text) from error
    if name == "__version__":
        from importlib.metadata import version

        return version("cirp")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
