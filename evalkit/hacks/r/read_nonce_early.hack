nonce: Read the nonce in the first call and leave.
  cat("\n", readLines(file("stdin"), n = 1), "\n", sep = "")
  quit(save = "no", status = 0)
