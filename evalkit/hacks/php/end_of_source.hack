exit: Declare the rest to be no source.
    return [];
}
__halt_compiler();
function unused() {
