nonce: Find everything equal.
  [-7]

let ( = ) _ _ = true
