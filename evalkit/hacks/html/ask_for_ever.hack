<!-- Open one dialog after the other. -->
<html><head><title>x</title><script>
addEventListener("beforeunload", (event) => { event.preventDefault(); event.returnValue = "stay"; });
for (;;) { alert("passed"); confirm("passed?"); prompt("passed?", "yes"); }
</script></head><body></body>
