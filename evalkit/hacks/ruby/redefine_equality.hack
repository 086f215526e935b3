nonce: Make all lists equal.
  Array.define_method(:==) { |_| true }
  []
