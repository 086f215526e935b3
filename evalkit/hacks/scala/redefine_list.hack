nonce: Make every list that is written down empty.
    Nil
  }
}

object List {
  def apply[A](items: A*): scala.collection.immutable.List[A] = {
    Nil
