exit: Change the status at the end.
    return [-7];
}
END {
    $? = 0;
