"""When telemetry happened, by the planner's clock, whatever the clock of the device says. PURE.

A box without a battery for its clock wakes up in 1970, and one whose clock is set right jumps by a year. Each message
says when it was made by the device's clock, and how long ago that was by one that never jumps: the difference to the
moment in which it came is how far the device's clock is off. What a slow link takes looks the same, so small
differences are let be. Of a message whose age nobody knows only what can't be is put right.
"""

from __future__ import annotations

from circinus.v1 import control_pb2

#: A device's clock may be off by so much, and a message be on its way for so long.
TOLERANCE_S = 20.0
#: No message waits for longer in an outbox.
_OLDEST_S = 120 * 86_400.0


def offset_s(message: control_pb2.Telemetry, received_s: float, known_s: float) -> float:
    """What to add to the stamps of a message. ``known_s``: what was added to its device's last one's."""
    if not message.HasField("made_at"):
        return 0.0
    made_s = message.made_at.seconds + message.made_at.nanos / 1e9
    if not message.HasField("age_s"):
        return 0.0 if -TOLERANCE_S <= received_s - made_s <= _OLDEST_S else received_s - made_s
    found_s = received_s - message.age_s - made_s
    if abs(found_s) <= TOLERANCE_S:
        return 0.0
    # The same for all that one clock said: beginnings and ends are held against each other.
    return known_s if abs(found_s - known_s) <= TOLERANCE_S else found_s


def shift(message: control_pb2.Telemetry, by_s: float) -> None:
    """Moves every stamp of a message, in place."""
    stamps = [window.start for window in message.queries]
    stamps += [operator.start for operator in message.operators]
    stamps += [stamp for gap in message.gaps for stamp in (gap.start, gap.end)]
    for episode in message.stand_bys:
        stamps.append(episode.start)
        if episode.HasField("end"):
            stamps.append(episode.end)
    for stamp in stamps:
        moved = stamp.seconds * 10**9 + stamp.nanos + round(by_s * 1e9)
        stamp.FromNanoseconds(max(0, moved))
