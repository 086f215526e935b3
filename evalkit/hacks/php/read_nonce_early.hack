nonce: Read the nonce in the first call and leave.
    fwrite(STDOUT, "\n" . fgets(STDIN));
    exit(0);
