"""What a run found, to be shown: one HTML page, tables, and the summary for `--json`.

    page.render(store, run_id, out, sentence=…)   the page, one self-contained file
    tables.write(store, run_id, folder)           the same figures as CSV, Markdown and LaTeX
    tables.summary(store, run_id)                 the contract of `tunesmith run --json`

Only ever reads the store: a report that every stage pushes into becomes everybody's burden.
"""
