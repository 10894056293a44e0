"""Plain SVG bars: groups of measured costs beside one another."""

import statistics
from xml.sax.saxutils import escape

from metadata.svg_plot import COLOURS

WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 860, 190, 100, 16, 14, 30


def bars(title, groups):
    """`groups`: (what, [(name, values)]). A bar is the least value, the line behind it the median."""
    names = list(dict.fromkeys(name for _, rows in groups for name, _ in rows))
    colours = dict(zip(names, COLOURS * 3))
    most = max(statistics.median(values) for _, rows in groups for _, values in rows)
    across = lambda value: value / most * (WIDTH - LEFT - RIGHT)
    out, y = [], TOP
    for what, rows in groups:
        out.append(_text(LEFT, y + 12, "start", what, "bold"))
        y += BAR + 2
        for name, values in rows:
            least, middle = min(values), statistics.median(values)
            out += [f'<rect x="{LEFT}" y="{y}" width="{across(least):.1f}" height="{BAR - 3}" fill="{colours[name]}"/>',
                    f'<line x1="{LEFT + across(least):.1f}" x2="{LEFT + across(middle):.1f}" y1="{y + BAR / 2 - 1.5}" '
                    f'y2="{y + BAR / 2 - 1.5}" stroke="{colours[name]}" stroke-width="2"/>',
                    _text(LEFT - 6, y + 11, "end", name),
                    _text(LEFT + across(middle) + 5, y + 11, "start", f"{least:.1f} / {middle:.1f}")]
            y += BAR
        y += GAP
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" font-family="sans-serif" font-size="12" '
            f'fill="#222">\n<rect width="{WIDTH}" height="{y}" fill="#fff"/>\n')
    return head + _text(8, 18, "start", title) + "\n" + "\n".join(out) + "\n</svg>\n"


def _text(x, y, anchor, text, weight="normal"):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'
