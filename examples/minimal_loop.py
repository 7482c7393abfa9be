"""Fine-tuning and proving it, with nothing hidden: the whole of Tunesmith in one page.

    python examples/minimal_loop.py [STEPS]

What the library adds to this: packing without leaks, 4-bit bases, checkpoints and exact resume, a
store, cheap baselines, corrections for many tests, and a report. The mathematics is the same.
"""

from __future__ import annotations

import itertools
import random
import sys

import torch
from peft import LoraConfig, get_peft_model
from scipy.stats import binomtest
from transformers import AutoModelForCausalLM, AutoTokenizer

from tunesmith.data.generate import generate_rows
from tunesmith.models import nano
from tunesmith.tasks.dot import extract_graph, valid

BATCH, RANK, RATE, TEST_ROWS = 8, 16, 4e-3, 20


def chat(row: dict[str, str | None]) -> list[dict[str, str]]:
    """The prompt of a row, as messages."""
    given = row["input_text"] or row["input_code"]
    return [{"role": "user", "content": f"Draw this machine as a DOT graph.\n\n{given}"}]


def encode(tokenizer, row):
    """(ids, labels) of one example: -100 on the prompt, so that only the answer is learned."""
    prompt = tokenizer.apply_chat_template(chat(row), add_generation_prompt=True, tokenize=False)
    prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    answer = row["output_dot"] + tokenizer.eos_token  # the end of the turn is learned, too
    answer_ids = tokenizer(answer, add_special_tokens=False)["input_ids"]
    return prompt_ids + answer_ids, [-100] * len(prompt_ids) + answer_ids


def collate(tokenizer, batch):
    """Pad on the right; the padding is masked and never learned."""
    longest = max(len(ids) for ids, _ in batch)
    ids = torch.full((len(batch), longest), tokenizer.pad_token_id)
    labels = torch.full((len(batch), longest), -100)
    mask = torch.zeros((len(batch), longest), dtype=torch.long)
    for i, (row_ids, row_labels) in enumerate(batch):
        ids[i, : len(row_ids)] = torch.tensor(row_ids)
        labels[i, : len(row_ids)] = torch.tensor(row_labels)
        mask[i, : len(row_ids)] = 1
    return {"input_ids": ids, "attention_mask": mask}, labels


def batches(rows, seed=0):
    """Shuffled passes over the rows, for ever."""
    r = random.Random(seed)
    while True:
        order = r.sample(range(len(rows)), len(rows))
        for start in range(0, len(rows), BATCH):
            yield [rows[i] for i in order[start : start + BATCH]]


@torch.inference_mode()
def valid_answers(model, tokenizer, rows) -> list[bool]:
    """Whether each answer holds a valid DOT graph."""
    model.eval()
    found = []
    for row in rows:
        prompt = tokenizer.apply_chat_template(
            chat(row), add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        ids = model.generate(**prompt, max_new_tokens=160, do_sample=False)
        answer = tokenizer.decode(ids[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
        graph = extract_graph(answer)
        found.append(graph is not None and valid(graph))
    return found


def main(steps: int = 150) -> None:
    """Ask, train, ask again, and test whether the difference could be chance."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(nano.path())
    model = AutoModelForCausalLM.from_pretrained(nano.path(), dtype=torch.float32)
    train = [encode(tokenizer, row) for row in generate_rows("machines", 400, 0, "train")]
    test = list(generate_rows("machines", TEST_ROWS, 0, "test"))
    before = valid_answers(model, tokenizer, test)

    model = get_peft_model(
        model, LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear")
    )
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()
    for step, batch in enumerate(itertools.islice(batches(train), steps)):
        inputs, labels = collate(tokenizer, batch)
        logits = model(**inputs).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        print(f"step {step + 1}/{steps}  loss {loss.item():.3f}")

    after = valid_answers(model, tokenizer, test)
    won = sum(b and not a for a, b in zip(before, after, strict=True))
    lost = sum(a and not b for a, b in zip(before, after, strict=True))
    p = binomtest(won, won + lost).pvalue if won + lost else 1.0  # exact McNemar
    print(f"valid before {sum(before)}/{len(test)}, after {sum(after)}/{len(test)}, p = {p:.2g}")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:2]))
