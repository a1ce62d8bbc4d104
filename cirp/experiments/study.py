"""One chapter's run: which models, edits and seeds.

A *quick* study shows the ten examples and one seed, a *full* one all edits and two. The book's
tables speak of the book's own edits, models, steps and seeds: a study of others never sees them and
makes its own (`cirp.experiments.results`), in full into a folder of its own (`CIRP_OUT`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from cirp import figures, paths
from cirp.data.edits import EditItem, load_edits
from cirp.diffusion.pipelines import Models, load, load_tokenizer
from cirp.diffusion.tasks import Edit
from cirp.experiments import cache, report
from cirp.experiments.configurations import Methods
from cirp.experiments.needs import LeftOut, possible, preferred, showable
from cirp.metrics.features import Features, load_features

EDITS = "data/edits"
SEEDS = 2
STEPS = 150  # the report's


@dataclass(frozen=True)
class Study:
    """Everything a chapter needs, loaded once."""

    profile: str
    models: Models
    features: Features
    items: list[EditItem]  # of this run, at the models' working size
    everything: list[EditItem]  # all of the folder
    seeds: tuple[int, ...]
    steps: int
    folder: str
    usual_steps: int = STEPS  # the chapter's own

    @property
    def is_default(self) -> bool:
        """Whether the book's recorded tables speak of these edits, models, steps and seeds."""
        usual = self.steps == self.usual_steps
        return usual and _is_default(self.folder, self.models.name, self.seeds[0])

    @property
    def shown_as(self) -> str:
        """What a table calls the models: the miniature by its name, others by theirs."""
        return "miniature" if self.models.is_miniature else Path(self.models.name).name

    @property
    def results(self) -> Path:
        """Where a full run writes its tables: the book's folder only for the book's own run."""
        return paths.RESULTS if self.is_default else paths.own() / "results"

    def save(self, fig: Figure | None, name: str) -> None:
        """Save a figure where a run like this one keeps them; see `figures_folder`."""
        figures.save(fig, name, _figures(self.profile, default=self.is_default))

    @property
    def sweep_steps(self) -> int:
        """Of tables that turn many dials: fewer than the report's, never more than asked."""
        return min(report.SWEEP_STEPS, self.steps)

    def item(self, name: str) -> EditItem:
        """Return the edit of this name. Raises `ValueError` for an unknown one."""
        found = {item.id: item for item in self.everything}
        if name not in found:
            raise ValueError(f"no edit {name!r} in {self.folder}; there are {', '.join(found)}")
        return found[name]

    def made(
        self, items: Sequence[EditItem], methods: Methods | None = None
    ) -> dict[str, list[Edit]]:
        """Return the edits of these methods with the study's first seed.

        By default both of the report's systems at its settings.
        """
        if methods is None:
            both = report.main_methods(self.steps)
            both = {name: both[name] for name in (report.BASELINE, report.NOISY)}
            methods = possible(both, items)
        return {
            name: cache.edits(
                self.models,
                items,
                method,
                seeds=self.seeds[:1],
                settings=settings,
                progress=False,
            )
            for name, (method, settings) in methods.items()
        }


def folder_of(edits: str) -> str:
    """Return the folder of a chapter's parameter `edits`, which is relative to the repository."""
    return edits if Path(edits).is_absolute() else str(paths.ROOT / edits)


def figures_folder(profile: str, edits: str, models: str, seed: int) -> Path:
    """Return where a run keeps its figures.

    The book's own full run writes to `figures/`, which is committed; a quick one to
    `_build/figures/`, so that it never replaces what the README shows; one on edits or models of
    one's own to the folder of that run.
    """
    return _figures(profile, default=_is_default(folder_of(edits), models, seed))


def _figures(profile: str, *, default: bool) -> Path:
    if not default:
        return paths.own() / "figures"
    return paths.FIGURES if profile == "full" else paths.ROOT / "_build" / "figures"


def _is_default(folder: str, models: str, seed: int) -> bool:
    same = Path(folder).resolve() == paths.EDITS.resolve()
    return same and models == "miniature" and seed == 0


def open_study(
    *,
    profile: str = "quick",
    edits: str = EDITS,
    models: str = "miniature",
    device: str = "cpu",
    seed: int = 0,
    steps: int = STEPS,
    usual_steps: int = STEPS,
    needs: Sequence[str] = (),
    requires: Sequence[str] = (),
    prefers: Sequence[str] = (),
) -> Study:
    """Check everything, then load it.

    `usual_steps` are those of the chapter's recorded tables. `needs` are tables of the full run
    that the chapter only reads. `requires` names what an edit must have to be shown in it, of
    `REQUIREMENTS`; edits without are left out, with a line that says so. What it `prefers` it asks
    for only where some edit has it.

    Raises `ValueError` in one line for an unknown profile, bad edits or unknown models, and
    `LeftOut` if tables are needed that speak of other edits, models, steps or seeds, or if no edit
    has what the chapter asks for.
    """
    if profile not in ("quick", "full"):
        raise ValueError(f"profile={profile!r}; give 'quick' or 'full'")
    for name, value, kind in (("steps", steps, int), ("seed", seed, int), ("edits", edits, str),
                              ("models", models, str), ("device", device, str)):  # fmt: skip
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"{name}={value!r}; give a value of type {kind.__name__}")
    if steps < 1:
        raise ValueError(f"steps={steps}; give at least 1")
    folder = folder_of(edits)
    everything = load_edits(folder)
    default = _is_default(folder, models, seed) and steps == usual_steps
    if needs and not default:
        raise LeftOut(
            f"this chapter shows tables of hours ({', '.join(needs)}) that speak of the book's own "
            "edits, models, steps and seed; with others it is left out"
        )
    everything = preferred(showable(everything, requires), prefers)
    cache.check_items(everything, load_tokenizer(models))
    loaded = load(models, device=device)
    everything = cache.fitted(everything, loaded)
    shown = [item for item in everything if item.record.example] or everything[:10]
    return Study(
        profile,
        loaded,
        load_features(models if Path(models).is_dir() else _encoders(loaded), device=device),
        everything if profile == "full" else shown,
        everything,
        tuple(range(seed, seed + SEEDS)) if profile == "full" else (seed,),
        steps,
        folder,
        usual_steps,
    )


def book_items(models: Models) -> list[EditItem]:
    """Return the book's own edits, at the size at which these models edit."""
    return cache.fitted(load_edits(paths.EDITS), models)


def _encoders(models: Models) -> str:
    """Return the miniature is scored by its own encoders, everything else by the real ones."""
    return "miniature" if models.name == "miniature" else "real"
