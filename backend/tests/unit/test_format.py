"""The format's own description is true: docs/data-format.md lists its files and columns."""

import re

import pytest

from eventlink.config import PROJECT_ROOT
from eventlink.importers.format import FORMAT, Kind, Table

TEXT = (PROJECT_ROOT / "docs" / "data-format.md").read_text(encoding="utf-8")
LIKE = {"hidden_tags": "user_interest_tags", "blocked_organizers": "follows"}
"""Tables that the document describes by another with the same columns."""


@pytest.mark.parametrize("table", FORMAT, ids=lambda table: table.name)
def test_every_column_is_documented_in_the_order_of_an_export(table: Table) -> None:
    described = LIKE.get(table.name, table.name)
    section = re.search(rf"^### {described}$(.*?)^##", TEXT, re.MULTILINE | re.DOTALL)
    assert section is not None
    rows = re.findall(r"^\| (`.+?) \| (.+?) \| (.+?) \|$", section.group(1), re.MULTILINE)
    told = {name: row for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    assert list(told) == [column.name for column in table.all_columns]
    for column in table.all_columns:
        _, kind, empty = told[column.name]
        assert column.required == empty.startswith("*required*"), column.name
        assert column.filled == empty.endswith("never empty"), column.name
        assert all(f"`{choice}`" in kind for choice in column.choices), column.name
        assert (column.kind is Kind.INSTANT) == kind.startswith("instant"), column.name


@pytest.mark.parametrize("table", FORMAT, ids=lambda table: table.name)
def test_every_key_is_documented(table: Table) -> None:
    keys = TEXT.partition("| file | key |")[2]
    assert re.search(rf"^\| (\w+, )*{table.name}(, \w+)* \| `", keys, re.MULTILINE)
