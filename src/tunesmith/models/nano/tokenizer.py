"""nano's tokenizer: a byte-level BPE of 3,072 pieces with a ChatML template.

Words, numerals and every sign are cut apart before any merge, so that a name is the same pieces
wherever it stands (after a space, in quotes, at the start of a line): a model this small copies
pieces, and cannot also learn that ` idle` and `idle` are one word. Signs are never merged: a piece
like `"];` that no text of nano's holds would be one that a LoRA cannot teach it to write. Common
glue words keep their spaces, which shortens prose. No DOT is in the text that the merges are made
from: `digraph` falls into pieces that other words have trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from transformers import PreTrainedTokenizerFast

END_OF_TURN = "<|im_end|>"
PAD = "<|pad|>"
CONTEXT = 2048  # tokens
SPECIAL = [PAD, "<|im_start|>", END_OF_TURN]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_GLUE = (
    "the|a|an|of|to|in|is|it|and|for|on|from|by|with|as|at|that|this|be|are|was|or|not|if|when|its|"
    "into|then|has|have|The|A|An|In|If|When|From|It|On|To|What|Is|How|Which|For|This|What is"
)
PIECES = (
    rf"(?: ?\b(?:{_GLUE})\b)+ ?"
    r"|\n *|\p{Lu}?\p{Ll}+|\p{Lu}+|\p{N}| ?[^\p{Lu}\p{Ll}\p{N}\s]| +|\s"
)


def make_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Train the merges on `texts`; `vocabulary` counts bytes, merges and the three special ones."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=SPECIAL,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    wrap: Callable[..., PreTrainedTokenizerFast] = PreTrainedTokenizerFast
    wrapped = wrap(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TURN,
        pad_token=PAD,
        model_max_length=CONTEXT,
    )
    wrapped.chat_template = TEMPLATE
    return wrapped
