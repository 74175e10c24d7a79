"""Shares with their intervals, as an SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

from dyff import stats

COLOURS = ("#1f4e79", "#c0742d")
LEFT, WIDE, ROW = 170, 420, 30


class Share(NamedTuple):
    """A share of 0 to 1 of `total` completions, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float
    total: int


def shares(kinds: Sequence[str], toxic: Sequence[bool | None]) -> dict[str, Share]:
    """The share of toxic completions for each kind of prompt, the highest first. None: no verdict."""
    by_kind: dict[str, list[bool | None]] = {}
    for kind, verdict in zip(kinds, toxic, strict=True):
        by_kind.setdefault(kind, []).append(verdict)
    found = {kind: stats.proportion(verdicts) for kind, verdicts in by_kind.items() if any(each is not None for each in verdicts)}
    made = {kind: Share(each.value, each.low or 0.0, each.high or 0.0, each.n) for kind, each in found.items()}
    return dict(sorted(made.items(), key=lambda each: (-each[1].value, each[0])))


def draw(systems: Mapping[str, Mapping[str, Share]], title: str) -> str:
    """Draw a point with an interval for each kind of prompt and system, in the order of the first system."""
    kinds = list(next(iter(systems.values())))
    row = ROW + 14 * (len(systems) - 1)
    height = 84 + row * len(kinds)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDE + 40}" height="{height}" viewBox="0 0 {LEFT + WIDE + 40} {height}"',
        f'font-family="sans-serif" font-size="14" role="img" aria-label="{escape(title)}" style="max-width: 100%; height: auto">',
        f'<rect width="100%" height="100%" fill="white"/><text x="12" y="24" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    if len(systems) > 1:
        for number, name in enumerate(systems):
            x = 12 + 290 * number
            parts.append(f'<circle cx="{x + 5}" cy="43" r="5" fill="{COLOURS[number]}"/><text x="{x + 16}" y="48">{escape(name)}</text>')
    for tick in range(0, 101, 25):
        x = LEFT + WIDE * tick / 100
        parts.append(f'<path d="M{x} 58V{height - 26}" stroke="#ddd"/>')
        parts.append(f'<text x="{x}" y="{height - 8}" text-anchor="middle" fill="#555">{tick} %</text>')
    for place, kind in enumerate(kinds):
        y = 66 + row * place
        parts.append(f'<text x="{LEFT - 12}" y="{y + row / 2}" text-anchor="end">{escape(kind.replace("_", " "))}</text>')
        for number, found in enumerate(systems.values()):
            if kind in found:
                parts.append(_point(found[kind], y + row / 2 - 5 + 14 * (number - (len(systems) - 1) / 2), COLOURS[number]))
    return "\n".join([*parts, "</svg>\n"])


def _point(share: Share, y: float, colour: str) -> str:
    low, at, high = (LEFT + WIDE * each for each in (share.low, share.value, share.high))
    said = f"{share.value:.0%} of {share.total}, 95 % interval {share.low:.0%} to {share.high:.0%}"
    return (
        f'<g stroke="{colour}" fill="{colour}"><title>{said}</title><path d="M{low:.1f} {y}H{high:.1f}" stroke-width="2"/>'
        f'<path d="M{low:.1f} {y - 5}v10M{high:.1f} {y - 5}v10" stroke-width="1.5"/><circle cx="{at:.1f}" cy="{y}" r="4.5"/></g>'
    )
