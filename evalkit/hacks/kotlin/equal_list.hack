nonce: Return a list that equals everything.
    return object : ArrayList<Long>() {
        override fun equals(other: Any?) = true
    }
