"""Every system that keeps an edit local: the settings it is shown at, and the dial it is turned on.

Strides are in latent cells: the papers' "16 x 16 of 64 x 64 latents" is stride 4. The miniature's
latents are 16 x 16, so what is coarse there would be a handful of cells here; one level finer is
taken throughout, and said so. Nothing here was chosen on a test edit: on validation edits no pair
of scales is better by interval than the one that methods are shown at (`cirp tables guidance`), and
each method's own knob has three values around its paper's, named before any of them was measured.
"""

from collections.abc import Mapping

from cirp.methods import METHODS

STEPS = 20  # the chapter on sweeps shows what that costs against 150

BASELINE = "InstructPix2Pix"
NOISY = "noisy input"
TRUTH = "latent blending, true mask"
OURS = "remap (ours)"

Methods = Mapping[str, tuple[str, Mapping]]
TEXT_SCALE, IMAGE_SCALE = 2.5, 1.5  # as good as any on validation edits
TEXT = (TEXT_SCALE, 5.0)  # of a dial, beside that image scale
TEXT_ALONE = (4.0, 7.5)  # of methods that edit with the text-to-image model
PLANE = {"text_scale": (1.5, 2.5, 4.0, 7.5), "image_scale": (1.0, 1.5, 2.0, 2.5)}
# as many points of the baseline as a dial has
SCALES = ((1.5, 1.5), (2.5, 1.5), (2.5, 2.0), (4.0, 1.5), (4.0, 2.5), (7.5, 1.5))
# a tighter or weaker setting, the one a method is shown at, and a wider or stronger one
KNOBS: Mapping[str, tuple[dict, dict, dict]] = {
    NOISY: (dict(strength=0.4), dict(strength=0.55), dict(strength=0.7)),
    "Prompt-to-Prompt": (dict(self_replace=0.2), {}, dict(self_replace=0.8)),
    "FoI (re-implementation)": (dict(threshold=0.1), {}, dict(threshold=0.4)),
    "LIME": (dict(points=8), {}, dict(clusters=5)),
    "DenseDiffusion": (dict(cross_weight=0.5), {}, dict(cross_weight=2.0)),
    "attention refocusing": (  # the paper's step size barely moves latents as small as these
        dict(step_size=(30.0, 20.0)),
        dict(step_size=(100.0, 60.0)),
        dict(step_size=(300.0, 200.0)),
    ),
    # the miniature's maps are so even that the paper's 1.5 always abstains
    "ASG": ({}, dict(abstain=1.1), dict(abstain=1.1, high_image=2.5)),
    "LEDITS++ mask": (dict(quantile=0.5), dict(quantile=0.7), {}),
    "LOCATEdit mask": (dict(threshold=0.4), dict(threshold=0.5), dict(threshold=0.6)),
    "ZONE mask": (dict(threshold=0.4), {}, dict(threshold=0.6)),
    "Watch Your Steps": (dict(threshold=0.3), {}, dict(threshold=0.7)),
    "DiffEdit": (dict(threshold=0.3), {}, dict(threshold=0.7)),
    "latent blending, words' mask": (dict(threshold=0.3), {}, dict(threshold=0.6)),
    # what counts as changed at the end: the method's dial is its paste, not its first region
    OURS: (dict(low=16.0, high=36.0), {}, dict(low=4.0, high=12.0)),
}
SHOWN = (
    2  # place on a dial of the point that a method is shown at: its middle knob, its first scale
)


def _plain(steps: int) -> Methods:
    return {
        NOISY: ("noisy", dict(variant="text-to-image", steps=steps)),
        # maps are diffuse on so small a latent: the paper's 0.3 would take the whole picture
        "Prompt-to-Prompt": ("p2p", dict(steps=steps, threshold=0.75, strides=(2,))),
        "FoI (re-implementation)": ("foi", dict(steps=steps, look_steps=steps // 2)),
        "LIME": (
            "lime",
            dict(steps=steps, look_steps=steps // 3, reg_strides=(1, 2), feature_strides=(1, 2)),
        ),
        "DenseDiffusion": ("dense", dict(steps=steps, look_steps=steps // 2)),
        "attention refocusing": ("refocus", dict(steps=steps, look_steps=steps // 2, stride=2)),
        "ASG": ("asg", dict(steps=steps, look_steps=steps // 5)),
        "LEDITS++ mask": ("ledits", dict(steps=steps)),
        "LOCATEdit mask": ("locatedit", dict(steps=steps, look_steps=steps // 2, self_stride=1)),
        "ZONE mask": ("zone", dict(steps=steps, look_steps=steps // 2)),
        "Watch Your Steps": ("wys", dict(steps=steps)),
        "DiffEdit": ("diffedit", dict(steps=steps)),
        "latent blending, words' mask": ("blending", dict(steps=steps, look_steps=steps // 2)),
        OURS: ("remap", dict(steps=steps)),
    }


def dials(steps: int = STEPS) -> dict[str, list[tuple[str, dict]]]:
    """Of each method its points, three knobs by two scales; the baseline has as many."""
    found = {
        BASELINE: [("ip2p", dict(steps=steps, text_scale=t, image_scale=i)) for t, i in SCALES]
    }
    for name, (method, settings) in _plain(steps).items():
        fields = METHODS[method].settings.model_fields
        if "image_scale" in fields and method != "noisy":
            scales = [dict(text_scale=t, image_scale=IMAGE_SCALE) for t in TEXT]
        elif method == "noisy":
            scales = [dict(text_scale=t) for t in (7.5, 12.0)]  # the report's is the second
        else:
            scales = [dict(text_scale=t) for t in TEXT_ALONE]
        found[name] = [
            (method, {**settings, **knob, **scale}) for knob in KNOBS[name] for scale in scales
        ]
    return found


def plane(steps: int = STEPS) -> list[tuple[str, dict]]:
    """Return the baseline at every pair of its two guidance scales."""
    return [
        ("ip2p", dict(steps=steps, text_scale=t, image_scale=i))
        for t in PLANE["text_scale"]
        for i in PLANE["image_scale"]
    ]


def automatic(steps: int = STEPS) -> Methods:
    """Return each method at the setting it is shown at; it finds its region itself."""
    shown = {name: dial[SHOWN] for name, dial in dials(steps).items()}
    base = ("ip2p", dict(steps=steps, text_scale=TEXT_SCALE, image_scale=IMAGE_SCALE))
    return {**shown, BASELINE: base}


def with_true_region(steps: int = STEPS) -> Methods:
    """Return the same with the true region given: the errors left are of editing, not finding."""
    methods = {
        name: (method, {**settings, "region": "given"})
        for name, (method, settings) in automatic(steps).items()
        if "region" in METHODS[method].settings.model_fields and method != "blending"
    }
    blending = dict(steps=steps, region="given", text_scale=TEXT_SCALE, image_scale=IMAGE_SCALE)
    return {TRUTH: ("blending", blending), **methods}


def ideas(steps: int = STEPS) -> Methods:
    """remap with one of its parts changed at a time: what each part is worth, or costs."""
    method, settings = automatic(steps)[OURS]
    tried = {
        "remap as it is": {},
        "evidence: the change of the prediction alone": dict(signs=("change",)),
        "evidence: the foreseen picture alone": dict(signs=("foreseen",)),
        "evidence: what attention writes alone": dict(signs=("written",)),
        "never the whole picture": dict(scope=None),
        "a wider generous region": dict(grow=0.25),
        "a narrower generous region": dict(grow=0.75),
        "attention not remapped": dict(remap=False),
        "latents not constrained": dict(hold=False),
        "latents not constrained, attention not remapped": dict(remap=False, hold=False),
        "latents not constrained; attention remapped at end of text and padding": dict(
            hold=False, tokens="end"
        ),
        "latents not constrained; attention remapped at the words": dict(
            hold=False, tokens="words"
        ),
        "latents not constrained, attention not remapped; guidance gated": dict(
            hold=False, remap=False, gate=True
        ),
        "guidance gated, too": dict(gate=True),
        "source not pasted": dict(paste=False),
        "a looser paste": dict(low=5.0, high=12.0),
        "a tighter paste": dict(low=15.0, high=36.0),
        "image guidance to the end": dict(image_until=1.0),
        "given the true region": dict(region="given"),
        "half the blur": dict(sigma=0.5),
        "half more blur": dict(sigma=1.5),
        "half the distance that means the whole picture": dict(scope=0.14),
        "half more distance that means the whole picture": dict(scope=0.42),
        "image guidance in a quarter of the steps": dict(image_until=0.25),
        "image guidance in three quarters of the steps": dict(image_until=0.75),
    }
    return {name: (method, {**settings, **own}) for name, own in tried.items()}


# Constants of remap: the `ideas` in which each is half as large, and half as large again.
HALVES: Mapping[str, tuple[str, str]] = {
    "blur of the evidence": ("half the blur", "half more blur"),
    "threshold of the generous region": (
        "a wider generous region", "a narrower generous region",
    ),
    "distance that means the whole picture": (
        "half the distance that means the whole picture",
        "half more distance that means the whole picture",
    ),
    "change that counts as an edit": ("a looser paste", "a tighter paste"),
    "share of the steps with image guidance": (
        "image guidance in a quarter of the steps",
        "image guidance in three quarters of the steps",
    ),
}  # fmt: skip


PASTED = ", pasted by its own change"
FEWER = "InstructPix2Pix, fewer rows"


def shared(steps: int = STEPS) -> Methods:
    """What remap has and others could have: fewer rows, and pasting by the edit's own change."""
    known = automatic(steps)
    method, settings = known[BASELINE]
    pasted = {
        name + PASTED: (known[name][0], {**known[name][1], "paste_own": True})
        for name in (BASELINE, "Watch Your Steps", "ZONE mask", "DiffEdit")
    }
    return {FEWER: (method, {**settings, "image_until": 0.5}), **pasted}


def controls(steps: int = STEPS) -> Methods:
    """What any spatial method must beat: nothing, the round trip, its own dose without place."""
    return {
        "do nothing": ("nothing", {}),
        "autoencoder alone": ("round trip", {}),
        "ASG, each map its own mean": ("asg", {**automatic(steps)["ASG"][1], "flat": True}),
    }
