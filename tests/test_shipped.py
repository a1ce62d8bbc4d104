"""What the repository ships: weights that stock diffusers loads, checked edits, a true README."""

import subprocess
import sys
from pathlib import Path

from cirp.data.edits import load_edits
from cirp.experiments import records
from cirp.miniature.export import book_edits
from cirp.miniature.grammar import EDIT_KINDS
from cirp.miniature.scene import all_labels, region

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "data" / "models"


def test_the_weights_are_safetensors_and_at_most_100_mb():
    files = [path for path in MODELS.resolve().rglob("*") if path.is_file()]
    assert not [p for p in files if p.suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")]
    assert (
        sum(path.stat().st_size for path in files) <= 100e6
    )  # a third of them the six editors of the leak, and their start


def test_every_model_has_a_card_that_says_how_it_was_made():
    names = ("clip", "judge", "dinov2", "text-to-image", "text-to-image/vae", "instruct-pix2pix")
    for name in names:
        card = (MODELS / name / "README.md").read_text()
        assert "cirp miniature train" in card and "Known limits" in card and "samples" in card


def test_the_50_edits_are_balanced_and_what_their_seeds_draw():
    items = load_edits(ROOT / "data" / "edits")
    assert len(items) == 50 and sum(item.record.example for item in items) == 10
    kinds = [item.record.edit_type for item in items]
    assert set(kinds) == set(EDIT_KINDS) and min(map(kinds.count, EDIT_KINDS)) >= 5
    known = set(all_labels())
    for item, (pair, row) in zip(items, book_edits(), strict=True):
        assert item.record == row
        assert set(row.gained) | set(row.lost) <= known
        assert (item.mask() == region(pair.source, pair.target)).mean() > 0.999


def test_the_reports_own_edits_are_among_them():
    said = {item.record.instruction for item in load_edits(ROOT / "data" / "edits")}
    assert {
        "change axolotl into yellow mouse",
        "change peach into strawberry",
        "change donut topping to chocolate",
        "change mayonnaise dip to ketchup",
        "make the sad dog happy",
    } <= said


def test_the_headline_is_what_the_full_run_recorded():
    subprocess.run(
        [sys.executable, "-m", "cirp", "headline", "--check"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )


def test_recorded_tables_were_made_with_the_shipped_weights(miniature):
    weights = miniature.fingerprint
    tables = sorted((ROOT / "data" / "results").glob("*.csv"))
    wanted = {"main", "blends", "bars", "frontiers", "factorial", "turns", "leak"}
    assert wanted <= {path.stem for path in tables}
    for path in tables:
        table = records.read(path)
        if path.stem == "leak":  # of editors of its own
            each = table.groupby(["training_seed", "leak"])["weights"]
            assert each.nunique().eq(1).all() and table["weights"].nunique() == each.ngroups
        elif path.stem in ("carries", "swaps"):  # two trainings
            of_first = table["training_seed"] == 0
            assert table.loc[of_first, "weights"].str.startswith(weights).all()
            assert table["weights"].nunique() == 2
        elif path.stem not in ("attention_cost", "editors_cost"):  # of random weights
            assert all(w.startswith(weights) for w in table["weights"].unique()), path.name


def test_the_data_page_names_every_table():
    said = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    tables = sorted(path.name for path in (ROOT / "data" / "results").glob("*.csv"))
    assert tables and not [name for name in tables if f"`{name}`" not in said]
