exit: Declare the rest to be no source.
  []
end
__END__
def unused
