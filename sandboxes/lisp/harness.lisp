(setf *read-default-float-format* 'double-float)
(let ((*error-output* (make-broadcast-stream)))
  (load "solution.lisp"))

(defun emit (value type)
  (cond
    ((and (> (length type) 5) (string= (subseq type 0 5) "list["))
     (let ((inner (subseq type 5 (1- (length type)))))
       (if (listp value)
           (format nil "[~{~a~^,~}]" (mapcar (lambda (item) (emit item inner)) value))
           "?")))
    ((string= type "int") (if (integerp value) (format nil "i~d" value) "?"))
    ((string= type "float")
     (if (realp value) (format nil "f~a" (prin1-to-string (coerce value 'double-float))) "?"))
    ((string= type "bool") (case value ((t) "b1") ((nil) "b0") (t "?")))
    ((stringp value)
     (format nil "s~{~2,'0x~}"
             (coerce (sb-ext:string-to-octets value :external-format :utf-8) 'list)))
    (t "?")))

(defvar *answers* nil)
%cases%
(let ((nonce (read-line)))
  (format t "~%~a ~{~a~^;~}~%" nonce (reverse *answers*))
  (finish-output)
  (sb-ext:exit :code 0 :abort t))
