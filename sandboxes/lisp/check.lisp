(with-open-file (text "solution.lisp")
  (loop until (eq (read text nil :end) :end)))
