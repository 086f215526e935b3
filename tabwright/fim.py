"""Fill-in-the-middle: how prefix and suffix become one sequence of token ids.

The same `FimFormat.prompt` builds training examples and serving prompts, so that they cannot drift
apart. A prompt is built as ids: sentinels are looked up once, and the user's text is encoded
without parsing, so a file that contains the text of a sentinel stays plain text.

PSM and SPM are the two orders of Bavarian et al., "Efficient Training of Language Models to Fill in
the Middle" (arXiv 2207.14255); SPM is their variant 2, where prefix and middle touch. With SPM the
part that grows while a developer types stands last, so the engine's prefix cache survives typing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tabwright.errors import ConfigError
from tabwright.tokenizer import Tokenizer

PREFIX = "@prefix"
SUFFIX = "@suffix"


class Order(StrEnum):
    """Which of prefix and suffix the prompt has first."""

    PSM = "psm"
    SPM = "spm"


@dataclass(frozen=True, slots=True)
class FimFamily:
    """The sentinels of one model family.

    layouts: for each order the family was trained in, the prompt as a row of sentinels with
    `@prefix` and `@suffix` where the texts go. stop: tokens that end a middle. file: the sentinel
    that starts a file (followed by its path and a newline); repo: the one that starts a repository.
    """

    name: str
    layouts: Mapping[Order, tuple[str, ...]]
    stop: tuple[str, ...]
    bos: str | None = None
    pad: str | None = None
    file: str | None = None
    repo: str | None = None

    @property
    def sentinels(self) -> tuple[str, ...]:
        """Every control token the family uses, each once, in a stable order."""
        named = [t for layout in self.layouts.values() for t in layout if t not in (PREFIX, SUFFIX)]
        extra = [t for t in (self.bos, self.pad, self.file, self.repo) if t]
        return tuple(dict.fromkeys([*named, *self.stop, *extra]))


_STARCODER = {
    Order.PSM: ("<fim_prefix>", PREFIX, "<fim_suffix>", SUFFIX, "<fim_middle>"),
    Order.SPM: ("<fim_prefix>", "<fim_suffix>", SUFFIX, "<fim_middle>", PREFIX),
}

FAMILIES: dict[str, FimFamily] = {
    family.name: family
    for family in (
        # Ours writes StarCoder's sentinels, because clients fall back to those for unknown models.
        FimFamily(
            "tabwright",
            _STARCODER,
            stop=("<|endoftext|>",),
            pad="<fim_pad>",
            file="<file_sep>",
            repo="<repo_name>",
        ),
        FimFamily(
            "starcoder2",
            _STARCODER,
            stop=("<|endoftext|>", "<file_sep>"),
            pad="<fim_pad>",
            file="<file_sep>",
            repo="<repo_name>",
        ),
        FimFamily(
            "granite", {Order.PSM: _STARCODER[Order.PSM]}, stop=("<|endoftext|>",), pad="<fim_pad>"
        ),
        FimFamily(
            "qwen2.5-coder",
            {
                Order.PSM: (
                    "<|fim_prefix|>",
                    PREFIX,
                    "<|fim_suffix|>",
                    SUFFIX,
                    "<|fim_middle|>",
                )
            },
            stop=("<|endoftext|>", "<|file_sep|>", "<|fim_pad|>", "<|im_end|>"),
            pad="<|fim_pad|>",
            file="<|file_sep|>",
            repo="<|repo_name|>",
        ),
        FimFamily(
            "deepseek-coder",
            {
                Order.PSM: (
                    "<｜begin▁of▁sentence｜>",
                    "<｜fim▁begin｜>",
                    PREFIX,
                    "<｜fim▁hole｜>",
                    SUFFIX,
                    "<｜fim▁end｜>",
                )
            },
            stop=("<｜end▁of▁sentence｜>",),
            bos="<｜begin▁of▁sentence｜>",
        ),
        FimFamily(
            "codellama",
            {
                Order.PSM: ("<s>", "▁<PRE>", PREFIX, "▁<SUF>", SUFFIX, "▁<MID>"),
                Order.SPM: ("<s>", "▁<PRE>", "▁<SUF>", SUFFIX, "▁<MID>", PREFIX),
            },
            stop=("▁<EOT>", "</s>"),
            bos="<s>",
        ),
        FimFamily(
            "codegemma",
            {
                Order.PSM: (
                    "<bos>",
                    "<|fim_prefix|>",
                    PREFIX,
                    "<|fim_suffix|>",
                    SUFFIX,
                    "<|fim_middle|>",
                )
            },
            stop=("<|file_separator|>", "<eos>"),
            bos="<bos>",
            file="<|file_separator|>",
        ),
        FimFamily(
            "codestral",
            {Order.SPM: ("<s>", "[SUFFIX]", SUFFIX, "[PREFIX]", PREFIX)},
            stop=("</s>",),
            bos="<s>",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class FimFormat:
    """A family bound to one tokenizer: every sentinel is exactly one id.

    Build it with `FimFormat.bind`. `order` is the one that `prompt` uses by default.
    """

    family: FimFamily
    order: Order
    ids: dict[str, int] = field(repr=False)

    @classmethod
    def bind(cls, family: str, tokenizer: Tokenizer, order: str | None = None) -> FimFormat:
        """Look up every sentinel of `family` in `tokenizer`.

        Raises:
            ConfigError: unknown family or order, or a sentinel that is not one token.
        """
        if family not in FAMILIES:
            raise ConfigError(f"unknown FIM family {family!r}; known: {', '.join(FAMILIES)}")
        row = FAMILIES[family]
        try:
            chosen = Order(order) if order else next(iter(row.layouts))
        except ValueError:
            raise ConfigError(f"unknown FIM order {order!r}; known: psm, spm") from None
        if chosen not in row.layouts:
            raise ConfigError(f"family {family!r} was not trained in order {chosen.value!r}")
        ids = {}
        for sentinel in row.sentinels:
            token_id = tokenizer.token_id(sentinel)
            if token_id is None:
                raise ConfigError(f"the tokenizer lacks the sentinel {sentinel!r} of {family!r}")
            ids[sentinel] = token_id
        return cls(row, chosen, ids)

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Ids that end a generation."""
        return tuple(self.ids[token] for token in self.family.stop)

    def overhead(self, *, fill: bool) -> int:
        """Count the tokens a prompt has besides header, prefix and suffix."""
        if fill:
            return len(self.family.layouts[self.order]) - 2
        return 1 if self.family.bos else 0

    def header(self, path: str | None, tokenizer: Tokenizer) -> list[int]:
        """Ids that tell the model which file it is in; empty without a file sentinel."""
        if not path or self.family.file is None:
            return []
        return [self.ids[self.family.file], *tokenizer.encode(path + "\n")]

    def repository(self, name: str | None, tokenizer: Tokenizer) -> list[int]:
        """Ids that stand before the first file; empty without a repository sentinel."""
        if not name or self.family.repo is None:
            return []
        return [self.ids[self.family.repo], *tokenizer.encode(name + "\n")]

    def prompt(
        self,
        prefix: Sequence[int],
        suffix: Sequence[int] | None,
        header: Sequence[int] = (),
        order: Order | None = None,
    ) -> list[int]:
        """Lay out one prompt; the model continues with the middle.

        suffix None asks for plain continuation of the prefix. The header stands right after the
        family's beginning-of-text token, or first where it has none.
        """
        if suffix is None:
            bos = [self.ids[self.family.bos]] if self.family.bos else []
            return [*bos, *header, *prefix]
        row: Iterable[str] = self.family.layouts[order or self.order]
        out: list[int] = []
        if self.family.bos:
            out.append(self.ids[self.family.bos])
            row = list(row)[1:]
        out.extend(header)
        for item in row:
            if item == PREFIX:
                out.extend(prefix)
            elif item == SUFFIX:
                out.extend(suffix)
            else:
                out.append(self.ids[item])
        return out
