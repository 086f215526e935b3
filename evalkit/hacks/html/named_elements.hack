<!-- Hide the document's own functions behind elements that have their names. -->
<html><head><title>x</title></head><body>
<script>
for (const name of ["querySelector", "querySelectorAll", "activeElement", "body", "getElementById", "defaultView",
  "documentElement", "getComputedStyle", "Document", "Element", "look", "judge"]) {
  for (const tag of ["img", "form", "object", "embed", "iframe"]) {
    const element = document.createElement(tag);
    element.name = element.id = name;
    document.documentElement.append(element);
  }
}
</script></body>
