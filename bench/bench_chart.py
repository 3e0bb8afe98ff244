"""A bar chart of the operations' costs as SVG, on a logarithmic scale."""
from xml.sax.saxutils import escape

SERIES = (("Tithe", "median", "#1f6f8b"), ("KVM", "kvm", "#e08e45"), ("Xen", "xen", "#8a8d91"))
LEFT, WIDTH, RIGHT = 190, 620, 70
TOP, BAR, GAP, AXIS = 70, 9, 8, 30


def _decades(largest):
    """Powers of ten up to the first that is not below largest."""
    powers = [1]
    while powers[-1] < largest:
        powers.append(powers[-1] * 10)
    return powers


def _length(value, decades):
    """Log scale; what costs nothing has a bar of no length."""
    from math import log10
    return WIDTH * log10(max(value, 1)) / max(1, len(decades) - 1)


def _text(x, y, text, anchor="start", size=11, colour="#222"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
            f'fill="{colour}">{escape(text)}</text>')


def _axis(decades, bottom):
    parts = []
    for power in decades:
        x = LEFT + _length(power, decades)
        parts.append(f'<line x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{bottom}" '
                     'stroke="#ddd"/>')
        parts.append(_text(x, TOP - 12, f"{power:,}", "middle", 10, "#555"))
    return parts


def _legend(series):
    parts, x = [], LEFT
    for title, _, colour in series:
        parts.append(f'<rect x="{x}" y="32" width="11" height="11" fill="{colour}"/>')
        parts.append(_text(x + 16, 42, title))
        x += 80
    return parts


def _operation(name, entry, series, y, decades):
    parts = [_text(LEFT - 8, y + BAR * len(series) / 2 + 4, name, "end")]
    for title, key, colour in series:
        value = entry.get(key)
        if value is not None:
            length = max(1, _length(value, decades))
            parts.append(f'<rect x="{LEFT}" y="{y:.1f}" width="{length:.1f}" height="{BAR - 1}" '
                         f'fill="{colour}"><title>{escape(title)}: {value:,}</title></rect>')
            parts.append(_text(LEFT + length + 4, y + BAR - 1.5, f"{value:,}", size=9,
                               colour="#555"))
        y += BAR
    return parts


def chart(result, heading):
    """The SVG's text. Peers stand beside us only where the unit is the same."""
    series = [s for s in SERIES if s[0] == "Tithe" or result["unit"] == "instructions"]
    operations = result["operations"]
    largest = max(entry.get(key) or 0 for entry in operations.values() for _, key, _ in series)
    decades = _decades(largest)
    step = BAR * len(series) + GAP
    bottom = TOP + step * len(operations)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + RIGHT}" '
             f'height="{bottom + AXIS}" font-family="sans-serif">',
             '<rect width="100%" height="100%" fill="white"/>', _text(8, 20, heading, size=14)]
    parts += _legend(series) + _axis(decades, bottom)
    for i, (name, entry) in enumerate(operations.items()):
        parts += _operation(name, entry, series, TOP + i * step, decades)
    return "\n".join(parts + ["</svg>", ""])
