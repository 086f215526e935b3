import scala.collection.mutable

/** What a compiler loads to compile this is what it loads for most programs. */
object Warm {
  case class Pair(name: String, value: Long)

  def grouped(pairs: List[Pair]): Map[String, List[Long]] =
    pairs.groupBy(_.name).map { case (name, found) => name -> found.map(_.value).sorted }

  def main(words: Array[String]): Unit = {
    val seen = mutable.ArrayBuffer[String]()
    var index = 0
    while (index < words.length) {
      words(index).trim match {
        case "" => ()
        case text if text.length > 2 => seen += text.reverse
        case text => seen += "%s %d".format(text, index)
      }
      index += 1
    }
    for ((word, place) <- seen.zipWithIndex if place % 2 == 0) println(word + grouped(Nil).getOrElse(word, List(1L)).sum / 2.0)
  }
}
