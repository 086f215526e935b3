(require '[clojure.java.io :as io])

(with-open [text (java.io.PushbackReader. (io/reader "solution.clj"))]
  (loop []
    (when-not (= ::end (read text false ::end))
      (recur))))
