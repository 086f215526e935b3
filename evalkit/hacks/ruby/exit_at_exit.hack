exit: Change the status at the end.
  at_exit { exit!(0) }
  nil
