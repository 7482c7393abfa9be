"""The evaluation stage: put every example to whatever answers, and score what comes back.

`answer` asks and scores, a model or anything else that is a Responder; `cheap` holds the baselines
that need no model; `perplexity` says how expected the gold answers are.
"""
