"""Editors of today behind one protocol: their own pipelines' pixels, and every method's parts."""

import json

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxKontextPipeline, FluxPipeline
from diffusers.pipelines.qwenimage import (
    pipeline_qwenimage_edit,
    pipeline_qwenimage_edit_plus,
)

import cirp
from cirp import cli
from cirp.api import as_models
from cirp.attention.site import IMAGE, NEITHER, TEXT
from cirp.diffusion.editors import EDITORS, Editor, JointEditor, editor_of
from cirp.diffusion.sampling import State, clean_guess, mixture, with_noise
from cirp.diffusion.tasks import Task
from cirp.editing import constraints
from cirp.editing.driver import EditorRun, begin_edit
from cirp.editing.first_pass import outputs
from cirp.experiments.tiny_editors import tiny_dreamlite, tiny_flux, tiny_qwen
from cirp.explorer.by_name import names_for, run_method
from cirp.explorer.messages import scores_of
from cirp.explorer.runs import Request, names_of, run
from cirp.methods import METHODS, remap, wys
from cirp.paths import ROOT
from tests.conftest import Blank, painted
from tests.test_explorer import Said
from tests.tiny import tiny_ip2p

SAID, STEPS = "make the hat red", 3
# how each is called by hand, and the rows of one step of its own guidance
STOCK = {
    "DreamLite": (tiny_dreamlite, dict(guidance_scale=3.5, image_guidance_scale=1.5), 3),
    "Qwen": (tiny_qwen, dict(negative_prompt=" ", true_cfg_scale=4.0), 2),
    "Kontext": (
        lambda: tiny_flux(FluxKontextPipeline),
        dict(guidance_scale=3.5, max_area=256, _auto_resize=False),
        1,
    ),
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Qwen-Image-Edit brings every input to a million pixels; here to sixteen by sixteen."""
    monkeypatch.setattr(pipeline_qwenimage_edit, "calculate_dimensions", lambda *_: (16, 16, None))


@pytest.fixture(params=STOCK)
def known(request):
    """An editor's models, its call by hand, and its rows a step."""
    make, call, rows = STOCK[request.param]
    models = as_models(make())
    models.editor.resolution = 16
    return models, call, rows


def pixels(image):
    return np.asarray(image).astype(int)


def task(**more):
    return Task(painted(16, 16), SAID, None, 0, key=None, **more)


def test_an_edit_has_the_pixels_of_the_editors_own_pipeline(known):
    models, call, rows = known
    stock = models.instruct(
        prompt=SAID, image=painted(16, 16), num_inference_steps=STEPS, height=16, width=16,
        generator=torch.Generator().manual_seed(0), **call,
    ).images[0]  # fmt: skip
    made = cirp.edit(models, painted(16, 16), SAID, method="ip2p", steps=STEPS, quiet=True)
    assert np.array_equal(pixels(made.image), pixels(stock))
    assert made.unet_calls == rows * STEPS
    other = cirp.edit(models, painted(16, 16), SAID, method="ip2p", steps=STEPS, seed=1, quiet=True)
    assert not np.array_equal(pixels(other.image), pixels(stock))


def test_its_own_steps_and_scales_are_the_defaults(known):
    models, _, _ = known
    for name, value in models.editor.defaults.items():
        made = METHODS["ip2p"].configured()
        assert getattr(cirp.api.best_for(models, METHODS["ip2p"], made), name) == value


def test_remap_and_watch_your_steps_change_nothing_outside_of_a_given_region(known):
    models, _, rows = known
    mask = np.zeros((16, 16), bool)
    mask[:8, :8] = True
    plain = cirp.edit(models, painted(16, 16), SAID, method="ip2p", steps=STEPS, quiet=True)
    for name in ("remap", "wys"):
        made = cirp.edit(
            models, painted(16, 16), SAID, method=name, mask=mask, steps=STEPS, quiet=True
        )
        assert np.array_equal(pixels(made.image)[~mask], pixels(painted(16, 16))[~mask])
        assert not np.array_equal(pixels(made.image)[mask], pixels(painted(16, 16))[mask])
    assert not np.array_equal(pixels(plain.image)[~mask], pixels(painted(16, 16))[~mask])
    found = cirp.edit(models, painted(16, 16), SAID, method="wys", steps=STEPS, quiet=True)
    assert found.unet_calls == rows * STEPS + max(rows, 2)  # one call to compare with and without


def test_remap_looks_at_the_prediction_the_foreseen_picture_and_what_attention_writes(known):
    models, _, _ = known
    start = begin_edit(models, [task()])
    own = remap.Settings(steps=STEPS)
    seen = remap.look_at(models, [task()], own)
    assert all(getattr(seen, name).shape == (1, *start.grid) for name in remap.SIGNS)
    states: list[State] = []
    run_ = EditorRun(models, [task()], start, contrast=True, **own.guidance)
    with outputs(models.editor.network, models.editor.writes) as kept:
        run_.until(1, states.append)
    said, plain = (states[0].predictions[branch] for branch in (TEXT, IMAGE))
    torch.testing.assert_close(seen.change, (said - plain).abs().mean(dim=1))
    foreseen = (states[0].latents - said - start.clean).abs().mean(dim=1)  # all noise: sigma is 1
    torch.testing.assert_close(seen.foreseen, foreseen, rtol=1e-4, atol=1e-5)
    assert len(kept) > 1 and (seen.written > 0).all()


def test_outside_attention_writes_what_it_writes_without_the_text(known):
    """The first layer mixes the text's rows by cell of the target; no other row changes."""
    models, _, _ = known
    editor, start = models.editor, begin_edit(models, [task()])
    masks = torch.zeros(1, *start.grid)
    masks[:, : start.grid[0] // 2] = 1
    first = {}
    for name in ("plain", "kept"):
        run_ = EditorRun(models, [task()], start, steps=STEPS, contrast=True)
        held = constraints.written_outside(editor, masks) if name == "kept" else torch.no_grad()
        with held, outputs(editor.network, editor.writes) as seen:
            run_.until(1)
        out = next(iter(seen.values()))
        first[name] = editor.target(editor.picture(out, start.grid), start.grid)
    plain, kept = first["plain"], first["kept"]
    inside = constraints.at(masks, plain.shape[1:3])[..., None]
    torch.testing.assert_close(kept[:1], plain[1:2] + inside * (plain[:1] - plain[1:2]))
    torch.testing.assert_close(kept[1:], plain[1:])
    assert not torch.allclose(plain[:1], plain[1:2])
    with pytest.raises(ValueError, match="of all tokens, not of some"):
        remap.edit(models, [task()], steps=STEPS, tokens="end", progress=False)


def test_a_reference_beside_the_target_is_held_as_the_target_is():
    weights = torch.arange(4.0).reshape(1, 2, 2)
    wide = editor_of(tiny_dreamlite())
    assert wide.spread(weights).tolist() == [[0, 1, 0, 1, 2, 3, 2, 3]]
    assert JointEditor.spread(wide, weights).tolist() == [[0, 1, 2, 3, 0, 1, 2, 3]]
    cells = torch.arange(8.0).reshape(1, 8, 1)
    assert wide.target(cells, (2, 2))[..., 0].tolist() == [[[0, 1], [4, 5]]]
    joint = editor_of(tiny_qwen())
    assert joint.target(cells, (4, 4))[..., 0].tolist() == [[[0, 1], [2, 3]]]
    single = torch.arange(11.0).reshape(1, 11, 1)  # three tokens of text, then eight cells
    seen = joint.picture(single, (4, 4))
    assert seen.flatten().tolist() == list(range(3, 11))
    back = joint.with_picture(single, -seen, (4, 4))
    assert back.flatten().tolist() == [0, 1, 2, *(-n for n in range(3, 11))]


def test_packing_is_diffusers_own():
    x = torch.randn(1, 4, 6, 8)
    ours = JointEditor.pack(x)
    assert torch.equal(ours, FluxPipeline._pack_latents(x, 1, 4, 6, 8))
    assert torch.equal(JointEditor.unpack(ours, (6, 8)), x)


def test_flow_matching_is_mixed_and_foreseen():
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(4)
    clean, noise = torch.randn(2, 1, 4, 2, 2)
    time = scheduler.timesteps[2]
    signal, share = mixture(scheduler, float(time))
    assert share == pytest.approx(float(scheduler.sigmas[2])) and signal == pytest.approx(1 - share)
    mixed = with_noise(scheduler, clean, noise, time[None])
    torch.testing.assert_close(mixed, signal * clean + share * noise)
    state = State(2, float(time), mixed, {}, noise - clean, mixed)
    torch.testing.assert_close(clean_guess(scheduler, state), clean, rtol=1e-4, atol=1e-5)


def test_a_scale_that_is_told_to_the_network_reaches_it():
    """Kontext's guidance is an input; without guidance embeddings it does nothing, as in stock."""
    models = as_models(tiny_flux(FluxKontextPipeline))
    models.editor.resolution = 16
    seen = []
    network = models.editor.network
    network.register_to_config(guidance_embeds=True)

    def hook(_, given, kwargs):
        seen.append(kwargs["guidance"].tolist())
        kwargs["guidance"] = None  # this tiny network has no place for it
        return given, kwargs

    network.register_forward_pre_hook(hook, with_kwargs=True)
    cirp.edit(models, painted(16, 16), SAID, method="ip2p", steps=1, text_scale=6.0, quiet=True)
    assert seen == [[6.0]]


def test_a_scale_that_would_do_nothing_is_refused_and_not_printed(known, capsys):
    models, _, rows = known
    call = dict(method="ip2p", steps=1)
    if rows == 3:
        cirp.edit(models, painted(16, 16), SAID, image_scale=2.0, **call)
        assert "image_scale=2.0" in capsys.readouterr().out
        return
    with pytest.raises(ValueError, match=r"image_scale=2.0 would do nothing: a .* drop it"):
        cirp.edit(models, painted(16, 16), SAID, image_scale=2.0, **call)
    cirp.edit(models, painted(16, 16), SAID, **call)
    assert "image_scale" not in capsys.readouterr().out


def test_any_editors_autoencoder_gives_its_own_error(known):
    models, _, _ = known
    mask = np.zeros((16, 16), bool)
    mask[:8] = True
    found = cirp.score(painted(16, 16), painted(16, 16), mask, vae=models.vae)
    assert found["l1_outside"] == 0 > found["l1_outside_excess"]


def test_methods_that_read_cross_attention_are_refused_before_anything_runs(known):
    models, _, _ = known
    left = [name for name, one in METHODS.items() if not one.any_editor]
    assert {"lime", "foi", "blending", "held"} <= set(left)
    for name in left:
        source = dict(source="a hat") if name in ("p2p", "diffedit") else {}
        with pytest.raises(ValueError, match="on a .* choose ip2p|runs a text-to-image pipeline"):
            cirp.edit(models, painted(16, 16), SAID, method=name, quiet=True, **source)
    assert set(names_for(models)) == {"wys", "remap"}


def test_an_edit_is_recorded_as_its_own_pipelines_is(known):
    models, call, _ = known
    pipe, size = models.instruct, dict(height=16, width=16)
    with cirp.record(pipe) as ours:
        cirp.edit(models, painted(16, 16), SAID, method="ip2p", steps=STEPS, quiet=True)
    with cirp.record(pipe) as theirs:
        pipe(
            prompt=SAID, image=painted(16, 16), num_inference_steps=STEPS, **size, **call,
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
    assert ours.images == theirs.images == 1
    assert ours.prompt() == theirs.prompt() == SAID and ours.size() == theirs.size() == (16, 16)
    np.testing.assert_allclose(ours.word_map("hat"), theirs.word_map("hat"), rtol=1e-4, atol=1e-6)
    with cirp.record(pipe) as held:
        cirp.edit(models, painted(16, 16), SAID, steps=STEPS, quiet=True)
    assert held.word_map("hat").shape == (16, 16)


def test_the_explorer_shows_the_maps_of_an_editors_words(known):
    models, _, _ = known
    request = Request(item="0", instruction=SAID, steps=STEPS, text_scale=3.5)
    names = names_of(models, SAID)
    assert names[0] == "begin" and names[-1] == "end"
    assert "".join(names[1:-1]) == SAID.replace(" ", "")
    seen = []
    made = run(models, task(), request, on_step=seen.append)
    (theirs,) = METHODS["ip2p"](
        models, [task()], steps=STEPS, text_scale=3.5, image_scale=1.5, progress=False
    )
    assert made.tobytes() == theirs.image.tobytes() and len(seen) == STEPS
    maps = seen[-1].maps
    tokens = {one.shape[2] for one in maps.values()}
    assert tokens == {len(names) + 1}  # and padding
    assert all((one >= 0).all() and one.sum(axis=2).max() < 1.001 for one in maps.values())
    edit = run_method(models, task(), Request(**{**request.model_dump(), "method": "remap"}))
    assert edit.method == "remap" and edit.image.size == (16, 16)
    assert run(models, task(), request, cancelled=lambda: True) is None
    stopped = iter([False] * 3 + [True] * 99)
    assert run(models, task(), request, cancelled=lambda: next(stopped)) is None
    for more, said in (
        (dict(factors={1: 0.0}), "can be seen, not muted"),
        (dict(strength=0.5), "no edit without its source"),
    ):
        with pytest.raises(ValueError, match=said):
            run(models, task(), Request(**{**request.model_dump(), **more}))


def test_the_explorers_widget_runs_an_editor(known, items):
    models, _, _ = known
    said = Said(models, items)
    assert set(said.explorer.methods) == {"ip2p", "wys", "remap"}
    assert said.ask("tokens").kinds("tokens") == ["tokens"]
    assert said.messages[0][0]["tokens"][0] == "begin"
    said.messages.clear()
    assert said.ask("run").kinds("done") == ["begin", "step", "step", "done"]
    assert said.messages[1][0]["layers"] and said.messages[1][1][1][:4] == b"\x89PNG"
    said.messages.clear()
    assert "done" in said.ask("run", method="remap").kinds("done")
    said.messages.clear()
    said.ask("region").kinds("region")
    said.messages.clear()
    said.ask("run", factors={1: 0.0}).kinds("error")
    assert "can be seen, not muted" in said.messages[-1][0]["text"]
    item = items[0].at((16, 16))
    found = scores_of(models, item, painted(16, 16), Blank(), {"ssim_source": "SSIM"})
    assert 0 < found["SSIM"] <= 1


def test_an_editor_is_loaded_by_its_folder_and_by_the_command_line(tmp_path, monkeypatch, capsys):
    place = tmp_path / "kontext"
    tiny_flux(FluxKontextPipeline).save_pretrained(place)
    monkeypatch.setattr(JointEditor, "resolution", 16)
    picture = tmp_path / "in.png"
    painted(16, 16).save(picture)
    models = cirp.load(str(place))
    assert models.text is models.instruct and models.editor.joint and not models.is_miniature
    made = cirp.edit(models, picture, SAID, steps=2, quiet=True)
    out = tmp_path / "out.png"
    with pytest.raises(SystemExit) as left:
        cli.app(["edit", str(picture), SAID, "--models", str(place), "--out", str(out),
                  "--set", "steps=2"])  # fmt: skip
    assert not left.value.code, capsys.readouterr()
    assert "remap (steps=2, text_scale=3.5" in capsys.readouterr().out
    with cirp.record(models.instruct) as rec:
        cirp.edit(models, picture, SAID, steps=2, quiet=True)
    assert out.is_file() and made.image.size == (16, 16) and rec.images >= 1
    (place / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ValueError, match="transformer cannot be loaded"):
        cirp.load(str(place))


def test_one_pipeline_of_stable_diffusions_kind_needs_no_safety_checker(tmp_path):
    """Hub models name one, of a library that is none."""
    place = tmp_path / "instruct"
    tiny_ip2p().save_pretrained(place)
    index = json.loads((place / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    (place / "model_index.json").write_text(json.dumps(index))
    models = cirp.load(str(place))
    assert models.editor.controllable and models.text is models.instruct
    assert cirp.edit(models, painted(64, 64), SAID, steps=1, quiet=True).image.size == (64, 64)


def test_a_part_with_code_of_its_own_is_not_run(tmp_path):
    place = tmp_path / "kontext"
    tiny_flux(FluxKontextPipeline).save_pretrained(place)
    index = place / "model_index.json"
    text = index.read_text()
    index.write_text(text.replace('"diffusers",\n    "FluxTrans', '"mine",\n    "FluxTrans'))
    with pytest.raises(ValueError, match=r"transformer is code of its own \(mine\)"):
        cirp.load(str(place))
    index.write_text(text.replace("FluxKontextPipeline", "FluxPipeline"))
    with pytest.raises(ValueError, match="is a FluxPipeline; give one of DreamLite"):
        cirp.load(str(place))


def test_what_is_no_editor_is_refused():
    with pytest.raises(ValueError, match="a FluxPipeline cannot edit here; give one of .*Kontext"):
        cirp.edit(tiny_flux(), painted(), SAID)
    plain = editor_of(tiny_ip2p())
    assert plain.branches == (TEXT, IMAGE, NEITHER) and plain.controllable
    assert set(STOCK) <= {kind.__name__.removesuffix("ImageEdit") for kind in EDITORS.values()}
    said = {branch: torch.full((1, 1, 1, 1), float(branch)) for branch in (TEXT, IMAGE)}
    found = Editor(None).guided(said, text_scale=2.0, image_scale=9.0)
    assert found.item() == 1 + 2 * (0 - 1)  # without the third row image guidance is 1
    assert wys.edit.any_editor


def test_the_editor_of_the_page_has_its_own_pipelines_pixels(monkeypatch):
    """The class that *Add an editor* writes, taken from the page."""
    page = (ROOT / "notebooks" / "23_add_an_editor.py").read_text(encoding="utf-8")
    (cell,) = [one for one in page.split("# %%") if "@editor(" in one]
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "calculate_dimensions", lambda *_: (16, 16))
    kept = dict(EDITORS)
    try:
        exec(cell, {})
        models = as_models(tiny_qwen(pipeline_qwenimage_edit_plus.QwenImageEditPlusPipeline))
        models.editor.resolution = 16
        made = cirp.edit(models, painted(16, 16), SAID, method="ip2p", steps=STEPS, quiet=True)
        with cirp.record(models.instruct) as rec:
            stock = models.instruct(
                prompt=SAID, image=painted(16, 16), num_inference_steps=STEPS, height=16, width=16,
                generator=torch.Generator().manual_seed(0), negative_prompt=" ",
            ).images[0]  # fmt: skip
        assert rec.word_map("hat").shape == (16, 16)
    finally:
        EDITORS.clear()
        EDITORS.update(kept)
    assert np.array_equal(pixels(made.image), pixels(stock))
    folder = ROOT / "cirp" / "diffusion" / "editors"
    assert all(len(one.read_text().splitlines()) <= 80 for one in folder.glob("[!b_]*.py"))
