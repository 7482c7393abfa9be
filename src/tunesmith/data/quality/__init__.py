"""What is wrong with single rows, one file per kind of finding, each a function of values.

A detector takes Examples and gives a `Flag`: which rows, why, what to do. `panel` runs them for
`tunesmith data check`, for `tunesmith data prepare` and for a run; `mask` hides what is private in
everything that is shown.
"""
