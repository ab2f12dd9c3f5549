"""svg - bar and line charts as small SVG files that read well in light and in dark.

Pure: figures in, text out. Each has a background of its own, so it does not depend on the page's."""

import math
from html import escape
from typing import NamedTuple, Optional, Sequence

WIDTH = 760
MARGIN = 20
LABEL_PX = 13
CHAR_PX = 6.9  # of the widest usual letters at LABEL_PX: text may be narrower, never much wider
BAR_PX, BAR_GAP_PX = 20, 12
PLOT_PX = 260  # height of a line chart's plot

# Blue, orange, green, purple tell apart with every common colour blindness, on both grounds.
STYLE = """
.ground{fill:#ffffff}.text{fill:#1f2933}.faint{fill:#5b6770}.grid{stroke:#dfe4e8}.axis{stroke:#87939c}
.k0{fill:#1f6fb5;stroke:#1f6fb5}.k1{fill:#8a949c;stroke:#8a949c}.k2{fill:#c65d07;stroke:#c65d07}
.k3{fill:#2b8a57;stroke:#2b8a57}.k4{fill:#7d4fb3;stroke:#7d4fb3}.k5{fill:#a8324a;stroke:#a8324a}
.mark{stroke:#2b8a57;stroke-dasharray:5 3}.whisker{stroke:#1f2933}
text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;stroke:none}
.title{font-size:16px;font-weight:600}.small{font-size:12px}.line{fill:none;stroke-width:1.8}
.value{stroke:#ffffff;stroke-width:4px;paint-order:stroke}
@media (prefers-color-scheme:dark){
.ground{fill:#14191e}.text{fill:#e6eaed}.faint{fill:#a3adb5}.grid{stroke:#2b343b}.axis{stroke:#6c7881}
.k0{fill:#63aef0;stroke:#63aef0}.k1{fill:#8b969e;stroke:#8b969e}.k2{fill:#f0934a;stroke:#f0934a}
.k3{fill:#63c794;stroke:#63c794}.k4{fill:#b794ea;stroke:#b794ea}.k5{fill:#ee8096;stroke:#ee8096}
.mark{stroke:#63c794}.whisker{stroke:#e6eaed}.value{stroke:#14191e}}
.line{fill:none}
""".strip()

KINDS = {"ours": "k0", "limit": "k1", "peer": "k2"}
LINE_KINDS = ("k0", "k2", "k3", "k4", "k5", "k1")


class Bar(NamedTuple):
    """`kind` is ours, limit or peer; low and high make the whisker."""

    label: str
    value: float
    low: float
    high: float
    kind: str = "ours"


class Line(NamedTuple):
    label: str
    points: Sequence  # of (x, y)


def number(value):
    """Three figures that count, and no more zeros than that takes."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{min(decimals, 6)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def ticks(low, high, wanted=5):
    """Round numbers from at or below low to at or above high: steps of 1, 2 or 5 times a power of ten."""
    span = (high - low) or abs(high) or 1
    rough = span / wanted
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * at for at in range(first, max(last, first + 1) + 1)]


class Canvas:
    """Elements, and the file around them."""

    def __init__(self, title):
        self.title = title
        self.parts = []

    def text(self, x, y, words, kind="text", anchor="start", more=""):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}"{more}>'
                          f"{escape(words)}</text>")

    def line(self, x1, y1, x2, y2, kind, width=1):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}" '
                          f'stroke-width="{width}"/>')

    def box(self, x, y, width, height, kind):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(0, width):.1f}" height="{height:.1f}" '
                          f'class="{kind}" stroke-width="0"/>')

    def curve(self, points, kind):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" class="{kind} line"/>')

    def head(self, subtitle):
        """Title and subtitle; the y below them."""
        self.text(MARGIN, MARGIN + 12, self.title, "text title")
        if subtitle:
            self.text(MARGIN, MARGIN + 32, subtitle, "faint small")
        return MARGIN + (44 if subtitle else 24)

    def file(self, height):
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
                f'height="{height:.0f}" role="img"><title>{escape(self.title)}</title>\n<style>{STYLE}</style>\n'
                f'<rect class="ground" width="100%" height="100%" rx="8"/>\n' + "\n".join(self.parts) + "\n</svg>\n")


def bar_chart(title, subtitle, unit, bars, marks=()):
    """Horizontal bars with whiskers. `marks`: (value, label) of dashed lines across them, such as a goal."""
    canvas = Canvas(title)
    top = canvas.head(subtitle) + (18 if marks else 4)
    left = MARGIN + max(len(bar.label) for bar in bars) * CHAR_PX + 10
    values = [f"{number(bar.value)} {unit}".strip() for bar in bars]
    right = WIDTH - MARGIN - max(map(len, values)) * CHAR_PX - 12
    scale_ticks = ticks(0, max([bar.high for bar in bars] + [value for value, _ in marks]))

    def x_of(value):
        return left + (right - left) * value / scale_ticks[-1]

    bottom = top + len(bars) * (BAR_PX + BAR_GAP_PX)
    for value in scale_ticks:
        canvas.line(x_of(value), top, x_of(value), bottom, "grid")
        canvas.text(x_of(value), bottom + 16, number(value), "faint small", "middle")
    for value, label in marks:  # below the bars' words, which have an edge of the ground's colour
        canvas.line(x_of(value), top - 4, x_of(value), bottom, "mark", 1.6)
        canvas.text(x_of(value), top - 8, label, "text small", "middle")
    for at, (bar, words) in enumerate(zip(bars, values)):
        y = top + at * (BAR_PX + BAR_GAP_PX) + BAR_GAP_PX / 2
        canvas.text(left - 10, y + BAR_PX - 5, bar.label, "text", "end")
        canvas.box(left, y, x_of(bar.value) - left, BAR_PX, KINDS[bar.kind])
        if bar.high > bar.low:
            whisker(canvas, x_of(bar.low), x_of(bar.high), y + BAR_PX / 2)
        canvas.text(max(x_of(bar.value), x_of(bar.high)) + 8, y + BAR_PX - 5, words, "text value")
    return canvas.file(bottom + 34)


def whisker(canvas, x1, x2, y):
    canvas.line(x1, y, x2, y, "whisker", 1.4)
    for x in (x1, x2):
        canvas.line(x, y - 4, x, y + 4, "whisker", 1.4)


def line_chart(title, subtitle, x_label, y_label, lines, from_zero=True, y_max: Optional[float] = None):
    """Curves over one pair of axes, with a legend below. Lines without points are left out."""
    lines = [line for line in lines if line.points]
    canvas = Canvas(title)
    top = canvas.head(subtitle) + 8
    xs = [x for line in lines for x, _ in line.points] or [0]
    ys = [y for line in lines for _, y in line.points] or [0]
    x_ticks = ticks(min(xs), max(xs), 6)
    y_ticks = ticks(0 if from_zero else min(ys), max(ys) if y_max is None else y_max)
    left = MARGIN + max(len(number(value)) for value in y_ticks) * CHAR_PX + 26
    right, bottom = WIDTH - MARGIN - 8, top + PLOT_PX
    x_low, x_span = x_ticks[0], x_ticks[-1] - x_ticks[0]
    y_low, y_span = y_ticks[0], y_ticks[-1] - y_ticks[0]

    def place(x, y):
        return left + (right - left) * (x - x_low) / x_span, bottom - PLOT_PX * (y - y_low) / y_span

    for value in y_ticks:
        y = place(x_low, value)[1]
        canvas.line(left, y, right, y, "grid")
        canvas.text(left - 8, y + 4, number(value), "faint small", "end")
    for value in x_ticks:
        canvas.text(place(value, y_low)[0], bottom + 18, number(value), "faint small", "middle")
    canvas.line(left, bottom, right, bottom, "axis")
    canvas.text((left + right) / 2, bottom + 36, x_label, "faint small", "middle")
    middle = (top + bottom) / 2
    canvas.text(MARGIN, middle, y_label, "faint small", "middle", f' transform="rotate(-90 {MARGIN} {middle:.1f})"')
    for at, line in enumerate(lines):
        canvas.curve([place(*point) for point in line.points], LINE_KINDS[at % len(LINE_KINDS)])
    return canvas.file(legend(canvas, lines, left, bottom + 58) + 18)


def legend(canvas, lines, left, y):
    """A box and a name each, in as many rows as they take; the y of the last row."""
    x = left
    for at, line in enumerate(lines):
        width = 26 + len(line.label) * CHAR_PX + 14
        if x > left and x + width > WIDTH - MARGIN:
            x, y = left, y + 20
        canvas.box(x, y - 9, 14, 9, LINE_KINDS[at % len(LINE_KINDS)])
        canvas.text(x + 20, y, line.label, "text small")
        x += width
    return y
