exit: Change the status at the end.
    echo
}
trap 'exit 0' EXIT
unused() {
    :
