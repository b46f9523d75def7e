"""Small tables with which objects show themselves in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape


def table(title: str, rows: Mapping[str, object]) -> str:
    """Return a table of two columns in HTML, under a title.

    Examples
    --------
    >>> table("View", {"mag": 1})
    '<b>View</b><table><tr><th style="text-align:left">mag</th><td style="text-align:left">1</td></tr></table>'
    """
    left = 'style="text-align:left"'
    cells = (
        f"<tr><th {left}>{escape(name)}</th><td {left}>{escape(str(value))}</td></tr>" for name, value in rows.items()
    )
    return f"<b>{escape(title)}</b><table>{''.join(cells)}</table>"
