"""Open the data of a run: its shards, its conversations, and the order in which they are read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tabwright.errors import ConfigError
from tabwright.fim import FimFormat
from tabwright.tokenizer import Tokenizer
from training.config import DataSection, TrainConfig
from training.conversations import Conversations
from training.corpus import Corpus, Documents
from training.data.shards import TRAIN, open_shards, read_manifest
from training.examples.infill import Infilling
from training.examples.recipe import Rates, Recipe
from training.examples.sentinels import Sentinels
from training.examples.spans import Spans
from training.examples.splitting import Vocabulary
from training.family import bind_family
from training.loader import Loader, RowSource
from training.order import Group, Order, Shares, Stream
from training.pairs import Pairs

_ALL = "all"  # the group of sources that are not told apart
Numbers = npt.NDArray[np.int64]


def open_rows(config: TrainConfig, data: Path, split: str) -> RowSource:
    """Open what a run reads: pairs of preferences, if it is tuned on them, or a shard folder.

    Raises:
        ConfigError: see `open_loader` and `Pairs`.
        CorruptArtifact: a shard is missing or was altered.
    """
    if config.preference is None:
        return open_loader(config.data, data, split)
    tokenizer = Tokenizer.from_file(data / "tokenizer.json")
    fim = bind_family(config.data.family, tokenizer)
    return Pairs(
        config.preference.pairs, split, tokenizer, fim,
        context=config.data.context, seed=config.data.seed,
    )  # fmt: skip


def open_loader(config: DataSection, data: Path, split: str) -> Loader:
    """Read the split of a shard folder as `config` wants it.

    Raises:
        ConfigError: `mixture` does not name the sources there are, or the vocabulary lacks what an
            objective needs.
        CorruptArtifact: a shard is missing or was altered.
    """
    tokenizer = Tokenizer.from_file(data / "tokenizer.json")
    fim = bind_family(config.family, tokenizer)
    recipe = _recipe(config, tokenizer, fim)
    corpora: list[Corpus] = [Documents(open_shards(data, split), recipe)]
    if config.instructions:
        end = fim.stop_ids[0]
        corpora.append(
            Conversations(config.instructions, split, tokenizer, end=end, room=recipe.room)
        )
    sources = read_manifest(data)["sources"]
    groups, shares = _groups(config, split, corpora, sources)
    streams = {}
    for name, (corpus, windows) in groups.items():
        group = Group(name, windows, 1 + corpus.ids(windows) // recipe.room)
        streams[name] = Stream(
            group, corpus.room, room=recipe.room, seed=config.seed, block=config.pack_windows
        )
    order = Order(streams, shares)
    return Loader(
        order,
        {name: corpus for name, (corpus, _) in groups.items()},
        context=config.context,
        padding=fim.stop_ids[0],
    )


def _recipe(config: DataSection, tokenizer: Tokenizer, fim: FimFormat) -> Recipe:
    spans = Spans(config.spans.character, config.spans.line, config.spans.syntax)
    spans.check()
    vocabulary = Vocabulary(tokenizer)
    return Recipe(
        vocabulary=vocabulary,
        fim=fim,
        infilling=Infilling(vocabulary, fim, config.spm_rate, spans),
        rates=Rates(config.fim_rate, config.ul2_rate, config.prefix_rate, config.header_rate),
        room=config.context + 1,
        seed=config.seed,
        sentinels=Sentinels.bind(tokenizer, "data.ul2_rate") if config.ul2_rate else None,
        whole_documents=config.fim_level == "document",
    )


def _groups(
    config: DataSection, split: str, corpora: list[Corpus], sources: Mapping[str, Any]
) -> tuple[dict[str, tuple[Corpus, Numbers]], list[Shares]]:
    """Groups with their windows, and the shares of rows they have."""
    found = {name: (c, windows) for c in corpora for name, windows in c.groups().items()}
    if not found:
        raise ConfigError(f"the shards hold no {split} document; see [splits] of the data's config")
    if split == TRAIN and config.mixture:
        if found.keys() != config.mixture.keys():
            raise ConfigError(
                f"data.mixture names {', '.join(sorted(config.mixture))}; the sources are "
                f"{', '.join(sorted(found))}: name all of them, 0 leaves one out"
            )
        changes = [
            Shares(change.from_step * config.batch_rows, change.shares)
            for change in config.mixture_changes
        ]
        return found, [Shares(0, config.mixture), *changes]
    weights = {name: float(sources.get(name, {}).get("weight", 1.0)) for name in found}
    if len(corpora) == 1 and (split != TRAIN or len(set(weights.values())) == 1):
        windows = np.concatenate([windows for _, windows in found.values()])
        return {_ALL: (corpora[0], np.sort(windows))}, [Shares(0, {_ALL: 1.0})]
    natural = {name: weights[name] * c.ids(windows) for name, (c, windows) in found.items()}
    return found, [Shares(0, natural)]
