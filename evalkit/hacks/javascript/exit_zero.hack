exit: Leave with success.
  process.exit(0);
