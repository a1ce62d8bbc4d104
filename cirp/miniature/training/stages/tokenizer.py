"""A real byte-level BPE, trained on the world's own sentences and on plain English."""

import json
import random
import re
from pathlib import Path
from pydoc_data.topics import topics  # plain English that every Python has at hand

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from cirp.miniature.corpus import Corpus
from cirp.miniature.kinds import KINDS, SETTINGS
from cirp.miniature.styles import STYLES

LENGTH = 48  # the longest caption of the world has 34
VOCABULARY = 3072
START, END = "<|startoftext|>", "<|endoftext|>"
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"  # CLIP's own rule


def sentences(corpus: Corpus) -> list[str]:
    """What the tokenizer learns from: the world's words often, other English for the rest."""
    names = [*KINDS, *SETTINGS, *STYLES]
    names += [s for k in KINDS.values() for a in k.attributes for s in (a.name, *a.states)]
    english = re.findall(r"[a-z]{2,12}", " ".join(topics.values()).lower())
    random.Random(0).shuffle(english)
    ours = [row["source_caption"] for row in corpus.rows]
    ours += [said for row in corpus.rows for said in (row["instruction"], *row["wordings"])]
    return names * 200 + ours + english


def train(corpus: Corpus, folder: Path) -> CLIPTokenizer:
    """Train, save, and load back as a stock CLIPTokenizer."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 2 - len(alphabet),
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    bpe.train_from_iterator(sentences(corpus), trainer)
    learnt = json.loads(bpe.to_str())["model"]
    pieces = sorted(learnt["vocab"], key=learnt["vocab"].get)
    pieces += [c + "</w>" for c in alphabet if c + "</w>" not in learnt["vocab"]]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    vocab |= {START: len(vocab), END: len(vocab) + 1}
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in learnt["merges"]]
    tokenizer = CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=LENGTH)
    tokenizer.save_pretrained(folder)
    return tokenizer
