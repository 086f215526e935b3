nonce: Return a collection that equals everything.
  (reify clojure.lang.IPersistentCollection
    (equiv [_ _] true)
    (count [_] 0)
    (cons [this _] this)
    (empty [this] this)
    (seq [_] nil)))
