"""What the speed benchmarks train on: rows of OrgAccess, and a random base with their tokenizer."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from tunesmith.records import Example
from tunesmith.tasks.access_decision import AccessDecision

REPOSITORY = Path(__file__).resolve().parent.parent
SEED, VOCABULARY = 42, 4096


def read_rows(rows: int, *, instructions_first: bool = False) -> list[Example]:
    """The first usable rows of OrgAccess easy, as the task renders them."""
    import pyarrow.parquet as pq

    from tunesmith.tasks.base import RowError

    folder = Path(os.environ.get("TUNESMITH_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    file = folder / "orgaccess" / "easy.parquet"
    if not file.exists():
        sys.exit(f"{file} is not there: set TUNESMITH_SHARED_DATA")
    task = AccessDecision(instructions_first=instructions_first)
    examples: list[Example] = []
    for row in pq.read_table(file).slice(0, 2 * rows).to_pylist():
        try:
            draft = task.shape(row)
        except RowError:
            continue
        examples.append(Example(tuple(draft.messages), draft.target, draft.label))
    return examples[:rows]


def make_base(folder: Path, examples: Sequence[Example]) -> None:
    """A random Llama of 6 layers and width 256 with a tokenizer made from the rows."""
    from transformers import LlamaConfig, LlamaForCausalLM

    texts = (" ".join((*(m.content for m in e.messages), e.target)) for e in examples)
    wrapped = write_tokenizer(folder, texts)
    torch.manual_seed(SEED)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(wrapped),
            hidden_size=256,
            intermediate_size=768,
            num_hidden_layers=6,
            num_attention_heads=8,
            num_key_value_heads=8,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=wrapped.eos_token_id,
            pad_token_id=wrapped.pad_token_id,
        )
    )
    model.save_pretrained(folder)


def write_tokenizer(folder: Path, texts: Iterable[str]) -> PreTrainedTokenizerBase:
    """A byte-level BPE of at most 4,096 tokens made from texts, with ChatML; kept in `folder`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<pad>"
    )
    wrapped.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    wrapped.save_pretrained(folder)
    return wrapped
