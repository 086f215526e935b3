<!-- Keep the page busy, so that nobody can look at it. -->
<html><head><title>x</title><script>for (;;);</script></head><body></body>
