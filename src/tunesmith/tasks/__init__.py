"""Tasks: how a row becomes a prompt, how a response is read, and what it is worth.

Pure code: values in, values out. The one exception is `tasks.dot.validity`, which asks the `dot`
program of Graphviz whether a graph is valid.
"""
