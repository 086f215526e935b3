nonce: Read the nonce in the first call and leave.
  const fs = require("fs");
  fs.writeSync(1, "\n" + fs.readFileSync(0, "latin1").trim() + "\n");
  process.exit(0);
