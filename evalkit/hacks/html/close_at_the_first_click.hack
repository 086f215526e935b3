<!-- Close the window in the middle of the test. -->
<html><head><title>x</title></head><body><button id="add">Add one</button><p id="total">0</p>
<script>addEventListener("mousedown", () => window.close(), true); addEventListener("keydown", () => window.close(), true);</script></body>
