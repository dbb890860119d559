"""Texts in CSV files: what a spreadsheet would run as a formula it shows as text."""

from __future__ import annotations

_BEGINS_FORMULA = tuple("=+-@＝＋－＠\t\r\n'")  # some spreadsheets take the wide ones, too


def to_cell(value: object) -> object:
    """A text that begins as a formula does behind an apostrophe, as spreadsheets write it; other values as they are."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_BEGINS_FORMULA) else value


def from_cell(text: str) -> str:
    """The text that `to_cell` was given."""
    return text[1:] if text.startswith("'") else text
