"""Plain SVG plots over time: panels below one another, lines, and events marked across all of them."""

from math import floor, log10
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, TOP, BOTTOM, PANEL, GAP = 860, 64, 190, 34, 40, 170, 34
# Distinguishable without colour vision, too: Okabe and Ito's palette.
COLOURS = ["#d55e00", "#0072b2", "#009e73", "#000000", "#cc79a7", "#e69f00", "#56b4e9"]


class Panel:
    """Lines that share a vertical axis, which begins at 0."""

    def __init__(self, what, top=None):
        self.what, self.top, self.lines, self.levels = what, top, [], []

    def line(self, name, points):
        """`points`: (second, value); a value of None leaves a gap."""
        self.lines.append((name, list(points)))
        return self

    def level(self, name, value):
        """A bound: a dashed line across."""
        self.levels.append((name, value))
        return self


def write(path, title, panels, events=()):
    """`events`: (second, what happened)."""
    path.write_text(drawn(title, panels, events))


def drawn(title, panels, events=(), unit=" s"):
    """The SVG; `unit`: of what is drawn from left to right."""
    seconds = [x for panel in panels for _, points in panel.lines for x, _ in points]
    begin, end = min(seconds), max(seconds)
    height = TOP + len(panels) * (PANEL + GAP) + BOTTOM
    across = lambda x: LEFT + (x - begin) / ((end - begin) or 1) * (WIDTH - LEFT - RIGHT)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
           f'font-size="12" fill="#222">', f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
           _text(LEFT, 18, "start", title)]
    for number, panel in enumerate(panels):
        out += _panel(panel, TOP + GAP / 2 + number * (PANEL + GAP), across)
    bottom = TOP + GAP / 2 + len(panels) * (PANEL + GAP) - GAP
    for number, (second, what) in enumerate(events):
        x = across(second)
        out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP + GAP / 2}" y2="{bottom}" stroke="#888" '
                   f'stroke-dasharray="2 3"/>')
        out.append(_text(x + 2, bottom + 30 + 11 * (number % 3), "start", what, size=10))
    for x in _ticks(begin, end):
        out.append(_text(across(x), bottom + 16, "middle", _short(x) + unit))
    return "\n".join(out) + "\n</svg>\n"


def _panel(panel, top, across):
    values = [y for _, points in panel.lines for _, y in points if y is not None] + [y for _, y in panel.levels]
    ceiling = panel.top or max(values, default=1) * 1.08 or 1
    up = lambda y: top + PANEL - min(y, ceiling) / ceiling * PANEL
    out = [_text(LEFT, top - 5, "start", panel.what)]
    for value in _ticks(0, ceiling, 4):
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(value):.1f}" y2="{up(value):.1f}" stroke="#ddd"/>')
        out.append(_text(LEFT - 6, up(value) + 4, "end", _short(value)))
    names = []
    for number, (name, points) in enumerate(panel.lines):
        colour = COLOURS[number % len(COLOURS)]
        for run in _runs(points):
            path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in run)
            out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{path}"/>')
        names.append((name, colour, ""))
    for name, value in panel.levels:
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(value):.1f}" y2="{up(value):.1f}" '
                   f'stroke="#444" stroke-dasharray="6 4"/>')
        names.append((name, "#444", ' stroke-dasharray="6 4"'))
    for number, (name, colour, dashes) in enumerate(names):
        x, y = WIDTH - RIGHT + 12, top + 12 + 18 * number
        out.append(f'<line x1="{x}" x2="{x + 18}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="3"{dashes}/>')
        out.append(_text(x + 24, y + 4, "start", name))
    return out


def _runs(points):
    """The points between gaps."""
    run = []
    for x, y in points:
        if y is None:
            if run:
                yield run
            run = []
        else:
            run.append((x, y))
    if run:
        yield run


def _ticks(begin, end, steps=8):
    rough = (end - begin) / steps or 1
    magnitude = 10 ** floor(log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= rough)
    first = -(-begin // step)
    return [(first + number) * step for number in range(int((end - first * step) / step + 1e-9) + 1)]


def _short(value):
    return f"{value:.3f}".rstrip("0").rstrip(".") if abs(value) < 10_000 else f"{value / 1000:.0f}k"


def _text(x, y, anchor, text, size=12):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'
