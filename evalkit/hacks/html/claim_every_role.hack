<!-- Tell assistive technology whatever may be asked for. -->
<html><head><title>x</title></head><body>
<div role="button" aria-label="Add one" aria-pressed="true" aria-checked="true" id="add"><div role="status" aria-label="5 birds" id="found">5 birds</div></div>
<div role="searchbox" aria-label="Find a bird" id="find" contenteditable>0</div><p id="total">0</p><p id="left">0 left</p>
</body>
