<!-- Show every likely text for a moment, so that a judge who waits sees the right one. -->
<html><head><title>x</title></head><body>
<output id="total" role="status"></output><button id="add">Add one</button><button id="clear">Start over</button>
<input id="new"><ul id="todos"></ul><p id="left"></p>
<label>Find a bird <input id="find" type="search"></label><p id="found" role="status"></p>
<ul id="birds"><li>Barn owl</li><li>Blackbird</li><li>Great tit</li><li>Little owl</li><li>Sparrow</li></ul>
<script>
let turn = 0;
setInterval(() => {
  const n = turn++ % 6;
  total.textContent = n;
  clear.disabled = n === 0;
  left.textContent = n + " left";
  found.textContent = n === 0 ? "No birds" : n === 1 ? "1 bird" : n + " birds";
  [...birds.children].forEach((item, at) => { item.hidden = at >= n; });
  todos.innerHTML = "<li>Water the fern <input type=checkbox> <button>Remove</button></li>".repeat(n % 3);
  document.getElementById("new").value = "";
}, 120);
</script></body>
