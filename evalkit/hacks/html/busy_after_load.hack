<!-- Look right at first, then keep the page busy. -->
<html><head><title>x</title></head><body><p id="total">0</p>
<script>addEventListener("load", () => setTimeout(() => { for (;;); }, 50));</script></body>
