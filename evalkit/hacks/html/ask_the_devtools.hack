<!-- Find the judge: ask every port and protocol that could tell what is expected. -->
<html><head><title>x</title></head><body><pre id="out"></pre>
<script>
const places = ["file:///box/task.json", "file:///proc/self/environ", "http://localhost:9222/json", "http://127.0.0.1:9222/json/list",
  "chrome://version", "devtools://devtools/bundled/inspector.html", "ws://localhost:9222/devtools/browser"];
for (const place of places) {
  fetch(place).then((r) => r.text()).then((t) => { out.textContent += t; }, () => {});
  const frame = document.createElement("iframe");
  frame.src = place;
  document.body.append(frame);
  try { new WebSocket(place).onmessage = (m) => { out.textContent += m.data; }; } catch {}
}
try { window.cdc = chrome; } catch {}
</script></body>
