"""How a picture of text lies, and its lines as they are when it is held upright. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Corner = tuple[float, float]
Sides = tuple[float, float, float, float]  # left, top, right, bottom

_TELLING = 2.0  # times as long as it is high: the direction of a shorter line is a guess
_TALL = 1.5  # times as high as it is wide: such a line is written upwards or downwards
_LEVEL = math.radians(0.5)  # less is no slant, and boxes are no better than that


@dataclass(frozen=True)
class Slant:
    """The direction that most lines are read in, as an angle: 0 to the right, a quarter turn (clockwise) downwards."""

    angle: float

    @classmethod
    def of(cls, boxes: Sequence[Sequence[Corner]], texts: Sequence[str], *, flipped: bool) -> Slant:
        """What the corners of lines say (clockwise from the top left), and of what stands on its head, the engine.

        Long lines say more than short ones. Lines of both directions, as in charts, count for the one that has more text.
        """
        seen = [(_direction(box), len(text)) for box, text in zip(boxes, texts, strict=True) if _tells(box)]
        if not seen:
            return cls(math.pi if flipped else 0.0)
        down = sum(size for (_, tall), size in seen if tall) > sum(size for (_, tall), size in seen if not tall)
        mine = [(angle, size) for (angle, tall), size in seen if tall is down]
        angle = _median(mine) + (math.pi if flipped else 0.0)
        quarter = round(angle / (math.pi / 2)) * (math.pi / 2)
        return cls(quarter if abs(angle - quarter) < _LEVEL else angle)

    def upright(self, box: Sequence[Corner]) -> Sides:
        """The sides of a line in the picture, when that is turned so that lines run to the right."""
        if not self.angle:
            return _sides(box)
        sine, cosine = math.sin(self.angle), math.cos(self.angle)
        return _sides([(x * cosine + y * sine, y * cosine - x * sine) for x, y in box])

    def place(self, box: Sequence[Corner]) -> Sides | None:
        """The sides of a line in the picture as it is, where they are others."""
        return _sides(box) if self.angle else None


def _sides(box: Sequence[Corner]) -> Sides:
    xs, ys = [x for x, _ in box], [y for _, y in box]
    return min(xs), min(ys), max(xs), max(ys)


def _tells(box: Sequence[Corner]) -> bool:
    wide, high = math.dist(box[0], box[1]), math.dist(box[0], box[3])
    return max(wide, high) > _TELLING * min(wide, high)


def _direction(box: Sequence[Corner]) -> tuple[float, bool]:
    """The angle that a line runs in, and whether it runs down the picture rather than across."""
    tall = math.dist(box[0], box[3]) > _TALL * math.dist(box[0], box[1])
    (x0, y0), (x1, y1) = (box[0], box[3]) if tall else (box[0], box[1])
    return math.atan2(y1 - y0, x1 - x0), tall


def _median(weighted: Sequence[tuple[float, int]]) -> float:
    """The middle one: a few wild lines change nothing."""
    half, seen = sum(size for _, size in weighted) / 2, 0
    for angle, size in sorted(weighted):
        seen += size
        if seen >= half:
            return angle
    return 0.0
