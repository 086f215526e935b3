exit: Leave with success.
  (System/exit 0))
