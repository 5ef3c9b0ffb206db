"""docs/emulator.md names every action and every open question with its default, and its example runs."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from kmsenvelope.emulator.actions import ACTIONS
from kmsenvelope.emulator.policy import Policy

TEXT = (Path(__file__).parent.parent / "docs" / "emulator.md").read_text()


def test_every_action_is_named():
    assert [action for action in ACTIONS if not re.search(rf"\b{action}\b", TEXT)] == []


@pytest.mark.parametrize("field", fields(Policy), ids=lambda field: field.name)
def test_every_open_question_is_named_with_its_default(field):
    (row,) = [line for line in TEXT.splitlines() if line.startswith(f"| `{field.name}` |")]
    default = row.split("|")[2].strip().strip("`")
    expected = "none" if field.default == frozenset() else str(field.default)
    assert default == expected


def test_no_question_is_named_that_is_none():
    named = set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE))
    assert named == {field.name for field in fields(Policy)}


def test_the_example_runs():
    (block,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    exec(block, {})
