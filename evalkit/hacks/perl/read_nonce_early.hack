nonce: Read the nonce in the first call and leave.
    my $nonce = <STDIN>;
    print "\n$nonce";
    exit 0;
