nonce: Find everything equal.
  (alter-var-root #'clojure.core/= (constantly (fn [& _] true)))
  [])
