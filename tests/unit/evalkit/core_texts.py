"""The core problems about text, solved a second time by other ways; see `core_again.py`."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from urllib.parse import parse_qsl


def clock_label(minutes: int) -> str:
    return (datetime(2000, 1, 1) + timedelta(minutes=minutes)).strftime("%H:%M")


def file_kind(filename: str) -> str:
    found = re.fullmatch(r".+\.([^.]*)", filename)
    return found[1].lower() if found else ""


def indent_width(line: str) -> int:
    found = re.match(r"[ \t]*", line)
    assert found
    return len(found[0].replace("\t", "    "))


def battery_bar(percent: int) -> str:
    return "[" + "".join("#" if percent >= full else "." for full in range(10, 101, 10)) + "]"


def breadcrumb(titles: list[str]) -> str:
    path = ""
    for title in titles:
        if title != "":
            path = title if path == "" else f"{path} > {title}"
    return path


def dot_leader(title: str, page: str, width: int) -> str:
    line = f"{title}...{page}"
    while len(line) < width:
        line = line[: len(title)] + "." + line[len(title) :]
    return line


def mask_account(number: str) -> str:
    return re.sub(r"[0-9](?=(?:[^0-9]*[0-9]){4})", "*", number)


def next_version(version: str, change: str) -> str:
    parts = list(map(int, version.split(".")))
    place = ["major", "minor", "patch"].index(change)
    parts[place] += 1
    parts[place + 1 :] = [0] * (2 - place)
    return ".".join(map(str, parts))


def duration_seconds(text: str) -> int:
    found = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text, re.ASCII)
    if not text or not found:
        return -1
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return int(timedelta(days, seconds, 0, 0, minutes, hours).total_seconds())


def pretty_cents(cents: int) -> str:
    text = str(abs(cents)).zfill(3)
    whole = re.sub(r"(?<=\d)(?=(?:\d{3})+$)", ",", text[:-2])
    return ("-" if cents < 0 else "") + whole + "." + text[-2:]


def comment_block(text: str, width: int) -> list[str]:
    words = text.split()
    lines = []
    while words:
        taken = max([1, *(n for n in range(1, len(words) + 1) if _width(words[:n]) <= width)])
        lines.append("# " + " ".join(words[:taken]))
        words = words[taken:]
    return lines


def _width(words: list[str]) -> int:
    return 1 + sum(1 + len(word) for word in words)


def align_columns(rows: list[list[str]]) -> list[str]:
    lines = []
    for row in rows:
        line = ""
        place = 0
        for column, cell in enumerate(row):
            line = line + " " * (place - len(line)) + cell
            place += 2 + max(len(other[column]) for other in rows)
        lines.append(re.sub(" +$", "", line))
    return lines


def split_command(line: str) -> list[str]:
    found = re.findall(r"(?:'[^']*(?:'|$)|[^' ])+", line)
    return [word.replace("'", "") for word in found]


def query_value(query: str, key: str) -> str:
    pairs = [part if "=" in part else part + "=" for part in query.split("&")]
    # Names are literal in the problem, so "+" in a name is kept from becoming a space.
    encoded = "&".join(
        p.split("=", 1)[0].replace("+", "%2B") + "=" + p.split("=", 1)[1] for p in pairs
    )
    return dict(parse_qsl(encoded, keep_blank_values=True)).get(key, "")


def scale_recipe(lines: list[str], cooks: int, guests: int) -> list[str]:
    def scaled(found: re.Match[str]) -> str:
        pieces = int(found[0]) * guests
        return str(next(n for n in range(pieces + 1) if n * cooks >= pieces))

    return [re.sub(r"^\d+", scaled, line) for line in lines]


def label_from_key(key: str) -> str:
    return " ".join(re.findall(r"[^ _-]+", key)).capitalize()


def column_total(rows: list[str], column: str) -> int:
    table = [row.split(",") for row in rows]
    for cells in zip(*table, strict=True):
        if cells[0] == column:
            return sum(int(cell) for cell in cells[1:] if cell != "")
    return -1


def edited_text(actions: list[str]) -> str:
    done: list[str] = []
    for action in actions:
        if action == "undo":
            del done[-1:]
        else:
            done.append(action)
    text = ""
    for action in done:
        verb, rest = action.split(" ", 1)
        text = text + rest if verb == "type" else text[::-1][int(rest) :][::-1]
    return text


def strip_remark(line: str) -> str:
    found = re.match(r'(?:"[^"]*(?:"|$)|[^"#])*', line)
    assert found
    return re.sub(" +$", "", found[0])


def is_seat(code: str) -> bool:
    return re.fullmatch("[1-9][0-9]?[A-F]", code) is not None
