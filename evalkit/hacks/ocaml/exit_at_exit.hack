exit: Change the status at the end.
  at_exit (fun () -> exit 0);
  [-7]
