// What a compiler loads to compile this is what it loads for most programs.
data class Pair(val name: String, val value: Long)

fun grouped(pairs: List<Pair>): Map<String, List<Long>> =
    pairs.groupBy { it.name }.mapValues { (_, found) -> found.map { it.value }.sorted() }

fun main(words: Array<String>) {
    val seen = mutableListOf<String>()
    for ((index, word) in words.withIndex()) {
        val text = word.trim()
        when {
            text.isEmpty() -> Unit
            text.length > 2 -> seen.add(text.reversed())
            else -> seen.add("$text ${index % 2}")
        }
    }
    var total = 0.0
    for (word in seen.filter { it != "" }) total += grouped(listOf()).getOrElse(word) { listOf(1L) }.sum() / 2.0
    println(seen.joinToString(",") + total)
}
