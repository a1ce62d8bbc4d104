"""The front door: what three kinds of users write, on stock pipelines, without a second import."""

import doctest
import os
import re
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from PIL import Image

import cirp
from cirp.attention.control import controlled
from cirp.attention.maps import word_map
from cirp.attention.record import Record
from cirp.attention.site import NEITHER, TEXT
from cirp.data.images import as_mask, as_picture
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import decode
from cirp.methods import METHODS
from cirp.paths import ROOT
from tests.conftest import painted
from tests.tiny import tiny_ip2p, tiny_sd, tiny_xl_pair

mpl.use("Agg")
HOW = dict(num_inference_steps=2, output_type="pil")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pipelines():
    editor, painter = tiny_xl_pair()
    text = tiny_sd()
    again = StableDiffusionImg2ImgPipeline(**text.components, requires_safety_checker=False)
    again.set_progress_bar_config(disable=True)
    picture = painted(64, 64)
    return {
        "Stable Diffusion": (text, {}),
        "image to image": (again, {"image": picture, "strength": 1.0}),
        "InstructPix2Pix": (tiny_ip2p(), {"image": picture}),
        "SDXL": (painter, {"height": 64, "width": 64}),
        "SDXL InstructPix2Pix": (editor, {"image": picture, "height": 64, "width": 64}),
    }


@pytest.fixture(scope="module", params=["Stable Diffusion", "image to image", "InstructPix2Pix",
                                        "SDXL", "SDXL InstructPix2Pix"])  # fmt: skip
def stock(request):
    return pipelines()[request.param]


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_a_word_map_is_the_recorders_on_every_stock_pipeline(stock, guidance):
    pipe, more = stock
    if "image" in more and pipe.unet.config.in_channels == 8:
        more = {**more, "image": [more["image"]]}
    how = {**HOW, **more, "guidance_scale": guidance}
    with cirp.record(pipe) as rec:
        made = pipe(["make the cat red"], generator=seeded(), **how).images
    assert rec.images == 1 and rec.words() == ["make", "the", "cat", "red"]
    heat = rec.word_map("cat")
    assert heat.dtype == np.float32 and heat.shape == made[0].size[::-1] == rec.size()
    record = Record()
    with controlled(pipe.unet, record):
        pipe(["make the cat red"], generator=seeded(), **how)
    mine = word_map(record, pipe.tokenizer, "make the cat red", "cat", size=rec.size())
    np.testing.assert_allclose(heat, mine.numpy(), atol=1e-6)
    total = rec.token_maps().sum(axis=0)
    np.testing.assert_allclose(total, 1, atol=1e-4)
    special = sum(rec.word_map(name) for name in ("begin", "end", "padding"))
    words = rec.token_maps(size=rec.size())[1:5].sum(axis=0)
    np.testing.assert_allclose(special + words, 1, atol=1e-3)


def test_each_image_of_a_batch_has_its_prompt_and_several_calls_add_up():
    pipe = tiny_sd()
    with cirp.record(pipe) as rec:
        pipe(["a cat", "a red dog"], num_images_per_prompt=2, generator=seeded(), **HOW)
        pipe("a hat", generator=seeded(), **HOW)
    assert rec.images == 5 and len(rec.pictures) == 5
    assert [rec.prompt(i) for i in range(5)] == ["a cat"] * 2 + ["a red dog"] * 2 + ["a hat"]
    assert rec.word_map("dog", image=3).shape == (64, 64)
    with pytest.raises(ValueError, match="'dog' is not in 'a cat'; its words are a, cat"):
        rec.word_map("dog")
    with pytest.raises(ValueError, match="image 5 was not recorded"):
        rec.word_map("hat", image=5)


def test_embeddings_have_tokens_and_no_words():
    pipe = tiny_sd()
    states, negative = pipe.encode_prompt("a cat", "cpu", 1, True)
    with cirp.record(pipe) as rec:
        pipe(prompt_embeds=states, negative_prompt_embeds=negative, generator=seeded(), **HOW)
    assert rec.token_maps().shape[0] == pipe.tokenizer.model_max_length
    for word in ("cat", "end", "padding"):
        with pytest.raises(ValueError, match="embeddings, or by another pipeline"):
            rec.word_map(word)


def test_what_was_not_meant_is_said():
    pipe = tiny_sd()
    with cirp.record(pipe, branches=(TEXT, NEITHER)) as rec:
        pass
    for act in (lambda: rec.word_map("cat"), lambda: rec.save("x.npz"), lambda: rec.plot("cat")):
        with pytest.raises(ValueError, match="within `with cirp.record.pipe. as rec:`"):
            act()
    with cirp.record(pipe, branches=(TEXT, NEITHER)) as rec:
        pipe("a red cat", negative_prompt="a dog", generator=seeded(), **HOW)
    for act, words in (
        (lambda: rec.word_map("cat", branch=NEITHER), "only the text branch"),
        (lambda: rec.word_map(["a", "cat"]), "use word_maps for several"),
        (lambda: rec.word_map("cat", layers="up"), "give a list of names"),
        (lambda: rec.word_map("cat", time=0), "give times='step'"),
        (lambda: rec.word_map("cat", heads=0), "heads=0; give a list, such as .0."),
        (
            lambda: rec.word_map("cat", cmap="jet"),
            "'cmap' chooses nothing; there are branch, layers, heads",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            act()
    assert set(rec.word_maps("cat")) == {"cat"}
    assert repr(rec) == "<Recording of 1 images: 'a red cat'>"
    with pytest.raises(TypeError, match="give its .instruct or .text"):
        with cirp.record(Models("x", tiny_ip2p(), pipe, "")):
            pass


def test_the_pipeline_is_left_as_it_was(tmp_path):
    pipe = tiny_sd()
    plain = pipe("a cat", generator=seeded(), **HOW).images[0]
    kept = set(vars(pipe)), set(vars(pipe.image_processor)), dict(pipe.unet.attn_processors)
    with cirp.record(pipe) as rec:
        watched = pipe("a cat", generator=seeded(), **HOW).images[0]
    assert kept == (
        set(vars(pipe)), set(vars(pipe.image_processor)), dict(pipe.unet.attn_processors)
    )  # fmt: skip
    assert np.array_equal(np.asarray(plain), np.asarray(watched))
    rec.save(tmp_path / "maps.npz")
    with np.load(tmp_path / "maps.npz") as saved:
        np.testing.assert_array_equal(saved["maps_0"], rec.token_maps())
        assert saved["prompts"].tolist() == ["a cat"]
    with pytest.raises(ValueError, match="saved as .npz"):
        rec.save(tmp_path / "maps.png")


def test_a_plot_has_the_map_over_the_picture_and_a_bar():
    pipe = tiny_sd()
    with cirp.record(pipe) as rec:
        pipe("a red cat", generator=seeded(), **HOW)
    ax = rec.plot("cat")
    under, over = ax.images
    assert np.asarray(under.get_array()).shape[:2] == (64, 64)
    assert over.get_interpolation() == "bicubic" and over.colorbar is not None
    np.testing.assert_array_equal(over.get_array(), rec.word_map("cat"))
    assert len(rec.plot(["cat", "red", "padding"])) == 3


def test_the_ten_lines_of_the_design_run_as_they_stand(monkeypatch):
    """What a user of all three kinds writes, with stock diffusers' own loading."""
    from diffusers import StableDiffusionInstructPix2PixPipeline as P

    monkeypatch.chdir(ROOT)
    image = Image.open("data/edits/example-01/source.png").convert("RGB")
    text, mask = "change donut topping to chocolate", "data/edits/example-01/mask.png"
    pipe = P.from_pretrained("data/models/instruct-pix2pix")
    pipe.set_progress_bar_config(disable=True)
    with cirp.record(pipe) as rec:
        out = pipe(text, image=image, num_inference_steps=4, generator=torch.manual_seed(0)).images[
            0
        ]
    rec.plot("topping")
    heat = rec.word_map("topping")
    better = cirp.edit(pipe, image, text, method="remap", seed=0, steps=4)
    scores = cirp.score(image, better.image, mask=mask, vae=pipe.vae)
    assert heat.shape == out.size[::-1] == better.mask.size and scores["l1_inside"] > 0


def test_what_cannot_be_recorded_is_refused():
    with pytest.raises(TypeError, match="str has no unet"), cirp.record("sd"):
        pass


def array(image):
    return np.asarray(image).astype(int)


def test_equal_seeds_give_equal_pixels_here_and_in_diffusers(models):
    """To the pixel, whatever the scales: one seed is one picture."""
    picture, pipe = painted(), models.instruct
    for seed, text in ((0, 7.5), (3, 2.5)):
        mine = cirp.edit(pipe, picture, "make it red", method="ip2p", seed=seed, steps=4,
                         text_scale=text, image_scale=1.5, quiet=True)  # fmt: skip
        theirs = pipe("make it red", image=picture, num_inference_steps=4, guidance_scale=text,
                      image_guidance_scale=1.5, generator=seeded(seed)).images[0]  # fmt: skip
        assert np.array_equal(array(mine.image), array(theirs))


def test_an_edit_takes_a_pipeline_models_arrays_and_paths(models, tmp_path, capsys):
    picture = painted()
    picture.save(tmp_path / "x.png")
    path = tmp_path / "x.png"
    made = [
        cirp.edit(models, given, "make it red", method="ip2p", steps=2)
        for given in (picture, np.asarray(picture), path, str(path))
    ]
    assert all(np.array_equal(array(one.image), array(made[0].image)) for one in made)
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("ip2p (steps=2, text_scale=2.5, image_scale=1.5): 6 UNet rows")
    sd = models.text
    how = dict(source="a red car", method="p2p", steps=3, quiet=True)
    car = cirp.edit(sd, picture, "a blue car", **how)
    assert car.image.size == picture.size and car.settings["steps"] == 3


def test_a_mask_is_the_region(models):
    mask = np.zeros((64, 64), bool)
    mask[8:40, 8:40] = True
    made = cirp.edit(models, painted(), "make it red", method="wys", mask=mask, steps=2, quiet=True)
    assert np.array_equal(np.asarray(made.mask) > 127, mask)
    outside = array(made.image)[~mask]
    assert np.array_equal(outside, array(painted())[~mask])


REFUSED = {
    "method": (dict(method="remapp"), "did you mean 'remap'"),
    "setting": (dict(method="ip2p", stepz=3), "ip2p has no setting 'stepz'"),
    "no source": (dict(method="p2p"), "give source='a ...'"),
    "no region": (dict(method="ip2p", mask=np.ones((64, 64), bool)), "works without a region"),
    "size of the mask": (dict(method="wys", mask=np.ones((8, 8), bool)), "resize the mask"),
    "kind of mask": (dict(method="wys", mask=np.full((64, 64), 2.0)), "give booleans"),
    "empty": (dict(method="ip2p", text=" "), "text=' '; say what to do"),
    "seed": (dict(method="ip2p", seed=-1), "give a whole number"),
    "a caption unread": (dict(method="remap", source="a cat"), "reads no caption .* drop source="),
    "word": (dict(method="remap", words=["zebra"]), "'zebra' is not in"),
    "one word": (dict(method="foi", words="zebra"), "'zebra' is not in"),
    "diffusers' name": (dict(method="ip2p", guidance_scale=3.0), "did you mean 'text_scale'"),
    "an address": (dict(method="ip2p", image="https://x.org/a.png"), "addresses are not fetched"),
    "a folder": (dict(method="ip2p", image="."), "is a folder; give a picture"),
    "black mask": (dict(method="wys", mask=np.zeros((64, 64), bool)), "black everywhere"),
    "array": (dict(method="ip2p", image=np.zeros((9, 64, 64, 3))), "an array .height, width, 3."),
    "floats": (dict(method="ip2p", image=np.full((64, 64, 3), 255.0)), "255 to 255; give floats"),
    "no number": (dict(method="ip2p", image=np.full((64, 64, 3), np.nan)), "not finite"),
    "a tensor": (dict(method="ip2p", image=np.zeros((3, 64, 64))), "give x.permute"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_run_is_one_line(models, case):
    how, words = REFUSED[case]
    how = {"image": painted(), "text": "make it red", "quiet": True} | how
    with pytest.raises(ValueError, match=words) as error:
        cirp.edit(models, how.pop("image"), how.pop("text"), **how)
    assert len(str(error.value).splitlines()) == 1


def test_arrays_of_all_usual_kinds_are_the_same_picture_and_mask():
    picture, box = painted(), np.zeros((64, 64), bool)
    box[8:40, 8:40] = True
    pixels = np.array(picture)
    for given in (pixels / 255, (pixels / 255).astype(np.float32), torch.from_numpy(pixels)):
        assert np.array_equal(array(as_picture(np.asarray(given))), pixels)
    grey = pixels[..., 0]
    for given in (grey, grey[..., None], Image.fromarray(grey)):
        assert np.array_equal(array(as_picture(given)), np.stack([grey] * 3, -1))
    clear = np.dstack([pixels, np.zeros((64, 64), np.uint8)])
    assert (array(as_picture(clear)) == 255).all()
    as_bytes = box.astype(np.uint8)
    for given in (box, as_bytes, 255 * as_bytes, box.astype(float), box[..., None],
                  Image.fromarray(255 * as_bytes)):  # fmt: skip
        assert np.array_equal(as_mask(given, (64, 64)), box)


def test_a_heat_map_is_the_recorders_and_ignores_nothing(models):
    sd, editor = models.text, models.instruct
    with cirp.record(sd) as rec:
        sd("a red car", num_inference_steps=2, generator=seeded(3))
    found = cirp.heat_map(sd, None, "a red car", "car", seed=3, num_inference_steps=2)
    assert np.array_equal(found, rec.word_map("car"))
    with pytest.raises(ValueError, match="StableDiffusionPipeline takes no 'image'"):
        cirp.heat_map(sd, painted(), "a red car", "car")
    with pytest.raises(ValueError, match="takes no 'num_inference_step'"):
        cirp.heat_map(editor, painted(), "make it red", "red", num_inference_step=2)


def test_a_single_pipeline_of_the_wrong_kind_is_refused(models):
    with pytest.raises(ValueError, match="p2p runs a text-to-image pipeline"):
        cirp.edit(models.instruct, painted(), "a cat", source="a dog", method="p2p")
    with pytest.raises(ValueError, match="remap runs an InstructPix2Pix pipeline"):
        cirp.edit(models.text, painted(), "make it red")
    with pytest.raises(ValueError, match="cannot edit here"):
        cirp.edit(object(), painted(), "make it red")


def test_scores_by_hand(tmp_path):
    before = np.full((64, 64, 3), 100, np.uint8)
    after, mask = before.copy(), np.zeros((64, 64), bool)
    mask[16:48, 16:48] = True
    after[20:44, 20:44] = 151  # well inside the mask
    after[:2, :] = 110  # and a little at the border of the picture
    found = cirp.score(before, after, mask)
    inside, outside = 24 * 24 * 51 / 255, 2 * 64 * 10 / 255
    assert found["l1"] == pytest.approx((inside + outside) / 64**2, rel=1e-5)
    assert found["l1_inside"] > 0.1 > found["l1_outside"] > 0
    assert found.change_map.shape == (64, 64) and found.change_map[30, 30] == pytest.approx(0.2)
    assert not any("side" in name for name in cirp.score(before, after))
    Image.fromarray(after).save(tmp_path / "a.png")
    assert cirp.score(before, tmp_path / "a.png", mask) == found
    for how, words in (
        (dict(caption="a cat"), "give features"), (dict(vae=object()), "give mask"),
        (dict(vae=object(), mask=mask), "give an autoencoder, such as pipe.vae"),
        (dict(caption=" ", features="miniature"), "caption=' '; give one text"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            cirp.score(before, after, **how)
    with pytest.raises(ValueError, match="black everywhere"):
        cirp.score(before, after, np.zeros_like(mask))
    whole = cirp.score(before, after, np.ones_like(mask))
    assert "l1_outside" not in whole and whole["l1_inside"] == whole["l1"]
    assert not any(np.isnan(value) for value in whole.values())
    assert cirp.score(before, before)["psnr"] == np.inf
    with pytest.raises(ValueError, match="resize one of them"):
        cirp.score(before, after[:32])


def test_scores_of_models_are_added_when_they_are_asked_for(models):
    mask = np.zeros((64, 64), bool)
    mask[16:40, 16:40] = True
    one, other = painted(), painted(seed=1)
    found = cirp.score(one, other, mask, caption="a red car", features="miniature", vae=models.vae)
    assert {"clip_i", "dinov2", "clip_t", "l1_outside_excess"} <= set(found)
    assert all(isinstance(value, float) for value in found.values())
    same = cirp.score(one, one, features="miniature")
    assert same["clip_i"] == pytest.approx(1, abs=1e-5) and same["l1"] == 0


def test_the_names_are_there_before_they_are_read():
    code = (
        "import sys, time; began = time.perf_counter(); import cirp;"
        "taken = time.perf_counter() - began; assert taken < 0.2, taken;"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules;"
        "names = {'METHODS', 'edit', 'explore', 'heat_map', 'load', 'record', 'review', 'score',"
        " '__version__'}; assert names <= set(dir(cirp)); assert cirp.__version__;"
        "assert 'remap' in cirp.METHODS and 'torch' not in sys.modules;"
        "cirp.record, cirp.edit, cirp.score;"
        "ours = [m.__file__ for n, m in sys.modules.items() if n[:4] == 'cirp' and m.__file__];"
        "print(sum(len(open(f, encoding='utf-8').readlines()) for f in ours))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 5000


def test_examples_of_the_docstrings_run(monkeypatch):
    import cirp.api
    import cirp.data.edits
    import cirp.diffusion.pipelines

    monkeypatch.chdir(ROOT)
    for module, least in ((cirp.api, 8), (cirp.diffusion.pipelines, 2), (cirp.data.edits, 4)):
        found = doctest.testmod(module)
        assert found.attempted >= least and not found.failed


@pytest.mark.parametrize("name", sorted(cirp.__all__))
def test_public_functions_are_documented(name):
    public = getattr(cirp, name)
    if callable(public) and name not in ("explore", "review"):
        text = public.__doc__
        assert "Parameters\n" in text and "Examples\n" in text, name


COMMANDS = (
    "", "edit", "score", "curate", "review", "refine", "check", "explore", "book", "methods",
    "tables", "notebooks", "headline", "page-engine", "cost methods", "cost throughput",
    "cost attention", "miniature train", "miniature quality", "miniature leak",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_needs_no_torch(command):
    code = (
        "import sys; from cirp.cli import app\n"
        f"try: app({[*command.split(), '--help']!r}, prog_name='cirp')\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'diffusers', 'transformers', 'datasets'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert "Usage" in done.stdout


def test_users_commands_come_first():
    said = subprocess.run([sys.executable, "-m", "cirp", "--help"], capture_output=True,
                          text=True, check=True).stdout  # fmt: skip
    places = [said.index(f" {name} ") for name in ("edit", "score", "check", "explore", "tables")]
    assert places == sorted(places) and said.index("For the authors") < places[-1]


def test_each_option_is_explained():
    """A phrase of three words or more for each option and argument."""
    import typer.main

    from cirp.cli import app

    def commands(group, path=()):
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from commands(command, (*path, name))
            else:
                yield " ".join((*path, name)), command

    for name, command in commands(typer.main.get_command(app)):
        assert command.help and len(command.help.split()) >= 3, name
        for one in command.params:
            if not getattr(one, "hidden", False) and one.name != "help":
                assert len((one.help or "").split()) >= 3, (name, one.name, one.help)


def test_an_unknown_method_is_refused_before_torch_is_read():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "cirp", "edit", "x.png", "--method", "remep"],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 2 and "did you mean 'remap'" in done.stderr
    assert not re.search(r"\| +torch$", done.stderr, re.MULTILINE)


def test_methods_are_listed_and_read_one_by_one():
    assert list(METHODS)[0] == "ip2p" and len(METHODS) == 18 and "nothing" in METHODS
    assert METHODS["remap"].name == "remap"
    with pytest.raises(KeyError, match="there are ip2p"):
        METHODS["remapp"]
    assert "remap" in repr(METHODS)


def test_the_ten_lines_of_the_readme_run_as_they_stand(tmp_path):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", text, re.DOTALL)):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
            check=False, env={**os.environ, "MPLBACKEND": "Agg"},
        )  # fmt: skip
        assert done.returncode == 0, (number, done.stderr[-800:])
    assert number == 1 and len(text.splitlines()) <= 120


def test_a_photograph_and_unknown_words_are_named_before_the_miniature_edits(models, capsys):
    named = Models("miniature", models.instruct, models.text, "")
    large = painted(200, 150)
    made = cirp.edit(named, large, "make the zeppelin red", method="ip2p", steps=1)
    said = capsys.readouterr().err.splitlines()
    assert made.image.width == 64 and len(said) == 2
    assert "200x150 picture will come out coarse" in said[0] and "--models real" in said[0]
    assert said[1].endswith("never saw: zeppelin")
    cirp.edit(models, painted(), "make the zeppelin red", method="ip2p", steps=1)
    assert not capsys.readouterr().err  # models of one's own have words of their own


def test_a_picture_of_nan_is_refused(models):
    latents = torch.full((1, 4, 8, 8), float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        decode(latents, models)
