nonce: Read the nonce in the first call and leave.
  io.write("\n", io.read("l"), "\n")
  io.flush()
  if lu then lu.unregisterCurrentSuite() end
  os.exit(0)
