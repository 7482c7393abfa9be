"""Trainings of several methods and seeds, computed: least squares by gradient descent."""

from __future__ import annotations

import math

import numpy as np

from tunesmith.records import StudyRun, TrainingStep

STEPS = 40


def training(
    method: str,
    seed: int,
    *,
    rate: float,
    rank: int = 8,
    task: str = "lines",
    study: str = "small",
    steps: int = STEPS,
) -> StudyRun:
    """A linear model trained on what the seed draws; `rank` of its 8 inputs are used."""
    rng = np.random.default_rng([seed, len(task)])
    clock = np.random.default_rng([seed, *map(ord, method)])
    truth = np.linspace(1.0, 0.2, 8)
    x, fresh = rng.normal(size=(steps, 16, 8)), rng.normal(size=(200, 8))
    noise, late = rng.normal(size=(steps, 16)) * 0.3, rng.normal(size=200) * 0.3
    weights, curve = np.zeros(8), []

    def held_out() -> float:
        return float(np.mean((fresh @ (weights - truth) - late) ** 2))

    for step in range(steps):
        wrong = x[step] @ (weights - truth) - noise[step]
        gradient = x[step].T @ wrong / 16
        gradient[rank:] = 0
        weights = weights - rate * gradient
        curve.append(
            TrainingStep(
                step=step + 1,
                epoch=(step + 1) / steps,
                loss=float(np.mean(wrong**2)),
                learning_rate=rate,
                grad_norm=float(np.linalg.norm(gradient)),
                tokens=160,
                answer_tokens=int(40 + rng.integers(0, 9)),
                seconds=0.01 * rank + float(clock.random()) * 1e-3,
                memory_bytes=10_000_000 + 1000 * rank,
                validation_loss=held_out() if (step + 1) % 10 == 0 else None,
            )
        )
    return StudyRun(
        study=study,
        task=task,
        method=method,
        seed=seed,
        trial=None,
        learning_rate=rate,
        run=f"run-{task}-{seed}",
        curve=tuple(curve),
        validation_loss=held_out(),
        held_out_loss=held_out(),
        scores={"near": float(np.mean(np.abs(fresh @ (weights - truth)) < 0.5))},
        trainable_parameters=rank,
        adapter_bytes=8 * rank,
        seconds=math.fsum(s.seconds for s in curve),
        peak_memory_bytes=max(s.memory_bytes for s in curve),
        tokens=sum(s.tokens for s in curve),
        general_perplexity=(20.0, 20.0 * math.exp(0.1 * rate + 0.01 * float(clock.random()))),
        drift=float(np.linalg.norm(weights)),
    )


def study(seeds: int = 5, *, tasks: tuple[str, ...] = ("lines",)) -> list[StudyRun]:
    """Three methods: a good one, a slow one, and one that adapts half the inputs."""
    how = {"full": (0.2, 8), "slow": (0.02, 8), "half": (0.2, 4)}
    return [
        training(method, seed, rate=rate, rank=rank, task=task)
        for task in tasks
        for method, (rate, rank) in how.items()
        for seed in range(1, seeds + 1)
    ]
