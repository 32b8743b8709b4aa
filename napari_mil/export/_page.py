"""The parts of a page that needs no other file: headings, lists, tables, pictures within."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_STYLE = """
:root{color-scheme:light}
body{font:15px/1.5 system-ui,"Segoe UI",Helvetica,Arial,sans-serif;color:#1c1c1c;background:#fff;max-width:1000px;
margin:1.5rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin:0}h2{font-size:1.15rem;margin:1.8rem 0 .4rem;border-bottom:1px solid #d8d8d8}
p{margin:.4rem 0}ul{margin:.3rem 0;padding-left:1.3rem}img{max-width:100%;height:auto;display:block}
table{border-collapse:collapse;margin:.4rem 0}th,td{padding:.25rem .9rem .25rem 0;text-align:left;vertical-align:top;
border-bottom:1px solid #e4e4e4}th{font-weight:600;color:#4a4a4a}
figure{margin:.6rem 0}figcaption,.quiet{color:#4a4a4a;font-size:13px}
.not{border:1px solid #b8860b;border-left-width:5px;padding:.4rem .9rem;margin:1rem 0;background:#fffaf0}
.patches td{border:0;padding:0 10px 10px 0;font-size:13px;color:#4a4a4a}.patches tr{break-inside:avoid}
@media print{body{margin:0;max-width:none;font-size:11pt}h2{break-after:avoid}figure,tr,.not{break-inside:avoid}
.patches img{width:105px}}
"""


def page(title: str, parts: Iterable[str]) -> str:
    """Return a whole page, light on every computer and fit to print."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n{''.join(parts)}</body></html>\n"
    )


def section(title: str, body: str) -> str:
    """Return one part of the page under its heading; the body is HTML."""
    return f"<section><h2>{escape(title)}</h2>{body}</section>\n"


def bullets(lines: Iterable[str]) -> str:
    """Return lines of text as a list."""
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def table(header: Sequence[str] | None, rows: Sequence[Sequence[str]]) -> str:
    """Return a table of text."""
    head = ""
    if header is not None:
        head = f"<thead><tr>{''.join(f'<th>{escape(name)}</th>' for name in header)}</tr></thead>"
    body = "".join(f"<tr>{''.join(f'<td>{escape(value)}</td>' for value in row)}</tr>" for row in rows)
    return f"<table>{head}<tbody>{body}</tbody></table>"


def picture(source: str, caption: str) -> str:
    """Return a picture with words below it."""
    words = escape(caption)
    return f'<figure><img alt="{words}" src="{source}"><figcaption>{words}</figcaption></figure>'


def embedded(picture: Image.Image, form: str) -> str:
    """Return a picture as a data address."""
    file = io.BytesIO()
    picture.save(file, form, **({"quality": 88} if form == "JPEG" else {}))
    return f"data:image/{form.lower()};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
