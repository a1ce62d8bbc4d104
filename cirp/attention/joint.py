"""Recording the attention of today's editors: SD3, FLUX, Kontext, Qwen-Image, DreamLite.

In all but the last, text and picture share one softmax: a row of a cell holds its attention to the
words *and* to every other cell, so what it gives to the words is a small share. Two maps say
something of a word: the share that each cell gives it (`image_to_text`), and where in the picture
its own row looks (`text_to_image`, normalised over places). Neither is the other; both are kept
apart.

The call of PyTorch's attention itself is watched, after all norms and rotary embeddings, so nothing
in a model is replaced and whatever it computes stays what it was, to the bit.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

Maps = Float[Tensor, "batch head cell token"]
# A double block's processor puts the picture before the text in SD3, and after it elsewhere.
PICTURE_FIRST = ("JointAttnProcessor2_0", "FusedJointAttnProcessor2_0")
ATTENTION = functional.scaled_dot_product_attention  # whoever wraps it still calls this one
CHUNK = 256  # rows whose probabilities are in memory at a time


@dataclass(frozen=True)
class Call:
    """What one layer did in one step."""

    layer: str
    step: int
    image_to_text: Maps  # share of a cell's attention that goes to each word
    text_to_image: Maps | None = None  # where each word's own row looks, if words look at all
    reference: Float[Tensor, "batch head cell"] | None = None  # attention to a reference picture


@dataclass
class JointRecord:
    """Maps of chosen words, layer by layer and step by step.

    Parameters
    ----------
    words : sequence of int, optional
        Positions among the text's tokens; by default all.
    cells : int, optional
        How many of the picture's tokens are of the picture that is made; those after them are of a
        reference. By default all.
    texts : list of tensor (token, channel)
        Encoded prompts: only rows of the batch that were given one of them are recorded. By default
        all rows, those of a negative prompt too.
    see : callable, optional
        Called with each `Call` in place of keeping it, so that nothing grows with steps.
    """

    words: Sequence[int] | None = None
    cells: int | None = None
    texts: list[Float[Tensor, "token channel"]] = field(default_factory=list)
    see: Callable[[Call], None] | None = None
    calls: list[Call] = field(default_factory=list)

    def took(self, call: Call) -> None:
        """Keep a call, or hand it on."""
        if self.see is None:
            self.calls.append(call)
        else:
            self.see(call)


class _Watch(TorchFunctionMode):
    """Sees every call of PyTorch's attention while a layer of the model is at work."""

    def __init__(self, record: JointRecord) -> None:
        super().__init__()
        self.record, self.layer, self.text_first = record, "", True
        self.text = self.step = 0
        self.rows: list[int] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is ATTENTION and self.layer:
            self._see(*args, **kwargs)
        return func(*args, **kwargs)

    @torch.no_grad()
    def _see(self, query, key, value=None, attn_mask=None, **how) -> None:
        if not self.rows:
            return  # of a negative prompt
        total, cross = key.shape[-2], query.shape[-2] != key.shape[-2] == self.text
        if not cross and (query.shape[-2] != total or total <= self.text):
            return  # the picture among itself, as in a second attention of SD3.5
        query, key = query[self.rows], key[self.rows]
        pictures = query.shape[-2] if cross else total - self.text
        text, picture = (0, self.text) if self.text_first else (pictures, 0)
        if cross:  # keys are all text, queries all picture
            text = picture = 0
        words = range(self.text) if self.record.words is None else self.record.words
        words = torch.tensor(list(words), device=query.device) + text
        cells = pictures if cross else self.record.cells or pictures
        places = torch.arange(cells, device=query.device) + picture
        others = torch.arange(cells, pictures, device=query.device) + picture
        scale = how.get("scale") or query.shape[-1] ** -0.5

        def probabilities(
            rows: Tensor, columns: Tensor, summed: Tensor | None = None
        ) -> list[Tensor]:
            """Softmax over all tokens, of some rows and columns, and of others' sum, by chunks."""
            found: list[list[Tensor]] = [[], []]
            for some in rows.split(CHUNK):
                scores = query[:, :, some].float() @ key.float().transpose(-2, -1) * scale
                if attn_mask is not None:
                    mask = attn_mask[self.rows] if len(attn_mask) > 1 else attn_mask
                    mask = mask if mask.shape[-2] == 1 else mask[..., some, :]
                    if mask.dtype == torch.bool:
                        scores = scores.masked_fill(~mask, float("-inf"))
                    else:
                        scores = scores + mask
                shares = scores.softmax(dim=-1)
                found[0].append(shares[..., columns])
                if summed is not None:
                    found[1].append(shares[..., summed].sum(dim=-1))
            return [torch.cat(one, dim=2) for one in found if one]

        if cross:
            (to_words,) = probabilities(places, words)
            self.record.took(Call(self.layer, self.step, to_words.cpu()))
            return
        to_words, *to_others = probabilities(places, words, others if len(others) else None)
        (from_words,) = probabilities(words, places)
        self.record.took(
            Call(
                self.layer, self.step, to_words.cpu(), from_words.transpose(-2, -1).cpu(),
                to_others[0].cpu() if to_others else None,
            )
        )  # fmt: skip


@contextmanager
def watching(transformer: nn.Module, record: JointRecord) -> Iterator[JointRecord]:
    """Record the joint attention of a diffusers transformer while the block lasts.

    Raises `TypeError` for a model without attention layers.
    """
    layers = {n: one for n, one in transformer.named_modules() if hasattr(one, "processor")}
    if not layers:
        raise TypeError(f"{type(transformer).__name__} has no attention layers known to diffusers")
    watch = _Watch(record)
    watch.step = -1

    def begin(_, args, kwargs) -> None:
        text = kwargs.get("encoder_hidden_states")
        if text is None:
            text = args[1]
        watch.text, watch.step = text.shape[1], watch.step + 1
        watch.rows = [
            i for i, row in enumerate(text)
            if not record.texts
            or any(row.shape == one.shape and torch.equal(row, one) for one in record.texts)
        ]  # fmt: skip

    def enter(name: str, layer: nn.Module) -> Callable:
        def hook(*_) -> None:
            watch.layer = name
            watch.text_first = type(layer.processor).__name__ not in PICTURE_FIRST

        return hook

    def leave(*_) -> None:
        watch.layer = ""

    with ExitStack() as stack:
        stack.callback(transformer.register_forward_pre_hook(begin, with_kwargs=True).remove)
        for name, layer in layers.items():
            stack.callback(layer.register_forward_pre_hook(enter(name, layer)).remove)
            stack.callback(layer.register_forward_hook(leave, always_call=True).remove)
        stack.enter_context(watch)
        yield record
