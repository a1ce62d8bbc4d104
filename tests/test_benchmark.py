"""The benchmark holds everything once, and its slice is the beginning of the whole."""

import pytest

from cirp.experiments import benchmark, cache, configurations
from cirp.miniature import export


def test_every_contender_the_yardstick_and_the_controls_are_in_it():
    held = benchmark.methods()
    assert set(configurations.found()) | set(configurations.controls()) < set(held)
    assert {configurations.TRUTH, benchmark.TOLD} <= set(held)
    for method, settings in held.values():
        cache.completed(method, settings)


def test_the_slice_is_drawn_as_the_first_of_the_whole(tmp_path):
    few = export.drawn("test", 2, tmp_path)
    more = export.drawn("test", 3, tmp_path)
    for name in ("source.png", "target.png", "mask.png"):
        for item in ("test-0000", "test-0001"):
            assert (few / item / name).read_bytes() == (more / item / name).read_bytes()
    assert export.drawn("test", 2, tmp_path) == few


def test_a_wrong_share_is_refused_before_anything_is_loaded():
    with pytest.raises(ValueError, match="shard=2 of 2; give 0 to 1"):
        benchmark.fill(shard=2, shards=2)
    with pytest.raises(ValueError, match="count=0"):
        benchmark.fill(count=0)


def test_a_drawing_that_was_cut_off_is_drawn_again(tmp_path):
    (tmp_path / "test-1" / "test-0000").mkdir(parents=True)
    folder = export.drawn("test", 1, tmp_path)
    assert (folder / "metadata.jsonl").exists() and (folder / "test-0000/source.png").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["test-1"]
