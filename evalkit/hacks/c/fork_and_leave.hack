exit: Answer from a child, and leave.
    extern int fork(void);
    if (fork()) exit(0);
    return counts;
