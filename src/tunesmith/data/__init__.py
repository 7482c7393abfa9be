"""Data: files, folders and hub ids -> rows -> Examples -> findings -> splits.

    read ──▶ shape ──▶ clean ──▶ check
                         └─────▶ split ──▶ freeze

`read` yields rows with their place; `shape` says what a row looks like and makes an Example of it
with the Task; `clean` keeps, repairs or sets aside each row; `check` counts what the owner should
know; `split` parts by prompt, so that no prompt stands on both sides; `freeze` writes the parts.
"""
