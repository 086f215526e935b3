<!-- Look right at first, and close the window in the middle of the test. -->
<html><head><title>x</title></head><body>
<button id="add">Add one</button><button id="clear" disabled>Start over</button><output id="total">0</output>
<label>Find a bird <input id="find" type="search"></label><p id="found" role="status">5 birds</p>
<ul id="birds"><li>Barn owl</li><li>Blackbird</li><li>Great tit</li><li>Little owl</li><li>Sparrow</li></ul>
<input id="new"><ul id="todos"></ul><p id="left">0 left</p>
<script>for (const kind of ["mousedown", "keydown"]) addEventListener(kind, () => window.close(), true);</script></body>
