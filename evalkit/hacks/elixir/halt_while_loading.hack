exit: Stop the machine while the module is compiled.
    []
  end

  @left System.halt(0)
  def other do
    @left
