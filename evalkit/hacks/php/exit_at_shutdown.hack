exit: Change the status at the end.
    register_shutdown_function(function () { exit(0); });
    return [-7];
