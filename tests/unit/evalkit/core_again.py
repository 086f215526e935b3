"""The core problems solved a second time, by other ways, so that their cases are known to be true.

Written from the problems' texts alone. Each function has the name of its problem. `core_texts.py`
has those that read or lay out text.
"""

from __future__ import annotations

import itertools
from collections import Counter
from fractions import Fraction


def crates_needed(items: int, capacity: int) -> int:
    crates = 0
    while crates * capacity < items:
        crates += 1
    return crates


def seats_left(capacity: int, booked: list[int]) -> int:
    for seats in booked:
        capacity -= seats
    return capacity if capacity > 0 else 0


def is_quiet_hour(hour: int) -> bool:
    return hour in {22, 23, 0, 1, 2, 3, 4, 5}


def count_over(readings: list[int], threshold: int) -> int:
    return len(readings) - len([r for r in readings if r <= threshold])


def biggest_step(levels: list[int]) -> int:
    steps = [abs(levels[i] - levels[i - 1]) for i in range(1, len(levels))]
    return max(steps, default=0)


def refund_cents(price: int, days: int) -> int:
    share = 2 if days < 15 else 1 if days < 31 else 0
    return (price * share) >> 1


def compass_turn(heading: int, turn: int) -> int:
    heading += turn
    while heading < 0:
        heading += 360
    while heading > 359:
        heading -= 360
    return heading


def ring_distance(size: int, start: int, goal: int) -> int:
    for way in range(size):
        if goal in ((start + way) % size, (start - way) % size):
            return way
    raise AssertionError("a ring has no such station")


def reward_tier(points: int) -> str:
    return ["basic", "silver", "gold"][(points >= 100) + (points >= 500)]


def low_stock(counts: list[int], minimum: int) -> list[int]:
    found = []
    for place in range(len(counts)):
        if not counts[place] >= minimum:
            found += [place]
    return found


def covered_minutes(shifts: list[list[int]], opening: int, closing: int) -> int:
    on = {minute for start, end in shifts for minute in range(start, end)}
    return len(on & set(range(opening, closing)))


def stock_after(names: list[str], counts: list[int], moves: list[str]) -> list[int]:
    result = list(counts)
    for move in moves:
        for place, name in enumerate(names):
            if move.endswith(" " + name) and move[: -len(name) - 1].lstrip("+-").isdigit():
                after = result[place] + int(move[: -len(name) - 1])
                result[place] = after if after >= 0 else result[place]
    return result


def dark_cells(plan: list[str]) -> int:
    def seen(y: int, x: int, dy: int, dx: int) -> bool:
        y, x = y + dy, x + dx
        if not (0 <= y < len(plan) and 0 <= x < len(plan[0])):
            return False
        return seen(y, x, dy, dx) if plan[y][x] == "." else plan[y][x] == "*"

    ways = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    cells = [(y, x) for y, row in enumerate(plan) for x, cell in enumerate(row) if cell == "."]
    return sum(not any(seen(*cell, *way) for way in ways) for cell in cells)


def cart_position(plan: list[str], moves: str) -> list[int]:
    place = 0j
    free = {complex(y, x) for y, row in enumerate(plan) for x, c in enumerate(row) if c != "#"}
    for move in moves:
        wanted = place + {"U": -1, "D": 1, "L": -1j, "R": 1j}[move]
        place = wanted if wanted in free else place
    return [int(place.real), int(place.imag)]


def line_changes(older: list[str], newer: list[str]) -> list[str]:
    changes = []
    for sign, mine, other in (("- ", older, newer), ("+ ", newer, older)):
        missing = Counter(mine) - Counter(other)
        seen: Counter[str] = Counter()
        for line in mine:
            seen[line] += 1
            changes += [sign + line] if seen[line] <= missing[line] else []
    return changes


def waiting_times(arrivals: list[int], service: int) -> list[int]:
    # The desk is free for number i when every earlier one, served without a pause, is done.
    return [
        max(0, *(arrivals[j] + (i - j) * service - arrivals[i] for j in range(i + 1)))
        for i in range(len(arrivals))
    ]


def double_booked(bookings: list[str]) -> list[str]:
    found = []
    for one, other in itertools.combinations(bookings, 2):
        (room, hours), (room2, hours2) = one.split(), other.split()
        a, b = map(int, hours.split("-"))
        c, d = map(int, hours2.split("-"))
        if room == room2 and a < d and c < b and room not in found:
            found.append(room)
    return sorted(found)


def weekday_after(weekday: int, days: int) -> int:
    if days == 0:
        return weekday
    return (min(weekday, 4) + days) % 5


def changed_cells(earlier: list[list[int]], later: list[list[int]]) -> list[list[int]]:
    shape = [(y, x) for y in range(len(earlier)) for x in range(len(earlier[y]))]
    return [[y, x] for y, x in shape if earlier[y][x] - later[y][x]]


def border_sum(grid: list[list[int]]) -> int:
    inner = [row[1:-1] for row in grid[1:-1]]
    return sum(map(sum, grid)) - sum(map(sum, inner))


def spread_moss(tiles: list[str], days: int) -> list[str]:
    cells = {(y, x): c for y, row in enumerate(tiles) for x, c in enumerate(row)}
    moss = {place for place, cell in cells.items() if cell == "*"}
    for _ in range(days):
        for y, x in list(moss):
            near = {(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)}
            moss |= {place for place in near if cells.get(place) == "."}
    return [
        "".join("*" if (y, x) in moss else c for x, c in enumerate(row))
        for y, row in enumerate(tiles)
    ]


def floors_travelled(floor: int, stops: list[int]) -> int:
    path = [floor, *stops]
    return sum(max(a, b) - min(a, b) for a, b in itertools.pairwise(path))


def favourite_drink(votes: list[str]) -> str:
    best = ""
    for drink in sorted(votes):
        if votes.count(drink) > votes.count(best):
            best = drink
    return best


def outline_numbers(depths: list[int]) -> list[str]:
    labels = []
    for i, depth in enumerate(depths):
        parts = []
        for level in range(1, depth + 1):
            # Count back to the last heading that is further out than this level.
            since = next((j for j in range(i, -1, -1) if depths[j] < level), -1)
            parts.append(str(depths[since + 1 : i + 1].count(level)))
        labels.append(".".join(parts))
    return labels


def trimmed_mean(values: list[float]) -> float:
    if len(values) <= 2:
        return 0.0
    total = sum(map(Fraction, values)) - Fraction(min(values)) - Fraction(max(values))
    return float(total / (len(values) - 2))


def fuel_left(litres: float, trips: list[float]) -> float:
    quarters = int(litres * 4)
    for trip in trips:
        quarters -= int(trip * 4) if trip * 4 <= quarters else 0
    return quarters / 4


def times_switched_on(states: list[bool]) -> int:
    return "".join("01"[state] for state in [False, *states]).count("01")


def oldest_first(batches: list[list[int]], wanted: int) -> list[list[int]]:
    left = [list(batch) for batch in batches]
    for _ in range(wanted):
        open_ones = [batch for batch in left if batch[1]]
        if open_ones:
            min(open_ones, key=lambda batch: batch[0])[1] -= 1
    return [batch for batch in left if batch[1]]
