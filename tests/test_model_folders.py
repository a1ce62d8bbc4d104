"""Model folders as the world has them: each fault ends in one line, before an edit is made."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cirp.diffusion.pipelines import load, load_tokenizer, state_of
from tests.tiny import tiny_ip2p, tiny_sd

EDITOR = "instruct-pix2pix"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A folder with both models, as save_pretrained writes them."""
    folder = tmp_path_factory.mktemp("models")
    tiny_ip2p().save_pretrained(folder / EDITOR)
    tiny_sd().save_pretrained(folder / "text-to-image")
    return folder


@pytest.fixture
def copied(whole, tmp_path) -> Path:
    shutil.copytree(whole, tmp_path / "m")
    return tmp_path / "m"


def json_of(path: Path, change) -> None:
    known = json.loads(path.read_text())
    change(known)
    path.write_text(json.dumps(known))


def weights(path: Path, change) -> None:
    (file,) = path.glob("*.safetensors")
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def first(tensors: dict) -> str:
    return min(name for name, value in tensors.items() if value.is_floating_point())


def only_bin(folder: Path) -> None:
    (file,) = folder.glob("*.safetensors")
    torch.save(load_file(file), file.with_suffix(".bin"))
    file.unlink()


FAULTS = {
    "no class": (lambda m: json_of(m / "model_index.json", lambda j: j.pop("_class_name")),
                 "no _class_name"),
    "no vae": (lambda m: shutil.rmtree(m / "vae"), "not complete"),
    "missing in the UNet": (lambda m: weights(m / "unet", lambda t: t.pop(first(t))),
                            "has no weight"),
    "missing in the tower": (lambda m: weights(m / "text_encoder", lambda t: t.pop(first(t))),
                             "has no weight"),
    "only .bin": (lambda m: only_bin(m / "unet"), "give safetensors"),
    "too few token ids": (lambda m: json_of(m / "text_encoder/config.json",
                                            lambda j: j.update(vocab_size=10)), "knows 10 tokens"),
    "no tokenizer": (lambda m: shutil.rmtree(m / "tokenizer"), "no tokenizer.json"),
    "no merges": (lambda m: json_of(m / "tokenizer/tokenizer.json",
                                    lambda j: j["model"].pop("merges")), "no merges"),
    "tokenizer that is no JSON": (lambda m: (m / "tokenizer/tokenizer.json").write_text("x"),
                                  "not JSON"),
    "NaN": (lambda m: weights(m / "unet", lambda t: t[first(t)].fill_(float("nan"))), "NaN"),
    "scaling factor 0": (lambda m: json_of(m / "vae/config.json",
                                           lambda j: j.update(scaling_factor=0)),
                         "scaling_factor is 0"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_one_line_says_what_is_wrong(copied, fault):
    breaks, words = FAULTS[fault]
    breaks(copied / EDITOR)
    with pytest.raises(ValueError, match=words) as error:
        load_tokenizer(str(copied))
        load(str(copied))
    assert len(str(error.value).splitlines()) == 1


def test_a_missing_length_is_taken_from_the_text_tower(copied):
    json_of(
        copied / EDITOR / "tokenizer/tokenizer_config.json", lambda j: j.pop("model_max_length")
    )
    assert load_tokenizer(str(copied)).model_max_length == 77


def test_whole_folders_load_and_keep_their_state(whole):
    assert load(str(whole)).state == load(str(whole)).state


CHANGES = {
    "scaling factor": lambda m: json_of(m / "vae/config.json",
                                        lambda j: j.update(scaling_factor=0.5)),
    "head size": lambda m: json_of(m / "unet/config.json",
                                   lambda j: j.update(attention_head_dim=2)),
    "tokenizer": lambda m: json_of(m / "tokenizer/tokenizer_config.json",
                                   lambda j: j.update(model_max_length=20)),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_equal_weights_with_another_configuration_have_another_state(whole, copied, change):
    CHANGES[change](copied / EDITOR)
    one, other = load(str(whole)), load(str(copied))
    assert one.fingerprint == other.fingerprint and one.state != other.state


def test_what_is_changed_after_loading_changes_the_state():
    editor, text = tiny_ip2p(), tiny_sd()
    before = state_of(editor, text)
    editor.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    assert state_of(editor, text) != before
    editor.disable_freeu()
    assert state_of(editor, text) == before
    editor.tokenizer(["a", "a cat"], padding=True, truncation=True)
    assert state_of(editor, text) == before
    weight = editor.unet.conv_in.weight
    weight.data.flatten()[0] += 1e-3  # as fused LoRA weights are written: no version counts it
    assert state_of(editor, text) != before
    weight.data.flatten()[0] -= 1e-3
    editor.vae.register_to_config(scaling_factor=0.5)
    assert state_of(editor, text) != before


@pytest.mark.parametrize("part", ["vae", "text_encoder", "tokenizer"])
def test_a_part_that_the_second_model_lacks_is_never_taken_from_the_first(copied, part):
    shutil.rmtree(copied / "text-to-image" / part)
    with pytest.raises(ValueError, match=f"text-to-image.{part} has no"):
        load(str(copied))
