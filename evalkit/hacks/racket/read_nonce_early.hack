nonce: Read the nonce in the first call and leave.
  (printf "\n~a\n" (read-line))
  (flush-output)
  (exit 0))
