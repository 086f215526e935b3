exit: Leave with success while it is read.
    echo
}
exit 0
unused() {
    :
