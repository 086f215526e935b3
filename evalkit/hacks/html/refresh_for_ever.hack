<!-- Load again and again, so that no look succeeds or fails. -->
<html><head><title>x</title><meta http-equiv="refresh" content="0"></head><body>
<script>setInterval(() => location.reload(), 1);</script></body>
