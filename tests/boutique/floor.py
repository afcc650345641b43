"""The floor of the boutique, in metres: two rooms with a scanner each, a gallery, the door, the street.

  y
  3 |   salon scanner (0, 0)      #     atelier scanner (14, 0)
    |        gallery (6, -4.5)    #  <- a wall at x = 8
 -9 |   door (0, -9)              #
    +------------------------------------- the front
-13 |   street
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import cos, dist, pi, sin
from random import Random

Spot = tuple[float, float]

SCANNERS: dict[str, Spot] = {"salon": (0.0, 0.0), "atelier": (14.0, 0.0)}
GALLERY, DOOR = (6.0, -4.5), (0.0, -9.0)
WALL_X, WALL_DB = 8.0, 12.0
FRONT_Y, FRONT_DB = -10.0, 6.0
STREET_Y = -13.0
RADIUS = 3.0
"""Whoever is nearer to a scanner than this is with it: between where the defaults enter (2 m) and leave (5 m)."""
STEP_S = 0.1


def walls_db(here: Spot, there: Spot) -> float:
    """Return what walls take from a signal."""
    wall = WALL_DB if (here[0] < WALL_X) != (there[0] < WALL_X) else 0.0
    return wall + (FRONT_DB if (here[1] < FRONT_Y) != (there[1] < FRONT_Y) else 0.0)


def near(scanner: str, dice: Random) -> Spot:
    """Return where somebody stands who looks at what is shown at a scanner: 0.6 to 1.8 m away."""
    metres, angle = dice.uniform(0.6, 1.8), dice.uniform(0, 2 * pi)
    x, y = SCANNERS[scanner]
    return x + metres * cos(angle), y + metres * sin(angle)


@dataclass(frozen=True)
class Way:
    """Where somebody is at each time: straight from point to point."""

    points: Sequence[tuple[float, Spot]]

    @property
    def begins(self) -> float:
        return self.points[0][0]

    @property
    def ends(self) -> float:
        return self.points[-1][0]

    def at(self, time: float) -> Spot:
        number = bisect_right(self.points, time, key=lambda point: point[0])
        if number in {0, len(self.points)}:
            return self.points[min(number, len(self.points) - 1)][1]
        (since, here), (until, there) = self.points[number - 1 : number + 1]
        part = (time - since) / (until - since)
        return here[0] + part * (there[0] - here[0]), here[1] + part * (there[1] - here[1])

    def inside(self, scanner: str) -> Iterator[tuple[float, float]]:
        """Yield from when to when it is within RADIUS of a scanner."""
        centre, since = SCANNERS[scanner], None
        for step in range(int((self.ends - self.begins) / STEP_S) + 1):
            at = self.begins + step * STEP_S
            is_in = dist(self.at(at), centre) < RADIUS
            if is_in and since is None:
                since = at
            elif not is_in and since is not None:
                yield since, at
                since = None
        if since is not None:
            yield since, self.ends


def walk(begins: float, stops: Sequence[tuple[Spot, float]], dice: Random) -> Way:
    """Come in by the door, stay for some seconds at each stop, and leave by the door, at 0.8 to 1.2 m/s."""
    speed = dice.uniform(0.8, 1.2)
    at, points = begins, [(begins, DOOR)]
    for spot, seconds in stops:
        at += dist(points[-1][1], spot) / speed
        points.append((at, spot))
        at += seconds
        points.append((at, spot))
    at += dist(points[-1][1], DOOR) / speed
    return Way([*points, (at, DOOR)])


def stroll(begins: float, dice: Random, stops_s: float = 0.0) -> Way:
    """Go by in the street, past the front; some stop before the window."""
    left, right = (-30.0, STREET_Y), (30.0, STREET_Y)
    here, there = (left, right) if dice.random() < 0.5 else (right, left)
    window, pace = (dice.uniform(-3, 3), STREET_Y), 30 / dice.uniform(1.0, 1.6)
    middle = begins + pace
    return Way([(begins, here), (middle, window), (middle + stops_s, window), (middle + stops_s + pace, there)])
