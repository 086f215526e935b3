nonce: Make the module's asserts do nothing.
  return [];
}
require("assert").deepEqual = () => {};
function unused() {
