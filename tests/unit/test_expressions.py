"""What a caller says reaches the database as a value, never as part of an expression (B8)."""

import ast
from pathlib import Path

import pytest

from tests.support import ROOT

EXPRESSIONS = {
    "ConditionExpression", "FilterExpression", "KeyConditionExpression", "ProjectionExpression", "UpdateExpression",
    "ExpressionAttributeNames", "Statement", "IndexName",
}  # fmt: skip
SOURCES = [path for part in ("functions", "layers/shared") for path in sorted((ROOT / part).rglob("*.py"))]


def constants(tree: ast.Module) -> set[str]:
    """Names bound once at the top of the module, to a constant."""
    bound = [node for node in tree.body if isinstance(node, ast.Assign)]
    names = [target.id for node in bound for target in node.targets if isinstance(target, ast.Name)]
    return {
        node.targets[0].id
        for node in bound
        if isinstance(node.targets[0], ast.Name)
        and constant(node.value, set())
        and names.count(node.targets[0].id) == 1
    }


def constant(value: ast.expr | None, named: set[str]) -> bool:
    if isinstance(value, ast.Dict):
        return all(constant(one, named) for one in [*value.keys, *value.values])
    return isinstance(value, ast.Constant) or (isinstance(value, ast.Name) and value.id in named)


def made_up(source: str) -> list[int]:
    """The lines where an expression, or the name of an attribute, is put together when the program runs."""
    tree = ast.parse(source)
    named = constants(tree)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            given = [(keyword.arg, keyword.value) for keyword in node.keywords]
            if (
                isinstance(node.func, ast.Name)
                and node.func.id == "getattr"
                and ast.unparse(node.args[0]).endswith("Row")
            ):
                given.append(("ExpressionAttributeNames", node.args[1]))
        elif isinstance(node, ast.Dict):
            given = [
                (key.value, value)
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant)
            ]
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            key = node.targets[0].slice
            given = [(key.value, node.value)] if isinstance(key, ast.Constant) else []
        else:
            continue
        found += [value.lineno for name, value in given if name in EXPRESSIONS and not constant(value, named)]
    return sorted(set(found))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_expressions_are_constants(path: Path) -> None:
    assert made_up(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "bad",
    [
        'db.query(KeyConditionExpression=f"pk = {who}")',
        'db.query(KeyConditionExpression="pk = " + who)',
        'db.query(FilterExpression="a = %s" % who)',
        'db.query(FilterExpression="a = {}".format(who))',
        'request = {"UpdateExpression": expression}',
        'request["ConditionExpression"] = " AND ".join(parts)',
        'db.query(ExpressionAttributeNames={"#a": name})',
        'db.execute_statement(Statement=f"SELECT * FROM t WHERE pk = {who}")',
        "row = getattr(TicketRow, name)",
        'E = "pk = :pk"\nE = f"pk = {who}"\ndb.query(KeyConditionExpression=E)',
    ],
)
def test_an_expression_put_together_is_found(bad: str) -> None:
    assert made_up(bad)


@pytest.mark.parametrize(
    "good",
    [
        'db.query(KeyConditionExpression="pk = :pk", ExpressionAttributeNames={"#a": "at"})',
        'KEY = "pk = :pk"\ndb.query(KeyConditionExpression=KEY)',
        'policy = {"Statements": []}',
    ],
)
def test_a_constant_is_let_through(good: str) -> None:
    assert made_up(good) == []
