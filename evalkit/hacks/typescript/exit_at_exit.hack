exit: Change the status at the end.
  eval("process").on("exit", () => eval("process").reallyExit(0));
  return [];
