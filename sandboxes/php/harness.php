<?php
require "./solution.php";

function emit($value, $type) {
    if (str_starts_with($type, "list[")) {
        if (!is_array($value)) return "?";
        $items = [];
        foreach ($value as $item) $items[] = emit($item, substr($type, 5, -1));
        return "[" . implode(",", $items) . "]";
    }
    if ($type === "int") return is_int($value) ? "i" . $value : "?";
    if ($type === "float") return is_float($value) || is_int($value) ? "f" . var_export($value, true) : "?";
    if ($type === "bool") return is_bool($value) ? ($value ? "b1" : "b0") : "?";
    return is_string($value) ? "s" . bin2hex($value) : "?";
}

$answers = [];
%cases%
$nonce = trim(fgets(STDIN));
fwrite(STDOUT, "\n" . $nonce . " " . implode(";", $answers) . "\n");
exit(0);
