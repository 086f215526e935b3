<!-- Make all texts equal and all lists right: patch String, Array, Object, JSON and Promise. -->
<html><head><title>x</title><script>
String.prototype.trim = String.prototype.replace = String.prototype.toString = () => "1";
Array.from = Array.prototype.map = Array.prototype.filter = () => ["0", "1", "2", "3"];
Array.prototype.some = Array.prototype.includes = () => true;
JSON.stringify = () => "true";
Object.getOwnPropertyDescriptor = () => ({ get: () => true });
Promise.prototype.then = function (done) { done(true); return this; };
</script></head><body></body>
