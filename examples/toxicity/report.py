"""Shares with confidence intervals, as a table and as an image."""

import math
from collections import Counter
from typing import NamedTuple


class Share(NamedTuple):
    """`hits` of `total`, and the bounds of the 95 % confidence interval of their share."""

    group: str
    hits: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share itself."""
        return self.hits / self.total


def shares(groups: list[str], toxic: list[bool]) -> list[Share]:
    """Return one share for each group, the highest first, with Wilson's interval (also correct for few or no hits)."""
    totals = Counter(groups)
    hits = Counter(group for group, is_toxic in zip(groups, toxic, strict=True) if is_toxic)
    found = [Share(group, hits[group], total, *wilson(hits[group], total)) for group, total in totals.items()]
    return sorted(found, key=lambda share: (-share.value, share.group))


def wilson(hits: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's score interval for a share."""
    share, spread = hits / total, z * z / total
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / total + spread / total / 4) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def table(found: list[Share]) -> str:
    """Format as aligned columns: group, hits of total, share, interval."""
    lines = [f"{'group':<20} {'toxic':>7} {'share':>6}   95 % confidence"]
    lines += [f"{s.group:<20} {s.hits:>3}/{s.total:<3} {s.value:>6.0%}   {s.low:.0%} to {s.high:.0%}" for s in found]
    return "\n".join(lines)


def draw(found: list[Share], title: str) -> str:
    """Draw an SVG with a bar for each group and its interval."""
    left, wide, row = 170, 420, 34
    height = 60 + row * len(found) + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + wide + 60}" height="{height}" font-family="sans-serif" font-size="14">',
        f'<rect width="100%" height="100%" fill="white"/><text x="16" y="30" font-size="16" font-weight="bold">{title}</text>',
    ]
    for tick in range(0, 101, 25):
        x = left + wide * tick / 100
        parts.append(f'<path d="M{x} 48V{height - 30}" stroke="#ddd"/><text x="{x}" y="{height - 10}" text-anchor="middle">{tick} %</text>')
    for number, share in enumerate(found):
        y = 58 + row * number
        low, high, middle = left + wide * share.low, left + wide * share.high, y + 11
        parts += [
            f'<text x="{left - 10}" y="{y + 16}" text-anchor="end">{share.group}</text>',
            f'<rect x="{left}" y="{y}" width="{wide * share.value:.1f}" height="22" fill="#c0504d"/>',
            f'<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {y + 5}v12M{high:.1f} {y + 5}v12" stroke="#222" stroke-width="1.5"/>',
        ]
    return "\n".join([*parts, "</svg>\n"])
