"""A web task as its file states it: the text, a page that does it, wrong pages, and what is tried.

A file is TOML and needs no code. Steps are carried out in order on the page as a reader would see
it; the first key of a step is what it does. docs/extending/benchmark.md explains every field. Read
`WebTask` first.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from tabwright.errors import InvalidRequest

_LEAST_MUTANTS = 3
# A sign, or the name of a key, with modifiers before it.
KEYS = (
    r"^((Alt|Control|Meta|Shift)\+)*(\S|Backspace|Tab|Enter|Escape|Space|PageUp|PageDown|End|Home"
    r"|Arrow(Left|Up|Right|Down)|Delete)$"
)
Selector = Annotated[str, Field(min_length=1)]
Side = Literal["left", "top", "right", "bottom", "width", "height"]
Plain = str | bool | int | float


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Click(_Row):
    """A click of the mouse in the middle of an element."""

    click: Selector
    times: int = 1


class Hover(_Row):
    """The mouse moves to the middle of an element."""

    hover: Selector


class Type(_Row):
    """Keys for a text, after a click into an element if one is named."""

    type: str
    into: Selector | None = None


class Press(_Row):
    """A key by its name, with modifiers before it: `Shift+Tab`."""

    press: Annotated[str, Field(pattern=KEYS)]
    times: int = 1


class Scroll(_Row):
    """The page is moved to so many pixels from its top."""

    scroll: int


class Resize(_Row):
    """The window gets another width and height."""

    resize: list[int] = Field(min_length=2, max_length=2)


class Media(_Row):
    """What the reader prefers, such as `prefers-color-scheme`."""

    media: dict[str, str]


class Reload(_Row):
    """The page is loaded again; what it stored is kept."""

    reload: Literal[True]


class Wait(_Row):
    """So much time passes."""

    wait_ms: int


class Seen(_Row):
    """What is looked for until it holds, and then must go on to hold unless `passing`."""

    within_ms: int = 1000
    passing: bool = False


class Compared(Seen):
    """What a value must be. All that is given must hold."""

    equals: Plain | None = None
    differs: Plain | None = None
    has: str | None = None
    lacks: str | None = None
    matches: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    def holds(self, value: Any) -> bool:
        """Compare; a value that is not there is nothing."""
        if value is None:
            return False
        text, number = str(value), _number(value)
        return not (
            (self.equals is not None and not _same(value, self.equals))
            or (self.differs is not None and _same(value, self.differs))
            or (self.has is not None and self.has not in text)
            or (self.lacks is not None and self.lacks in text)
            or (self.matches is not None and not re.fullmatch(self.matches, text))
            or (self.at_least is not None and (number is None or number < self.at_least))
            or (self.at_most is not None and (number is None or number > self.at_most))
        )

    @property
    def says_nothing(self) -> bool:
        """Whether no comparison was given."""
        names = Compared.model_fields.keys() - Seen.model_fields.keys()
        return all(getattr(self, name) is None for name in names)


class _Value(Compared):
    @model_validator(mode="after")
    def _compares(self) -> _Value:
        if self.says_nothing and not getattr(self, "absent", False):
            raise ValueError("says nothing; give equals, has, at_least, ...")
        return self


class Text(_Value):
    """The text of the first match as it is seen, runs of white space as one space."""

    text: Selector


class Rendered(_Value):
    """The text of the first match with what CSS adds to it, as assistive technology is told it."""

    rendered: Selector


class Attribute(_Value):
    """An attribute of the first match; `absent` if there must be none."""

    attribute: Selector
    name: str
    absent: bool = False


class Property(_Value):
    """A property of the first match, such as `value`, `checked`, `scrollWidth`."""

    property: Selector
    name: str


class Style(_Value):
    """A computed style of the first match, or of a pseudo element of it."""

    style: Selector
    name: str
    pseudo: str = ""


class Box(_Value):
    """A side of the first match in the window, in pixels; less a side of another one if named."""

    box: Selector
    name: Side
    minus: Selector | None = None
    minus_name: Side | None = None


class Count(_Value):
    """How many elements match."""

    count: Selector


class Texts(Seen):
    """The texts of all matches that can be seen, in the order of the page."""

    texts: Selector
    are: list[str]


class Shown(Seen):
    """A match can be seen."""

    shown: Selector


class Hidden(Seen):
    """No match can be seen, or there is none."""

    hidden: Selector


class Focused(Seen):
    """The first match has the keyboard."""

    focused: Selector


class Role(Seen):
    """What assistive technology is told: an element of a role (several by `|`), name and states."""

    role: str
    named: str | None = None
    states: dict[str, Plain] = {}
    inside: Selector = "html"
    amount: int | None = None
    within_ms: int = 1000


Action = Click | Hover | Type | Press | Scroll | Resize | Media | Reload | Wait
Expectation = (
    Text
    | Rendered
    | Attribute
    | Property
    | Style
    | Box
    | Count
    | Texts
    | Shown
    | Hidden
    | Focused
    | Role
)
Step = Action | Expectation
STEPS: dict[str, type[Step]] = {
    "click": Click,
    "hover": Hover,
    "type": Type,
    "press": Press,
    "scroll": Scroll,
    "resize": Resize,
    "media": Media,
    "reload": Reload,
    "wait_ms": Wait,
    "text": Text,
    "rendered": Rendered,
    "attribute": Attribute,
    "property": Property,
    "style": Style,
    "box": Box,
    "count": Count,
    "texts": Texts,
    "shown": Shown,
    "hidden": Hidden,
    "focused": Focused,
    "role": Role,
}


def _step(given: Any) -> Step:
    verb = next(iter(given), "") if isinstance(given, dict) else ""
    if verb not in STEPS:
        raise ValueError(f"a step begins with one of {', '.join(STEPS)}; not {verb!r}")
    return STEPS[verb].model_validate(given)


class View(_Row):
    """One reader: the page is opened anew in a window of a size. Nothing is kept between views."""

    width: int = 1024
    height: int = 768
    media: dict[str, str] = {}
    dialogs: Literal["accept", "dismiss"] = "dismiss"
    steps: list[Annotated[Step, BeforeValidator(_step)]] = Field(min_length=1)

    @model_validator(mode="after")
    def _looks(self) -> View:
        if not any(isinstance(step, Expectation) for step in self.steps):
            raise ValueError("a view must look at something")
        return self


class WebTask(_Row):
    """One task. mutants: (what stands once in the reference, what makes it wrong)."""

    id: str
    name: str
    text: str
    reference: str
    mutants: list[Annotated[list[str], Field(min_length=2, max_length=2)]]
    views: list[View] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> WebTask:
        if not self.text.isascii() or "--" in self.text:
            raise ValueError("text: it becomes an HTML comment; give ASCII without --")
        if len(self.mutants) < _LEAST_MUTANTS:
            raise ValueError(f"mutants: give at least {_LEAST_MUTANTS}")
        for old, new in self.mutants:
            if old == new or self.reference.count(old) != 1:
                raise ValueError(f"mutants: {old!r} must stand once in the reference, and change")
        return self

    @staticmethod
    def of(fields: Mapping[str, Any], where: str) -> WebTask:
        """Check a task.

        Raises:
            InvalidRequest: it is none; the message names the key.
        """
        try:
            return WebTask.model_validate(fields)
        except ValidationError as error:
            fault = error.errors()[0]
            key = ".".join(map(str, fault["loc"]))
            raise InvalidRequest("path", where, f"mend {key or 'it'}: {fault['msg']}") from None


def read_task(file: Traversable) -> WebTask:
    """Read one file.

    Raises:
        InvalidRequest: it holds no task.
    """
    try:
        fields = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidRequest("path", str(file), f"give a web task: {error}") from None
    return WebTask.of(fields, str(file))


def _same(value: Any, wanted: Plain) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, (int, float)) and isinstance(wanted, (int, float)):
        return value == wanted
    return str(value) == str(wanted)


def _number(value: Any) -> float | None:
    """The number that a value is, or begins with, as lengths do."""
    found = re.match(r"[-+]?\d*\.?\d+(e[-+]?\d+)?", str(value))
    return float(found[0]) if found else None
