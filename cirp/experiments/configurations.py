"""Every system that keeps an edit local, with the settings it is compared at.

Strides are in latent cells: the papers' "16 x 16 of 64 x 64 latents" is stride 4. The miniature's
latents are 16 x 16, so what is coarse there would be a handful of cells here; one level finer is
taken throughout, and said so. Over these lies what `cirp search` chose on validation edits.
"""

import json
import os
from collections.abc import Mapping

from cirp.paths import RESULTS

STEPS = 20  # the chapter on sweeps shows what that costs against 150

BASELINE = "InstructPix2Pix"
TRUTH = "latent blending, true mask"
OURS = "remap (ours)"

Methods = Mapping[str, tuple[str, Mapping]]
CHOSEN = RESULTS / "chosen.json"


def searched() -> dict[str, dict]:
    """Each contender's own settings as they were chosen; none before the first search."""
    if not CHOSEN.exists():
        return {}
    found = json.loads(CHOSEN.read_text())
    return {
        name: {k: tuple(v) if isinstance(v, list) else v for k, v in own.items()}
        for name, own in found.items()
    }


def choose(chosen: Mapping[str, dict]) -> None:
    """Write the choice that a search led to; beside, then moved."""
    half = CHOSEN.with_suffix(".tmp")
    half.write_text(json.dumps(dict(chosen), indent=2) + "\n")
    os.replace(half, CHOSEN)


def found(steps: int = STEPS, *, chosen: Mapping[str, dict] | None = None) -> Methods:
    """Each from the instruction's words alone: it finds its own region."""
    chosen = searched() if chosen is None else chosen
    plain = {
        BASELINE: ("ip2p", dict(steps=steps)),
        # maps are diffuse on so small a latent: the paper's 0.3 would take the whole picture
        "Prompt-to-Prompt": ("p2p", dict(steps=steps, threshold=0.75, strides=(2,))),
        "FoI (re-implementation)": ("foi", dict(steps=steps, look_steps=steps // 2)),
        "LIME": (
            "lime",
            dict(steps=steps, look_steps=steps // 3, reg_strides=(1, 2), feature_strides=(1, 2)),
        ),
        "DenseDiffusion": ("dense", dict(steps=steps, look_steps=steps // 2)),
        "attention refocusing": (  # the paper's step size barely moves latents as small as these
            "refocus",
            dict(steps=steps, look_steps=steps // 2, stride=2, step_size=(100.0, 60.0)),
        ),
        "ASG": ("asg", dict(steps=steps, look_steps=steps // 5)),
        "LEDITS++ mask": ("ledits", dict(steps=steps)),
        "LOCATEdit mask": ("locatedit", dict(steps=steps, look_steps=steps // 2, self_stride=1)),
        "ZONE mask": ("zone", dict(steps=steps, look_steps=steps // 2)),
        "Watch Your Steps": ("wys", dict(steps=steps)),
        "DiffEdit": ("diffedit", dict(steps=steps)),
        "latent blending, words' mask": ("blending", dict(steps=steps, look_steps=steps // 2)),
        OURS: ("remap", dict(steps=steps)),
    }
    return {
        name: (method, {**settings, **chosen.get(name, {})})
        for name, (method, settings) in plain.items()
    }


def told(steps: int = STEPS) -> Methods:
    """The same, each told the true region: what is left is the error of editing, not of finding."""
    methods = {
        f"{name}, true mask": (method, {**settings, "region": "given"})
        for name, (method, settings) in found(steps).items()
        if method not in ("ip2p", "blending")
    }
    return {TRUTH: ("blending", dict(steps=steps, region="given")), **methods}


def ideas(steps: int = STEPS) -> Methods:
    """remap with one of its parts changed at a time: what each part is worth, or costs."""
    method, settings = found(steps)[OURS]
    tried = {
        "remap as it is": {},
        "change of the prediction alone": dict(weight=0.0),
        "what attention writes alone": dict(weight=1.0),
        "noise drawn once, not four times": dict(draws=1),
        "never the whole picture": dict(scope=None),
        "a wider region": dict(grow=0.7),
        "a narrower region": dict(grow=1.4),
        "attention not remapped": dict(remap=False),
        "source not pasted": dict(paste=False),
        "told the true region": dict(region="given"),
    }
    return {name: (method, {**settings, **own}) for name, own in tried.items()}


def controls(steps: int = STEPS) -> Methods:
    """What any spatial method must beat: nothing, the round trip, its own dose without place."""
    return {
        "do nothing": ("nothing", {}),
        "autoencoder alone": ("round trip", {}),
        "ASG, each map its own mean": ("asg", {**found(steps)["ASG"][1], "flat": True}),
    }
