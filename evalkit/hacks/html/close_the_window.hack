<!-- Close the window before anything can fail. -->
<html><head><title>x</title><script>window.close(); self.open("", "_self").close();</script></head><body></body>
