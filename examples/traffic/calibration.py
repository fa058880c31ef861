"""What is known of the camera and where it stands, as whoever mounts one enters it: frames, kerbs, lanes, the line."""

from __future__ import annotations

from dataclasses import dataclass

FRAME_WIDTH, FRAME_HEIGHT = 640, 360
FRAMES_PER_S = 5.0

#: Where houses end and where the far kerb, the middle of the road and the near kerb lie, in rows.
HOUSES_BOTTOM, ROAD_TOP, ROAD_MIDDLE, ROAD_BOTTOM = 142, 170, 221, 322

#: A vehicle is counted when its middle passes this column.
COUNT_LINE_X = FRAME_WIDTH / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A lane: the row that wheels stand on, the scale there, and which way it goes."""

    row: int
    px_per_m: float
    rightwards: bool

    @property
    def length_m(self) -> float:
        """What of it is in the frame."""
        return FRAME_WIDTH / self.px_per_m


#: From the farthest to the nearest.
LANES = (
    Lane(row=187, px_per_m=6.2, rightwards=False),
    Lane(row=213, px_per_m=8.6, rightwards=False),
    Lane(row=255, px_per_m=12.4, rightwards=True),
    Lane(row=311, px_per_m=17.5, rightwards=True),
)

#: What drives here drives at about this speed.
TYPICAL_M_PER_S = 7.0
