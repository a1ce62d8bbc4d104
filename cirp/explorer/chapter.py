"""The chapter that is the explorer."""

from matplotlib.figure import Figure

from cirp import paths
from cirp.explorer import static_figure
from cirp.explorer.links import of_link
from cirp.explorer.page import shown_items
from cirp.explorer.widget import LiveExplorer, explore, loaded


def explorer(
    *, edits: str, models: str, device: str, seed: int, steps: int, request: str = ""
) -> LiveExplorer:
    """Return the pictures of the page, or those of a folder of one's own.

    `request` is a link's fragment; what it asks for stands before `seed` and `steps`.
    """
    asked = {"seed": seed, "steps": steps} | of_link(request)
    own = (paths.ROOT / edits).resolve() != paths.EDITS.resolve()
    if own or models != "miniature":  # the page has neither
        return explore(models=models, edits=edits, device=device, **asked)
    known, features = loaded(models, device)
    return LiveExplorer(known, shown_items(), features, in_page=True, **asked)


def made(shown: LiveExplorer) -> Figure:
    """Return the run that the explorer opens at, as a picture."""
    return static_figure.figure(*shown.opened())
