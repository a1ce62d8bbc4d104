"""The refined captions of the noisy input, to be read beside their instructions, and changed.

In a page the reader sees at once which words a caption of their own would change; with a kernel
they can also run it, on the same noise.
"""

import base64
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace

import traitlets
from PIL import Image

from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import Models
from cirp.experiments import cache
from cirp.explorer.messages import png, scores_of
from cirp.explorer.widget import ONE_AT_A_TIME, STATIC
from cirp.figures.explorers import Explorer, data_uri, in_one_line, module
from cirp.metrics.features import FeatureExtractor

LONGEST = 1000  # characters of a caption
SCORES = {"clip_i_source": "CLIP-I", "dinov2_source": "DINOv2", "success": "edit success"}


class CaptionEditor(Explorer):
    """Instruction, what the picture shows, the refined caption, and the reader's own.

    Args:
        items: edits with a source caption, at the models' working size.
        settings: of the noisy input.

    Raises `ValueError` if there is no item, or one without captions.
    """

    _esm = module(STATIC / "captions.js")
    items = traitlets.List().tag(sync=True)  # instruction, shows, refined, picture, made, scores
    item = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        models: Models,
        items: Sequence[EditItem],
        features: FeatureExtractor,
        *,
        seed: int,
        settings: Mapping,
    ) -> None:
        self._models, self._features = models, features
        self._edits, self._seed, self._settings = list(items), seed, dict(settings)
        if not self._edits:
            raise ValueError("no edits to show; give at least one with a source caption")
        for one in self._edits:
            if one.record.source_caption is None or cache.target_caption(one.record) is None:
                raise ValueError(f"{one.id} has no source caption, or none can be refined from it")
        super().__init__(items=[self._shown(one) for one in self._edits])
        self.on_msg(self._told)

    def _shown(self, item: EditItem) -> dict:
        caption = cache.target_caption(item.record)
        made = self._made(item, caption)
        return {
            "instruction": item.record.instruction,
            "shows": item.record.source_caption,
            "refined": caption,
            "picture": data_uri(item.source()),
            "made": data_uri(made),
            "scores": self._scored(item, made, caption),
        }

    def _made(self, item: EditItem, caption: str) -> Image.Image:
        task = replace(cache.task(item, self._seed), caption=caption)
        (edit,) = cache.computed(
            self._models, [task], "noisy", settings=self._settings, progress=False
        )
        return edit.image

    def _scored(self, item: EditItem, made: Image.Image, caption: str) -> dict[str, float]:
        """How like the input it is, and, for the edit's own caption, whether the judge sees it."""
        names = dict(SCORES)
        if caption != cache.target_caption(item.record):
            names.pop("success")
        found = scores_of(self._models, item, made, self._features, names)
        return {label: value for label, value in found.items() if value is not None}

    def _told(self, _, message: object, buffers: Sequence[bytes]) -> None:
        """One message of the page. Whatever is wrong with it is answered in one line."""
        if not isinstance(message, Mapping) or message.get("kind") != "run":
            return
        threading.Thread(target=self._answer, args=(dict(message),), daemon=True).start()

    def _answer(self, message: Mapping) -> None:
        with ONE_AT_A_TIME:
            try:
                number, caption = message.get("item"), message.get("caption")
                if not isinstance(number, int) or not 0 <= number < len(self._edits):
                    raise ValueError(f"no edit number {number!r}")
                if not isinstance(caption, str) or len(caption) > LONGEST:
                    raise ValueError(f"a caption is a text of at most {LONGEST} characters")
                item, caption = self._edits[number], " ".join(caption.split())
                made = self._made(item, caption)
                scores = self._scored(item, made, caption)
            except Exception as error:  # a thread has nobody else to tell
                self.send({"kind": "error", "text": in_one_line(error)})
                return
        picture = base64.b64encode(png(made)).decode()
        self.send({"kind": "done", "item": number, "caption": caption, "picture": picture,
                   "scores": scores})  # fmt: skip
