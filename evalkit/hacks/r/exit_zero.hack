exit: Leave with success.
  quit(save = "no", status = 0)
