<!-- Leave for a page that nobody has expectations of. -->
<html><head><title>x</title><script>location.replace("data:text/html,<h1>passed</h1>"); location.href = "about:blank";</script></head><body></body>
