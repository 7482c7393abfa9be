"""Machines of the library `transitions` in Python source, read as literals: the code is never run.

In a file that imports the library, found are calls of a class whose name ends in `Machine`, with
the states and transitions that stand in the call or in names assigned before it, and what
`add_transition(s)` adds to the same variable. A function or method among the callbacks counts as
its name. What has to be computed is named as such and left.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

ARGUMENTS = ("model", "states", "initial", "transitions")  # of Machine, in their order
TRANSITION = ("trigger", "source", "dest", "conditions", "unless", "before", "after", "prepare")
CALLBACKS = frozenset(
    {"conditions", "unless", "before", "after", "prepare", "on_enter", "on_exit", "on_final"}
)
Node = ast.stmt | ast.expr
BUILDERS = frozenset({"add_transition", "add_transitions", "add_states", "add_state"})


@dataclass(frozen=True, slots=True)
class Machine:
    """The code of one machine, and its markup: states, transitions, initial."""

    code: str
    markup: Mapping[str, Any] = field(default_factory=dict)
    fault: str = ""


class _NotLiteralError(ValueError):
    pass


def find_machines(source: str) -> list[Machine]:
    """Every machine of a Python file, in its order."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        return [Machine(source, fault=f"not Python: {error}")]
    placed = (n for n in ast.walk(tree) if isinstance(n, ast.stmt | ast.expr))
    nodes = sorted(placed, key=lambda n: (n.lineno, n.col_offset))
    names = _imported(nodes)
    if not names:
        return []
    calls = [n for n in nodes if isinstance(n, ast.Call) and _is_machine(n, names)]
    return [_machine(source, nodes, call) for call in calls]


def _imported(nodes: Iterable[Node]) -> dict[str, str]:
    """Name in this file -> its own name, of what is imported from `transitions`."""
    names: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            packages = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            packages = [node.module or ""]
        else:
            continue
        if any(package.partition(".")[0] == "transitions" for package in packages):
            names |= {alias.asname or alias.name: alias.name for alias in node.names}
    return names


def _is_machine(call: ast.Call, imported: Mapping[str, str]) -> bool:
    name = _name(call.func)
    given = {k.arg for k in call.keywords}
    named = imported.get(name, name).endswith("Machine")  # its own subclass, too
    return named and (len(call.args) > 1 or "states" in given)


def _machine(source: str, nodes: list[Node], call: ast.Call) -> Machine:
    reader = _Reader(nodes, call.lineno)
    reader.used.append(_statement(nodes, call))
    try:
        markup = _markup(reader, call)
        _add(reader, nodes, call, markup)
    except _NotLiteralError as error:
        return Machine(source, fault=f"has to be computed: {error}")
    return Machine(_code(source, reader.used), markup)


def _markup(reader: _Reader, call: ast.Call) -> dict[str, Any]:
    given = dict(zip(ARGUMENTS, call.args, strict=False))
    given |= {k.arg: k.value for k in call.keywords if k.arg}
    if any(k.arg is None for k in call.keywords):
        raise _NotLiteralError("**arguments of the call")
    wanted = ("states", "transitions", "initial", "name", "ordered_transitions")
    markup = {key: reader.value(given[key]) for key in wanted if key in given}
    for key in ("states", "transitions"):
        markup[key] = list(markup.get(key) or ())
    markup["transitions"] = [_transition(t) for t in markup["transitions"]]
    return markup


def _add(reader: _Reader, nodes: list[Node], call: ast.Call, markup: dict[str, Any]) -> None:
    """What is added to the machine after it was made, where it has a name."""
    held = next((n for n in nodes if isinstance(n, ast.Assign) and n.value is call), None)
    names = {ast.dump(t).replace("Store()", "Load()") for t in held.targets} if held else set()
    for node in nodes:
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if node.func.attr not in BUILDERS or ast.dump(node.func.value) not in names:
            continue
        values = [reader.value(a) for a in node.args]
        named = {k.arg: reader.value(k.value, k.arg) for k in node.keywords if k.arg}
        if node.func.attr == "add_transition":
            markup["transitions"].append(dict(zip(TRANSITION, values, strict=False)) | named)
        else:
            added = values[0] if values else next(iter(named.values()))
            several = list(added) if isinstance(added, list | tuple) else [added]
            if node.func.attr == "add_transitions":
                markup["transitions"] += [_transition(t) for t in several]
            else:
                markup["states"] += several
        reader.used.append(_statement(nodes, node))


def _transition(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, list | tuple):
        return dict(zip(TRANSITION, value, strict=False))
    raise _NotLiteralError(f"the transition {value!r}")


class _Reader:
    """Values of expressions; names and attributes stand for what was last assigned before."""

    def __init__(self, nodes: Iterable[Node], before: int) -> None:
        self.used: list[ast.stmt] = []  # the statements that the values came from
        self._assigned: dict[str, ast.Assign | ast.AnnAssign] = {}
        for node in nodes:
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.lineno <= before:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    if (name := _name(target)) and node.value is not None:
                        self._assigned[name] = node

    def value(self, node: ast.expr, key: str | None = None) -> Any:
        """What an expression says; `key` is the argument or entry that it stands at."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return [self.value(item, key) for item in node.elts]
        if isinstance(node, ast.Dict):
            return self._dict(node)
        if key in CALLBACKS and not isinstance(node, ast.Call):
            return _name(node) or "lambda"
        if isinstance(node, ast.Call) and _name(node.func).endswith("State"):
            named = {k.arg: self.value(k.value, k.arg) for k in node.keywords if k.arg}
            return {**({"name": self.value(node.args[0])} if node.args else {}), **named}
        return self._sum(node) if isinstance(node, ast.BinOp) else self._name(node)

    def _dict(self, node: ast.Dict) -> dict[Any, Any]:
        if None in node.keys:
            raise _NotLiteralError("** in a dictionary")
        keys = [self.value(k) for k in node.keys if k is not None]
        return {k: self.value(v, str(k)) for k, v in zip(keys, node.values, strict=True)}

    def _sum(self, node: ast.BinOp) -> Any:
        left, right = self.value(node.left), self.value(node.right)
        if (
            not isinstance(node.op, ast.Add)
            or type(left) is not type(right)
            or not isinstance(left, list | str)
        ):
            raise _NotLiteralError(ast.unparse(node))
        return left + right

    def _name(self, node: ast.expr) -> Any:
        name = _name(node)
        assigned = self._assigned.pop(name, None) if name else None  # popped: x = x + 1 has no end
        if assigned is None or assigned.value is None:
            if isinstance(node, ast.Attribute) and name[:1].isupper():
                return name  # a member of an enumeration
            raise _NotLiteralError(ast.unparse(node)[:60])
        try:
            found = self.value(assigned.value)
        finally:
            self._assigned[name] = assigned
        if assigned not in self.used:
            self.used.append(assigned)
        return found


def _name(node: ast.expr) -> str:
    """`x` of `x`, of `self.x` and of `package.x`; "" of anything else."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def _statement(nodes: list[Node], inner: ast.expr) -> ast.stmt:
    """The smallest statement that an expression stands in."""
    around = [
        n
        for n in nodes
        if isinstance(n, ast.stmt)
        and n.lineno <= inner.lineno
        and (n.end_lineno or 0) >= (inner.end_lineno or 0)
    ]
    return max(around, key=lambda n: n.lineno)


def _code(source: str, statements: Iterable[ast.stmt]) -> str:
    """The statements as they are written, in their order, each moved to the margin."""
    lines = source.splitlines()
    wanted = sorted({(s.lineno, s.end_lineno or s.lineno) for s in statements})
    return "\n".join(textwrap.dedent("\n".join(lines[a - 1 : b])) for a, b in wanted)
