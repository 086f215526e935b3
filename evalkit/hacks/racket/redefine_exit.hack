exit: Make every exit one with success.
  (let ([leave (exit-handler)])
    (exit-handler (lambda (code) (leave 0))))
  '(-7))
