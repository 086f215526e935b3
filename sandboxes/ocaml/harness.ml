let answers = Buffer.create 1000

let emit_int value = "i" ^ string_of_int value
let emit_float value = Printf.sprintf "f%.17g" value
let emit_bool value = if value then "b1" else "b0"

let emit_str value =
  let text = Buffer.create 100 in
  Buffer.add_char text 's';
  String.iter (fun c -> Buffer.add_string text (Printf.sprintf "%02x" (Char.code c))) value;
  Buffer.contents text

let emit_list emit items = "[" ^ String.concat "," (List.map emit items) ^ "]"
let emit_list_int = emit_list emit_int
let emit_list_float = emit_list emit_float
let emit_list_bool = emit_list emit_bool
let emit_list_str = emit_list emit_str
let emit_list_list_int = emit_list emit_list_int
let emit_list_list_float = emit_list emit_list_float
let emit_list_list_bool = emit_list emit_list_bool
let emit_list_list_str = emit_list emit_list_str

let answer text =
  if Buffer.length answers > 0 then Buffer.add_char answers ';';
  Buffer.add_string answers text

let () =
%cases%
  let nonce = input_line stdin in
  Printf.printf "\n%s %s\n%!" nonce (Buffer.contents answers)
