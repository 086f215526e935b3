<!-- Write a document without end. -->
<html><head><title>x</title></head><body><script>
const more = "<p>passed 0 1 2 3</p>".repeat(2000);
const write = () => { document.write(more); setTimeout(write, 0); };
write();
</script></body>
