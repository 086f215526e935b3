exit: Leave before the tests.
  [])
(System/exit 0)
