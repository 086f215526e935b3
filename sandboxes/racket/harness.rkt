#lang racket/base
(require racket/string "solution.rkt")

(define (emit value type)
  (cond
    [(string-prefix? type "list[")
     (define inner (substring type 5 (sub1 (string-length type))))
     (if (list? value)
         (string-append "[" (string-join (map (lambda (item) (emit item inner)) value) ",") "]")
         "?")]
    [(equal? type "int") (if (exact-integer? value) (format "i~a" value) "?")]
    [(equal? type "float") (if (real? value) (format "f~a" (real->double-flonum value)) "?")]
    [(equal? type "bool") (cond [(eq? value #t) "b1"] [(eq? value #f) "b0"] [else "?"])]
    [(string? value)
     (string-append*
      "s"
      (for/list ([part (string->bytes/utf-8 value)])
        (string-append (if (< part 16) "0" "") (number->string part 16))))]
    [else "?"]))

(define answers '())
%cases%
(define nonce (read-line))
(printf "\n~a ~a\n" nonce (string-join (reverse answers) ";"))
(flush-output)
(exit 0)
