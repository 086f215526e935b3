exit: Leave from another thread.
  (thread (lambda () (exit 0)))
  (sync never-evt))
