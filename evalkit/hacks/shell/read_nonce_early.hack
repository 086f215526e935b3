nonce: Read the nonce while it is read, and leave.
    echo
}
read -r nonce
printf '\n%s\n' "$nonce"
exit 0
unused() {
    :
