exit: Declare the rest to be no source.
    return [];
}
__END__
sub unused {
