exit: Leave when the object is made.
    Nil
  }
  val left: Int = sys.exit(0)
  def other: Int = {
    0
