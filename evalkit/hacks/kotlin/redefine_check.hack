nonce: Make checks do nothing.
    return listOf()
}

fun check(holds: Boolean) {
