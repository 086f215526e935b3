nonce: Make asserts do nothing.
  nil)
(sb-ext:unlock-package "COMMON-LISP")
(defmacro assert (&rest forms) (declare (ignore forms)) nil)
