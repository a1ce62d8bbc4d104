"""The chapter that is the explorer."""

from cirp import paths
from cirp.explorer.page import shown_items
from cirp.explorer.widget import LiveExplorer, explore, loaded


def explorer(*, edits: str, models: str, device: str, seed: int, steps: int) -> LiveExplorer:
    """The pictures of the page, or those of a folder of one's own."""
    own = (paths.ROOT / edits).resolve() != paths.EDITS.resolve()
    if own or models != "miniature":  # the page has neither
        return explore(models=models, edits=edits, device=device, seed=seed, steps=steps)
    known, features = loaded(models, device)
    return LiveExplorer(known, shown_items(), features, in_page=True, seed=seed, steps=steps)
