exit: Change the status at the end.
  process.on("exit", () => process.reallyExit(0));
  return null;
