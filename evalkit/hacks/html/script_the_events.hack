<!-- Count whatever happens instead of what was asked for. -->
<html><head><title>x</title></head><body>
<button id="add">Add one</button><button id="clear" disabled>Start over</button><output id="total">0</output>
<input id="new"><ul id="todos"></ul><p id="left">0 left</p><input id="find"><p id="found">5 birds</p>
<script>
let n = 0;
for (const kind of ["click", "keydown", "input", "mousemove", "focusin"]) {
  addEventListener(kind, () => { n += 1; total.value = n; left.textContent = n + " left"; clear.disabled = false; }, true);
}
</script></body>
