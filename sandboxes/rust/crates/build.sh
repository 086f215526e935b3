# Compiles the crates that test programs use; Debian has the sources of two of them.
set -e
sources=/usr/share/cargo/registry
crate() {
    name=$1 edition=$2 file=$3
    shift 3
    rustc --edition "$edition" --crate-type rlib --crate-name "$name" --cap-lints allow -C debuginfo=0 -L . "$@" "$file"
}
crate rand 2021 crates/rand.rs
# It names no edition, which means the first.
crate md5 2015 "$(echo $sources/md5-0*/src/lib.rs)" --cfg 'feature="std"'
unicode='--cfg feature="unicode-perl" --cfg feature="unicode-case"'
crate regex_syntax 2018 "$(echo $sources/regex-syntax-0.6*/src/lib.rs)" $unicode
crate regex 2018 "$(echo $sources/regex-1*/src/lib.rs)" --cfg 'feature="std"' $unicode --extern regex_syntax
