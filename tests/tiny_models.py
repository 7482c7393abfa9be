"""Real models small enough to make in a moment: random weights, a byte-level BPE, ChatML.

Everything here is written to a folder with `save_pretrained` and read back the way a user's model
is, so that what the tests exercise is the path that real models take.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
from peft import PeftModel
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tunesmith.config import ModelSettings, TrainingSettings
from tunesmith.models.load import Loaded, load
from tunesmith.records import Example, Message
from tunesmith.train.method import get_method

START, END, BOS = "<|im_start|>", "<|im_end|>", "<|bos|>"
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CORPUS = (
    "May the manager approve the budget? The state machine has nodes and edges.",
    "system user assistant: answer the question in one word, yes or no.",
    "red green blue one two three four five six seven eight nine ten eleven twelve",
)
COLOURS = ("red", "green", "blue", "white", "black")


def tiny_tokenizer(*, template: str | None = CHATML, bos: bool = False) -> PreTrainedTokenizerFast:
    """A byte-level BPE of 360 tokens; with `bos`, encoding adds BOS and so does the template."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=360,
        special_tokens=["<|pad|>", START, END, BOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(CORPUS, trainer)
    if bos:
        bpe.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A", special_tokens=[(BOS, bpe.token_to_id(BOS))]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BOS if bos else None,
        eos_token=END,
        pad_token="<|pad|>",
    )
    tokenizer.chat_template = ("{{ bos_token }}" if bos and template else "") + (template or "")
    return tokenizer


def tiny_llama(tokens: int = 360, **shape: int) -> LlamaForCausalLM:
    """A Llama of two layers with random weights, the same on every call."""
    torch.manual_seed(7)
    config = LlamaConfig(
        **{
            "vocab_size": tokens,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 256,
            "initializer_range": 0.2,  # far from uniform: a leak or a wrong mask then shows
            "tie_word_embeddings": False,
        }
        | shape
    )
    return LlamaForCausalLM(config).eval()


def write_base(folder: Path, *, bos: bool = False, template: str | None = CHATML) -> Path:
    """A model folder as `save_pretrained` writes it."""
    tokenizer = tiny_tokenizer(template=template, bos=bos)
    tokenizer.save_pretrained(str(folder))
    tiny_llama(len(tokenizer)).save_pretrained(str(folder))
    return folder


def load_base(folder: Path, *, four_bit: bool = False, dtype: str = "float32") -> Loaded:
    """The base in a folder, loaded as a run loads it."""
    settings = ModelSettings.model_validate({"name": str(folder), "dtype": dtype})
    return load(settings, four_bit=four_bit)


def questions(count: int, *, seed: int = 0) -> list[Example]:
    """Short questions of different lengths with short answers that follow from them."""
    draw = random.Random(seed)
    examples = []
    for number in range(count):
        seen = draw.choices(COLOURS, k=draw.randint(1, 9))
        messages = [Message("user", f"{number}: how often {seen[0]}? {' '.join(seen)}")]
        if number % 3 == 0:
            messages.insert(0, Message("system", "Count and answer with the number."))
        answer = f"{seen.count(seen[0])} of {len(seen)}" + " times" * (number % 2)
        examples.append(Example(tuple(messages), answer))
    return examples


def adapted(loaded: Loaded, settings: TrainingSettings) -> PeftModel:
    """The base under a LoRA whose B is not zero, as in the middle of a training; in train mode."""
    torch.manual_seed(3)
    model = get_method("lora").attach(loaded.model, settings)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.train()
    return model
