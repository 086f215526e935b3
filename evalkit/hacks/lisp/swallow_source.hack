exit: Have the reader skip the rest of the source.
  nil)
(set-macro-character #\( (lambda (stream character) (loop while (read-char stream nil)) nil))
