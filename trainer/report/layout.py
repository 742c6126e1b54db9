"""Pieces of a page that needs nothing but itself: no script, no network, readable on a phone and by a screen reader.

Whatever comes from outside (labels, file names) is escaped here and nowhere else: a `Html` is finished.
"""

import base64
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

STYLE = Path(__file__).with_name("style.css")


@dataclass(frozen=True)
class Html:
    """Markup that may stand in the page as it is."""

    text: str


Content = Html | str


def escaped(content: Content) -> str:
    return content.text if isinstance(content, Html) else html.escape(content)


def joined(parts: Iterable[Content]) -> Html:
    return Html("\n".join(escaped(part) for part in parts))


def paragraph(text: Content) -> Html:
    return Html(f"<p>{escaped(text)}</p>")


def bullets(lines: Sequence[Content]) -> Html:
    return Html("<ul>" + "".join(f"<li>{escaped(line)}</li>" for line in lines) + "</ul>") if lines else Html("")


def section(name: str, title: str, parts: Iterable[Content]) -> Html:
    """``name``: its anchor."""
    body = joined(parts).text
    return Html(f'<section aria-labelledby="{name}">\n<h2 id="{name}">{html.escape(title)}</h2>\n{body}\n</section>')


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[Content]], numbers: bool = True) -> Html:
    """The first cell of a row is its heading. ``numbers``: the other cells stand to the right. It scrolls by itself
    where it is too wide."""
    top = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in head)
    lines = []
    for row in rows:
        cells = "".join(f"<td>{escaped(cell)}</td>" for cell in row[1:])
        lines.append(f'<tr><th scope="row">{escaped(row[0])}</th>{cells}</tr>')
    kind = "numbers" if numbers else "words"
    return scrolling(caption, kind, f"<thead><tr>{top}</tr></thead>\n<tbody>\n{chr(10).join(lines)}\n</tbody>")


def scrolling(caption: str, kind: str, body: str) -> Html:
    """A table under its caption, which stays where it is when the table is scrolled."""
    text = html.escape(caption)
    return Html(
        f'<p class="caption">{text}</p>\n<div class="scroll" tabindex="0" role="region" aria-label="{text}">'
        f'<table class="{kind}" aria-label="{text}">\n{body}</table></div>'
    )


def figure(image: str, says: str, caption: Content = "") -> Html:
    """``image``: a data address. ``says``: what it shows, for those who do not see it."""
    below = f"<figcaption>{escaped(caption)}</figcaption>" if caption else ""
    return Html(f'<figure><img src="{image}" alt="{html.escape(says)}">{below}</figure>')


def data_address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def page(title: str, parts: Iterable[Content]) -> str:
    """The document. Its policy forbids whatever does not come with it."""
    policy = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{html.escape(title)}</title>
<style>
{STYLE.read_text(encoding="utf-8")}</style>
</head>
<body>
<main>
{joined(parts).text}
</main>
</body>
</html>
"""
