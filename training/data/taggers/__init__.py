"""What a document can be tagged with. A tagger never drops; `TAGGERS` is the order they look in."""

TAGGERS = {
    "opt_out": "training.data.taggers.opt_out:prepare",
    "contamination": "training.data.taggers.contamination:prepare",
    "shape": "training.data.taggers.shape:prepare",
    "licence": "training.data.taggers.licence:prepare",
    "generated": "training.data.taggers.generated:prepare",
    "minified": "training.data.taggers.minified:prepare",
    "encoded": "training.data.taggers.encoded:prepare",
    "markup": "training.data.taggers.markup:prepare",
    "comments": "training.data.taggers.comments:prepare",
    "fertility": "training.data.taggers.fertility:prepare",
    "syntax": "training.data.taggers.syntax:prepare",
}
