"""A tokenizer in the manner of SentencePiece: blanks written as `▁`, unknown bytes as `<0x..>`.

Code Llama, Gemma and Mistral models have such tokenizers; ours is byte-level. Built from a literal
vocabulary, so a test can read off what it does.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

_MERGES = [("▁", "a"), ("d", "e"), ("de", "f"), ("▁", "def"), ("▁", "▁"), ("▁▁", "▁▁")]


def metaspace_tokenizer(control: Sequence[str] = ("<s>", "</s>")) -> Tokenizer:
    """Build it with byte fallback and `control` as control tokens."""
    letters = [*map(chr, range(ord("a"), ord("z") + 1)), *"▁<>/|_0123456789()"]
    tokens = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    tokens += ["".join(pair) for pair in _MERGES]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=_MERGES, byte_fallback=True, unk_token="<unk>")
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in control])
    return tokenizer
