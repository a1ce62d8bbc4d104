"""Run in an empty folder with the installed wheel alone: ten lines, and the users' commands."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import cirp
from cirp import paths

assert not paths.IS_CHECKOUT, "this is the checkout, not the installed package"
assert not {"datasets", "openai", "spacy", "onnx"} & set(sys.modules)
example = paths.EDITS / "example-01"
models = cirp.load("miniature")
pipe, text = models.instruct, "change donut topping to chocolate"
image = Image.open(example / "source.png").convert("RGB")
with cirp.record(pipe) as rec:
    pipe(text, image=image, num_inference_steps=2, generator=torch.manual_seed(0))
assert rec.word_map("topping").shape == (64, 64)
rec.plot("topping").figure.savefig("map.png")
made = cirp.edit(pipe, image, text, method="ip2p", steps=2)
scores = cirp.score(image, made.image, example / "mask.png", vae=pipe.vae, features="miniature")
assert all(np.isfinite(list(scores.values())))


def command(*arguments, code=0):
    done = subprocess.run([sys.executable, "-m", "cirp", *map(str, arguments)], capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


command("edit", example / "source.png", text, "--out", "edited.png", "--set", "steps=2")
assert "l1_outside" in command("score", example / "source.png", "edited.png", "--mask",
                               example / "mask.png")  # fmt: skip
Path("outputs").mkdir()
made.image.save("outputs/example-01.png")
said = command("score", "--edits", paths.EDITS, "--outputs", "mine=outputs", "--out", "scores")
assert "mine: 1 of 10 outputs" in said and Path("scores/index.html").exists()
assert "needs the repository" in command("notebooks", code=2)
if "lab" in sys.argv:
    shown = cirp.explore(steps=2)
    assert len(shown.items) == 10 and Path("edited.png").exists()
else:
    assert "cirp[lab]" in command("explore", code=2)
print("the wheel works")
