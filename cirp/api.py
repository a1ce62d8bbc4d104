"""The public functions: record attention, make an edit, score it. `cirp` exports them.

Nothing is decided here: each function checks what it was given and calls the rooms below.
"""

import inspect
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool
from PIL import Image

from cirp.attention.control import controlled
from cirp.attention.record import Record
from cirp.attention.site import NEITHER, TEXT
from cirp.attention.tokens import token_positions
from cirp.data.images import as_mask, as_picture
from cirp.diffusion.editors import EDITORS, editor_of
from cirp.methods import METHODS, check_name
from cirp.recordings import Map, Picture, Recording

if TYPE_CHECKING:
    import pandas as pd
    from diffusers import DiffusionPipeline

    from cirp.diffusion.pipelines import Models
    from cirp.diffusion.tasks import Edit
    from cirp.editing.method import Method, MethodSettings
    from cirp.joint_recordings import JointRecording
    from cirp.metrics.features import FeatureExtractor
    from cirp.metrics.repair import Kept

# The miniature's best, by validation edits, for methods that run each of its pipelines.
BEST = {
    "instruct": {"steps": 20, "text_scale": 2.5, "image_scale": 1.5},
    "text": {"steps": 20},
}


@contextmanager
def record(
    pipe: "DiffusionPipeline", *, times: Any = None, branches: Sequence[int] = (TEXT,)
) -> "Iterator[Recording | JointRecording]":
    """Record the attention of a diffusers pipeline to its text; its pictures stay as they are.

    Works on Stable Diffusion (text to image, image to image), InstructPix2Pix and their SDXL
    pipelines, with batches, several images per prompt, and guidance on or off; and on SD3, FLUX,
    FLUX Kontext and Qwen-Image (its editor, too), where text and picture share one softmax, and
    DreamLite, whose source stands beside the picture that is made.

    Parameters
    ----------
    pipe : diffusers.DiffusionPipeline
        The pipeline that is called within the block.
    times : "step" or sequence of float, optional
        Also keep maps of each step, or of each of the bins between these timesteps, which run from
        0 (clean) to 1000 (noise): (0, 250, 500, 750, 1000).
    branches : sequence of int
        Rows of guidance to keep: 0 with the text, 1 with the image alone (InstructPix2Pix), 2 with
        neither. By default the one with the text.

    Yields
    ------
    Recording or JointRecording
        Of `cirp.recordings` and `cirp.joint_recordings`; filled while this pipeline runs. Of SD3
        and FLUX a word has several maps, see there.

    Raises
    ------
    TypeError, NotImplementedError
        If the pipeline has no attention that can be recorded.
    ValueError
        For `times` or `branches` of another pipeline than Stable Diffusion's.

    Notes
    -----
    Maps are means over heads, layers and time, as in DAAM (Tang et al. 2023, section 3).

    Examples
    --------
    >>> import cirp
    >>> models = cirp.load("miniature")
    >>> with cirp.record(models.text) as rec:
    ...     _ = models.text("a red car on the beach", num_inference_steps=2)
    >>> rec.word_map("car").shape
    (64, 64)
    """
    editor = EDITORS.get(type(pipe).__name__)
    if getattr(pipe, "transformer", None) is not None or (editor and not editor.controllable):
        if times is not None or tuple(branches) != (TEXT,):
            raise ValueError(
                f"times and branches are for Stable Diffusion's UNets, not a {type(pipe).__name__}"
            )
        from cirp.attention.joint import watching
        from cirp.joint_recordings import JointRecording

        joint = JointRecording(pipe)
        with ExitStack() as stack:
            stack.enter_context(_seen(pipe, "encode_prompt", joint._encoded))
            hook = joint.network.register_forward_pre_hook(joint.called, with_kwargs=True)
            stack.callback(hook.remove)
            stack.enter_context(_seen(pipe.image_processor, "postprocess", joint._decoded))
            stack.enter_context(watching(joint.network, joint.record))
            yield joint
        return
    if not hasattr(pipe, "unet"):
        one = "; give its .instruct or .text" if hasattr(pipe, "instruct") else ""
        raise TypeError(
            f"{type(pipe).__name__} has no unet{one or '; give a Stable Diffusion pipeline'}"
        )
    recording = Recording(pipe, Record(times=times, branches=branches))
    with ExitStack() as stack:
        for name in ("encode_prompt", "_encode_prompt"):
            if hasattr(pipe, name):
                stack.enter_context(_seen(pipe, name, recording._encoded))
        if getattr(pipe, "image_processor", None) is not None:
            stack.enter_context(_seen(pipe.image_processor, "postprocess", recording._decoded))
        stack.enter_context(controlled(pipe.unet, recording.record))
        yield recording


@contextmanager
def _seen(owner: object, name: str, note: Any) -> Iterator[None]:
    """Tell `note` the arguments and the result of each outermost call of a method."""
    method, depth, own = getattr(owner, name), [0], owner.__dict__.get(name)
    signature = inspect.signature(method)

    def call(*args, **kwargs):
        depth[0] += 1
        try:
            made = method(*args, **kwargs)
        finally:
            depth[0] -= 1
        if not depth[0]:
            note(signature.bind(*args, **kwargs).arguments, made)
        return made

    owner.__dict__[name] = call
    try:
        yield
    finally:
        del owner.__dict__[name]
        if own is not None:  # somebody else had replaced it before
            owner.__dict__[name] = own


def heat_map(
    pipe: "DiffusionPipeline", image: Picture | None, prompt: str, word: str, *, seed: int = 0,
    **call: Any,
) -> Map:  # fmt: skip
    """Run a pipeline once and return where a word of its prompt looks.

    Parameters
    ----------
    pipe : diffusers.DiffusionPipeline
        As of `record`.
    image : PIL.Image.Image, path, array or None
        The input image; None for a text-to-image pipeline.
    prompt, word : str
        The prompt, and a word of it.
    seed : int
        Of the noise, as in `torch.Generator().manual_seed(seed)`.
    **call
        Passed on to the pipeline, such as `num_inference_steps`.

    Returns
    -------
    numpy.ndarray
        (height, width), float32; of several images the first one's.

    Raises
    ------
    ValueError
        For a picture that the pipeline would ignore, or an argument that it does not have.

    Examples
    --------
    >>> import cirp
    >>> sd = cirp.load("miniature").text
    >>> cirp.heat_map(sd, None, "a red car", "car", num_inference_steps=2).dtype
    dtype('float32')
    """
    import torch

    if image is not None:
        call["image"] = as_picture(image)
    call.setdefault("generator", torch.Generator().manual_seed(seed))
    known = inspect.signature(pipe.__call__).parameters
    for name in call:
        if name not in known:
            raise ValueError(f"a {type(pipe).__name__} takes no {name!r}; drop it")
    with record(pipe) as recording:
        pipe(prompt, **call)
    return recording.word_map(word)


def edit(
    pipe: "DiffusionPipeline | Models | str",
    image: Picture,
    text: str,
    *,
    method: str = "remap",
    source: str | None = None,
    mask: Picture | None = None,
    seed: int = 0,
    noise: str | None = None,
    words: Sequence[str] = (),
    device: str = "cpu",
    quiet: bool = False,
    **settings: Any,
) -> "Edit":
    """Edit one image.

    Parameters
    ----------
    pipe : diffusers.DiffusionPipeline, Models or str
        A pipeline, what `cirp.load` returns, or the name of a preset or folder.
    image : PIL.Image.Image, path or array
        The picture to edit; arrays are (height, width, 3), uint8 or 0 to 1. Transparency is put on
        white.
    text : str
        What the method reads: an instruction ("make the car blue"), or for methods of
        text-to-image models ("p2p", "diffedit", "noisy") a caption of the result ("a blue car").
    method : str
        A name of `cirp.METHODS`.
    source : str, optional
        A caption of the picture as it is; "p2p" and "diffedit" need one.
    mask : picture or bool array, optional
        White, or True, where the picture may change, of the picture's size. It is then the region,
        rounded up to whole cells of the latents (8 pixels a side, 4 of the miniature); methods
        without one refuse it. Of "wys" and "remap" no pixel outside of these cells changes; others
        hold latents, attention or guidance there, which keeps less (`cirp methods NAME`: `paste`).
    seed : int
        Of the noise: the same as `torch.Generator().manual_seed(seed)` in diffusers. Methods that
        invert the picture ("p2p") have no noise.
    noise : str, optional
        A name for other noise than diffusers': the tables of the book start an edit from the noise
        of its id.
    words : sequence of str
        The words of the text that carry the edit, for methods that look at words; by default all
        content words. "end" and "padding" name the tokens behind the text.
    device : str
        Where a preset is loaded.
    quiet : bool
        Do not print what was run.
    **settings
        Settings of the method; `cirp methods NAME`, or `cirp.METHODS[name].table()`, lists them
        with their defaults, which are those of real models. On the miniature all take 20 steps,
        and methods of InstructPix2Pix text scale 2.5 and image scale 1.5.

    Returns
    -------
    Edit
        With `image`, at the models' resolution (the longer side is 512 pixels for Stable Diffusion,
        64 for the miniature; sides are multiples of 8); `mask`, the region that the method worked
        with (a grey picture, white in it; or None); `settings`; `seconds`; `unet_calls`, the rows
        that the network was run on; and `abstained`, whether the method found no region and edited
        everywhere.

    Raises
    ------
    ValueError
        For an unknown method or setting, a text that is missing, a word that is not in it, a
        pipeline of another kind, or a mask or caption that the method would ignore; before anything
        runs.

    Examples
    --------
    >>> import cirp
    >>> made = cirp.edit("miniature", cirp.load_edits()[1].source(),
    ...                  "change donut topping to chocolate", method="ip2p", steps=2, quiet=True)
    >>> made.image.size
    (64, 64)
    """
    check_name(method)
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"text={text!r}; say what to do, or what the result shows")
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**63:
        raise ValueError(f"seed={seed!r}; give a whole number of at least 0")
    words = (words,) if isinstance(words, str) else tuple(words)
    from cirp.diffusion.tasks import Task, missing_texts, unread_texts
    from cirp.explorer.words import warnings_for

    chosen, picture, region = METHODS[method], as_picture(image), None
    if mask is not None:
        settings, region = chosen.with_region(settings), as_mask(mask, picture.size)
    configured = chosen.configured(**settings)
    models = as_models(pipe, device=device)
    chosen.check_runs(models, configured)
    configured = best_for(models, chosen, configured)
    reads = configured.reads
    for word in words:
        token_positions(models.editor.tokenizer, text, word)
    texts = {"instruction": "", "caption": None} | ({reads[0]: text} if reads else {})
    key = "target_words" if reads and reads[0] == "caption" else "words"
    task = Task(
        picture, texts["instruction"], texts["caption"], seed, key=noise, source_caption=source,
        mask=region, **{key: words},
    )  # fmt: skip
    if unread_texts(task, reads):
        raise ValueError(f"{method} reads no caption of the picture as it is; drop source=")
    if "source_caption" in missing_texts(task, reads):
        raise ValueError(f"{method} needs a caption of the picture as it is; give source='a ...'")
    if not quiet:
        for line in warnings_for(models, task, reads):
            print(f"cirp: {line}", file=sys.stderr)
    (made,) = chosen(models, [task], progress=False, **configured.model_dump())
    if not quiet:
        print(said_in_one_line(made, configured, models))
    return made


def best_for(models: "Models", method: "Method", settings: "MethodSettings") -> "MethodSettings":
    """Return the settings with the models' own steps and scales where none were given."""
    known = method.settings.model_fields
    best = BEST.get(settings.runs, {}) if models.is_miniature else models.editor.defaults
    own = {name: value for name, value in best.items() if name in known}
    return method.configured(**{**own, **settings.model_dump(exclude_unset=True)})


def said_in_one_line(made: "Edit", settings: "MethodSettings", models: "Models") -> str:
    """Return what was run: the method, the settings that differ from its own, and the time."""
    chosen = settings.model_dump(include={"steps", "text_scale", "image_scale"})
    chosen |= settings.model_dump(exclude_defaults=True)
    if NEITHER not in models.editor.branches:
        chosen.pop("image_scale", None)
    said = ", ".join(f"{name}={value!r}" for name, value in chosen.items())
    return f"{made.method} ({said}): {made.unet_calls} UNet rows, {made.seconds:.1f} s"


def as_models(pipe: "DiffusionPipeline | Models | str", *, device: str = "cpu") -> "Models":
    """Return models of a preset's name, a pipeline, or themselves. Raises `ValueError`."""
    from cirp.diffusion.pipelines import Models, load

    if isinstance(pipe, Models):
        return pipe
    if isinstance(pipe, str | Path):
        return load(str(pipe), device=device)
    try:
        editor_of(pipe)
    except TypeError as error:
        raise ValueError(f"{error}; or a name") from error
    return Models(type(pipe).__name__, pipe, pipe, "")


class Scores(dict[str, float]):
    """The scores of one edit by name; `change_map` says how much each pixel changed."""

    change_map: Map


def score(
    source: Picture,
    edited: Picture,
    mask: Picture | Bool[np.ndarray, "row column"] | None = None,
    *,
    caption: str | None = None,
    features: "FeatureExtractor | str | None" = None,
    vae: Any = None,
) -> Scores:
    """Score one edited image against its source; needs no model unless one is asked for.

    Parameters
    ----------
    source, edited : PIL.Image.Image, path or array
        Two pictures of one size; arrays are (height, width, 3), uint8 or floats from 0 to 1.
        Transparency is put on white.
    mask : picture or array, optional
        White (at least 128 of 255), or True, where the picture may change; then scores inside and
        outside of it are added.
    caption : str, optional
        What the edited picture should show; with `features` it adds `clip_t`.
    features : str or FeatureExtractor, optional
        "real" for photographs, "miniature" for the drawn world alone (its encoders saw nothing
        else), or a folder: adds `clip_i` and `dinov2`.
    vae : diffusers.AutoencoderKL or another editor's autoencoder, optional
        `pipe.vae` of the pipeline that made the edit; adds `l1_outside_excess`. Needs a mask.

    Returns
    -------
    Scores
        A dict of floats. Its attribute `change_map` says how much each pixel changed: float32
        (height, width), 0 to 1, the mean over the colours.

        ===================  ==============================================================
        `l1`, `mse`          mean absolute and squared change, 0 (equal) to 1
        `psnr`               in dB; higher is more alike, infinite if equal
        `ssim`               -1 to 1 (equal)
        `..._inside`         the same in the mask, where change is asked for
        `..._outside`        the same outside of it, where none is; missing if nothing is outside
        `l1_outside_excess`  `l1_outside` less that of the source through the autoencoder and back;
                             below 0 is less change than the autoencoder makes by itself
        `clip_i`, `dinov2`   cosine of both pictures' embeddings, -1 to 1 (equal)
        `clip_t`             cosine of the edited picture and the caption, -1 to 1; higher is better
        ===================  ==============================================================

    Raises
    ------
    ValueError
        If the pictures or the mask differ in size, the mask is all black, or something is asked for
        that lacks its part.

    Notes
    -----
    Pixels outside of the mask that are no farther from it than 1/32 of the shorter side (rounded
    down) are left out: a soft edge is no over-editing. The whole mask counts as inside. SSIM has a
    Gaussian window of 11 x 11 pixels (sigma 1.5), mirrored at the border; `ssim_outside` leaves out
    the pixels whose window reaches into the mask.

    Examples
    --------
    >>> import cirp, numpy as np
    >>> before = np.zeros((64, 64, 3), np.uint8)
    >>> after = before.copy()
    >>> after[:32] = 255
    >>> cirp.score(before, after)["l1"]
    0.5
    """
    from cirp.metrics import regions, similarity

    one, other = as_picture(source), as_picture(edited)
    if one.size != other.size:
        raise ValueError(
            f"the source is {one.width}x{one.height} and the edited picture {other.width}x"
            f"{other.height}; resize one of them"
        )
    inside = None if mask is None else as_mask(mask, one.size)
    if vae is not None and inside is None:
        raise ValueError("vae= adds the excess outside the mask; give mask=, too")
    if vae is not None and not hasattr(vae, "config"):
        raise ValueError(f"vae={vae!r}; give an autoencoder, such as pipe.vae")
    if caption is not None and features is None:
        raise ValueError('caption= is compared by CLIP; give features="miniature" or "real", too')
    if caption is not None and (not isinstance(caption, str) or not caption.strip()):
        raise ValueError(f"caption={caption!r}; give one text, which says what the picture shows")
    before, after = similarity.to_array(one), similarity.to_array(other)
    sides = regions.split(inside, shape=one.size[::-1], is_global=False)
    found = Scores(similarity.pixel_metrics(after, before, sides))
    known = {k: v + 0.0 for k, v in found.items() if not math.isnan(v)}  # -0.0 is 0
    if inside is None:
        known = {k: v for k, v in known.items() if "side" not in k}
    found = Scores(known)
    found.change_map = similarity.change(after, before).astype(np.float32)
    if vae is not None:
        if "l1_outside" not in found:
            raise ValueError("vae= adds the excess outside, and the mask leaves nothing outside")
        trip = similarity.to_array(_round_trip(vae, one))
        unavoidable = similarity.pixel_metrics(trip, before, sides)
        found["l1_outside_excess"] = found["l1_outside"] - unavoidable["l1_outside"]
    if features is not None:
        from cirp.metrics.scores import likeness

        found.update(likeness(other, one, _features(features), caption))
    return found


def _features(asked: "FeatureExtractor | str") -> "FeatureExtractor":
    if not isinstance(asked, str | Path):
        if not hasattr(asked, "clip_image"):
            raise ValueError(f'features={asked!r}; give "miniature", "real" or a folder')
        return asked
    from cirp.metrics.features import load_features

    if asked not in _loaded:
        _loaded[asked] = load_features(asked)
    return _loaded[asked]


_loaded: dict = {}


def _round_trip(vae: Any, picture: Image.Image) -> Image.Image:
    import torch
    from diffusers.image_processor import VaeImageProcessor

    names = ("block_out_channels", "encoder_block_out_channels", "dim_mult")
    levels = next((len(vae.config[name]) for name in names if name in vae.config), None)
    if levels is None:
        raise ValueError(f"vae= is a {type(vae).__name__}, no autoencoder; give pipe.vae")
    processor = VaeImageProcessor(vae_scale_factor=2 ** (levels - 1))
    with torch.no_grad():
        x = processor.preprocess(picture).to(vae.device, vae.dtype)
        film = "dim_mult" in vae.config  # Qwen-Image's, of films
        found = vae.encode(x[:, :, None] if film else x)
        latents = found.latent_dist.mode() if hasattr(found, "latent_dist") else found.latents
        y = vae.decode(latents).sample
    (made,) = processor.postprocess(y[:, :, 0] if film else y, output_type="pil")
    return made.resize(picture.size)


def keep(
    source: Picture,
    edited: Picture,
    mask: Picture | Bool[np.ndarray, "row column"] | None = None,
    *,
    whole: bool = False,
) -> "Kept":
    """Keep the edit of any editor, and nothing else: outside of it the source's pixels stay.

    The output is first aligned with the source, since many editors shift or zoom the whole picture.
    Where the two still differ is the edit's region, unless a mask says it. The region's edge is
    soft outside, over some 1/64 of the shorter side.

    Parameters
    ----------
    source, edited : PIL.Image.Image, path or array
        Before and after, of the same proportions; the sizes may differ.
    mask : picture or bool array, optional
        White, or True, where the picture was to change; of the source's size.
    whole : bool
        Also keep an edit that seems to be of the whole picture.

    Returns
    -------
    Kept
        `image`, `region`, `registration` (how the output lay on the source) and the mean change
        outside the region `before` and `after`.

    Raises
    ------
    ValueError
        If the edit seems to be of the whole picture, or nothing stands out as one; if the
        proportions differ, or the mask does not fit.

    Examples
    --------
    >>> import cirp
    >>> item = cirp.load_edits("data/edits")[0]
    >>> kept = cirp.keep(item.source(), item.target())
    >>> kept.registration.why, round(kept.after, 3)
    ('lies as the source does', 0.0)
    """
    from cirp.metrics import repair

    one = as_picture(source)
    inside = None if mask is None else as_mask(mask, one.size)
    return repair.keep(one, as_picture(edited), inside, whole=whole)


def score_folder(
    edits: Path | str,
    outputs: Mapping[str, Path | str] | None = None,
    out: Path | str | None = None,
    *,
    align: bool = True,
    features: "FeatureExtractor | str | None" = None,
    vae: Any = None,
    progress: bool = False,
) -> "pd.DataFrame":
    """Score the outputs of one or several editors on a folder of edits.

    Each output is first aligned with its source. Where a shift, zoom or turn of the whole picture
    explains more than half of its change outside, the output is `moved`, which is no over-editing.

    Parameters
    ----------
    edits : path
        A folder of edits (`data/README.md`), or of PIE-Bench, MagicBrush, ImgEdit, GEdit or
        PaintBench as published.
    outputs : mapping of str to path, optional
        Folders of outputs by the editor's name: `<id>.png`, of any size and format. By default the
        folder of edits itself, whose column `edited_file_name` names the outputs.
    out : path, optional
        Folder for `scores.csv`, `summary.json` and the page `index.html`; new, or one that this
        function made before, which it replaces.
    align : bool
        Whether to align.
    features, vae
        As of `score`.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    pandas.DataFrame
        A row per editor and edit, and of two controls: "no edit", and "half of ...", the mean of
        output and source. `region` says where it was to change: by the given mask, found from the
        output, or the whole picture. `iou_within` is PaintBench's score, where the right answer is
        known. What is not known is NaN; where a whole row is, `why` says why.

    Raises
    ------
    ValueError
        If the edits cannot be read, no output pairs with any of them, two do with one, or `out`
        holds other files.

    Examples
    --------
    >>> import cirp
    >>> cirp.score_folder("data/edits", {"mine": "my-outputs"}, "my-scores")  # doctest: +SKIP
    """
    from cirp.data.images import check_folder
    from cirp.paths import replacing
    from cirp.scoring import page
    from cirp.scoring.cases import cases
    from cirp.scoring.outputs import check_editors, score_outputs

    folder = Path(edits)
    if outputs is not None and not isinstance(outputs, Mapping):
        raise ValueError(f'outputs={outputs!r}; give {{"name of the editor": folder}}')
    editors = {name: Path(one) for name, one in (outputs or {"edited": folder}).items()}
    check_editors(editors)
    if out is not None:
        check_folder(Path(out), page.MARK, folder, *editors.values())
    asked = cases(folder)
    choice = dict(
        aligning=align, features=None if features is None else _features(features),
        round_trip=None if vae is None else lambda picture: _round_trip(vae, picture),
        progress=progress,
    )  # fmt: skip
    if out is None:
        return score_outputs(asked, editors, **choice)
    with replacing(Path(out)) as half:
        half.mkdir()
        (half / page.MARK).touch()
        gallery = page.Gallery(half)
        table = score_outputs(asked, editors, **choice, each=gallery.add)
        page.write(half, table, gallery.cards)
    return table
