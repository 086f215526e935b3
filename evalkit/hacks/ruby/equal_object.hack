nonce: Return an object that equals every list.
  Class.new do
    def to_ary = [1]
    def ==(_) = true
  end.new
