exit: Make every exit one with success.
    return [-7];
}
BEGIN {
    *CORE::GLOBAL::exit = sub { CORE::exit(0) };
