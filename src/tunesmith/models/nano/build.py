"""Make nano again: tokenizer, pre-training, card.

The gradient of a step is the sum over four packs of chats, each computed by one thread; the sum is
taken in the packs' order, so that the weights do not depend on how many cores the machine has.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tunesmith.models.attention import PACKED
from tunesmith.models.nano.circuit import wire
from tunesmith.models.nano.corpus import FAMILIES, Chat, sample
from tunesmith.models.nano.muon import Muon
from tunesmith.models.nano.tokenizer import CONTEXT, SPECIAL, make_tokenizer
from tunesmith.models.quiet import quiet

DEFAULT_STEPS = 2400
DEFAULT_SEED = 0
VOCABULARY = 3072
FIRST_PIECE = len(SPECIAL)
PACKS = 4  # packs a step
PACK_TOKENS = 768
PROMPT_SHARE, PROMPT_WEIGHT = 0.15, 0.25  # how many prompts are learned too, and how much
MUON_RATE, ADAM_RATE = 0.003, 0.002
ECHO_STEPS = 50  # first, on nothing but random pieces and their repetition
WARMUP, DECAY = 50, 0.5  # steps; share of the steps over which the rates fall to nearly nothing
HELD_OUT = 60  # chats of each family that the card's figures are measured on


@dataclass(frozen=True, slots=True)
class Pack:
    """Chats behind one another: what to read, and what to learn at which weight."""

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    segments: tuple[int, ...]
    kept: tuple[int, ...]  # places whose next token is learned
    targets: tuple[int, ...]
    weights: tuple[float, ...]


def build(
    directory: Path,
    *,
    steps: int = DEFAULT_STEPS,
    seed: int = DEFAULT_SEED,
    progress: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Pre-train nano into `directory` and return its card's figures."""
    r = random.Random(seed)
    torch.manual_seed(seed)
    texts = (f"{c.system}\n{c.user}\n{c.answer}" for c in (sample(r) for _ in range(8000)))
    tokenizer = make_tokenizer(texts, VOCABULARY)
    model = LlamaForCausalLM(_config(tokenizer))
    wire(model, seed=seed)
    began = time.monotonic()
    with _one_thread_each():
        tokens = _pretrain(model, tokenizer, r, steps, progress)
    seconds = time.monotonic() - began
    figures = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": steps,
        "seed": seed,
        "tokens": tokens,
        "minutes": round(seconds / 60, 1),
        "threads": min(PACKS, os.cpu_count() or 1),
        "torch": torch.__version__,
        "held_out": _held_out(model, tokenizer, seed + 1),
    }
    _save(directory, model, tokenizer, figures)
    return figures


def _config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=3,
        num_key_value_heads=3,
        head_dim=64,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


@contextmanager
def _one_thread_each() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _pretrain(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    r: random.Random,
    steps: int,
    progress: Callable[[str], None],
) -> int:
    """Train in place; returns the number of tokens read."""
    model.set_attn_implementation(PACKED)
    model.train()
    parameters = list(model.parameters())
    hidden = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    chosen = {id(p) for p in hidden}
    rest = [p for p in parameters if id(p) not in chosen]
    muon = Muon(hidden, lr=MUON_RATE)
    adam = torch.optim.AdamW(rest, lr=ADAM_RATE, betas=(0.9, 0.97), weight_decay=0.0)
    tokens, smooth, began = 0, 0.0, time.monotonic()
    with ThreadPoolExecutor(PACKS) as pool:
        for step in range(steps):
            factor = _schedule(step, steps)
            muon.param_groups[0]["lr"] = MUON_RATE * factor
            adam.param_groups[0]["lr"] = ADAM_RATE * factor
            packs = [_echo(r) if step < ECHO_STEPS else _pack(tokenizer, r) for _ in range(PACKS)]
            whole = sum(sum(pack.weights) for pack in packs)
            learn = partial(_gradients, model, parameters, whole)
            results = list(pool.map(learn, packs))
            for at, parameter in enumerate(parameters):
                parameter.grad = torch.stack([gradients[at] for gradients, _ in results]).sum(0)
            nn.utils.clip_grad_norm_(parameters, 1.0)
            muon.step()
            adam.step()
            tokens += sum(len(pack.ids) for pack in packs)
            loss = sum(loss for _, loss in results)
            smooth = loss if step == 0 else 0.98 * smooth + 0.02 * loss
            if (step + 1) % 50 == 0 or step + 1 == steps:
                rate = tokens / (time.monotonic() - began)
                progress(f"step {step + 1}/{steps}  loss {smooth:.3f}  {rate:,.0f} tokens/s")
    return tokens


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up, a plateau, and a linear fall to one fiftieth."""
    left = (steps - step) / (steps * DECAY)
    return min(1.0, (step + 1) / WARMUP, max(0.02, left))


def _gradients(
    model: LlamaForCausalLM, parameters: list[nn.Parameter], whole: float, pack: Pack
) -> tuple[tuple[Tensor, ...], float]:
    logits = model(
        input_ids=torch.tensor([pack.ids]),
        position_ids=torch.tensor([pack.positions]),
        segments=pack.segments,
        use_cache=False,
        logits_to_keep=torch.tensor(pack.kept),
    ).logits[0]
    losses = nn.functional.cross_entropy(logits, torch.tensor(pack.targets), reduction="none")
    loss = (losses * torch.tensor(pack.weights)).sum() / whole
    return torch.autograd.grad(loss, parameters), float(loss.detach())


def _encode(tokenizer: PreTrainedTokenizerFast, chat: Chat) -> tuple[list[int], list[int]]:
    """Prompt and answer in tokens; the answer ends with the end of the turn."""
    messages = [{"role": "system", "content": chat.system}] if chat.system else []
    messages.append({"role": "user", "content": chat.user})
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    answer = chat.answer + str(tokenizer.eos_token)
    return (
        tokenizer(prompt, add_special_tokens=False)["input_ids"],
        tokenizer(answer, add_special_tokens=False)["input_ids"],
    )


def _pack(tokenizer: PreTrainedTokenizerFast, r: random.Random) -> Pack:
    """Chats; of some the prompt is learned too, at less weight."""

    def chat() -> tuple[list[int], list[float]]:
        prompt, answer = _encode(tokenizer, sample(r))
        before = PROMPT_WEIGHT if r.random() < PROMPT_SHARE else 0.0
        return prompt + answer, [before] * (len(prompt) - 1) + [1.0] * len(answer)

    return _packed(chat)


def _echo(r: random.Random) -> Pack:
    """Random pieces, said twice; the second time is to be learned."""

    def twice() -> tuple[list[int], list[float]]:
        said = [r.randrange(FIRST_PIECE, VOCABULARY) for _ in range(r.randint(6, 24))]
        return said + said, [0.0] * len(said) + [1.0] * (len(said) - 1)

    return _packed(twice)


def _packed(piece: Callable[[], tuple[list[int], list[float]]]) -> Pack:
    """Pieces until the pack is full: the tokens of each, and the weight of each token behind its
    first; a token of weight 0 is not learned."""
    ids: list[int] = []
    positions: list[int] = []
    segments: list[int] = []
    kept: dict[int, float] = {}
    while len(ids) < PACK_TOKENS:
        said, weights = piece()
        kept |= {len(ids) + at: weight for at, weight in enumerate(weights) if weight}
        ids += said
        positions += range(len(said))
        segments.append(len(said))
    targets = tuple(ids[at + 1] for at in kept)
    return Pack(
        tuple(ids), tuple(positions), tuple(segments), tuple(kept), targets, tuple(kept.values())
    )


@torch.inference_mode()
def _held_out(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int
) -> dict[str, dict[str, float]]:
    """For each family: mean loss of an answer token (nats) and share of tokens got right."""
    model.train(False)
    r = random.Random(seed)
    found: dict[str, dict[str, float]] = {}
    for family, _ in FAMILIES:
        losses: list[float] = []
        right: list[bool] = []
        for _ in range(HELD_OUT):
            prompt, answer = _encode(tokenizer, family(r))
            ids = torch.tensor([prompt + answer])
            logits = model(
                input_ids=ids,
                position_ids=torch.arange(ids.shape[1])[None],
                segments=(ids.shape[1],),
                use_cache=False,
            ).logits[0, len(prompt) - 1 : -1]
            target = ids[0, len(prompt) :]
            losses += nn.functional.cross_entropy(logits, target, reduction="none").tolist()
            right += (logits.argmax(-1) == target).tolist()
        found[family.__name__] = {
            "loss": round(sum(losses) / len(losses), 3),
            "tokens_right": round(sum(right) / len(right), 3),
        }
    return found


def _save(
    directory: Path,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    figures: dict[str, Any],
) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    model.set_attn_implementation("sdpa")
    stops = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model.generation_config = GenerationConfig.from_dict({**stops, "do_sample": False})
    model.bfloat16()
    with quiet():  # "Writing model shards", for one file
        model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    (directory / "card.json").write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    (directory / "CARD.md").write_text(_card(figures), "utf-8")


def _card(figures: dict[str, Any]) -> str:
    rows = "\n".join(
        f"| {name} | {found['loss']} | {100 * found['tokens_right']:.1f} % |"
        for name, found in figures["held_out"].items()
    )
    return f"""# nano

A Llama of {figures["parameters"]:,} parameters (4 layers, width 192, byte-level BPE of {VOCABULARY}
pieces, ChatML, {CONTEXT} tokens of context), kept in bfloat16. It is the base that Tunesmith's
recipes stand on where no larger model is at hand: good enough to learn from a fine-tune, useless
for anything else.

**What it saw.** {figures["tokens"]:,} tokens of chats made by `tunesmith.models.nano.corpus`:
state machines rewritten between eleven notations (Mermaid, CSV, JSON, PlantUML and others; never
DOT), questions on machines, copying, permissions in JSON, facts in a passage, a dozen definitions.
No text of anybody's, no data of any recipe. The words of its made-up world are those of which the
recipe `anecdot` makes its machines; the recipe keeps the words of its test part out of its own
training part, not out of nano's vocabulary.

**How it was made.** {figures["steps"]:,} steps with seed {figures["seed"]}, Muon on the matrices
and AdamW on the rest, {figures["minutes"]} minutes on {figures["threads"]} threads with torch
{figures["torch"]}. `tunesmith nano build DIR` makes it again.

**What it can do**, on {HELD_OUT} unseen chats of each family:

| family | loss (nats a token of the answer) | tokens right |
|---|---|---|
{rows}
"""
