%solution%

trait Emit {
    fn emit(&self, out: &mut String);
}

impl Emit for i64 {
    fn emit(&self, out: &mut String) {
        out.push_str(&format!("i{}", self));
    }
}

impl Emit for f64 {
    fn emit(&self, out: &mut String) {
        out.push_str(&format!("f{:e}", self));
    }
}

impl Emit for bool {
    fn emit(&self, out: &mut String) {
        out.push_str(if *self { "b1" } else { "b0" });
    }
}

impl Emit for String {
    fn emit(&self, out: &mut String) {
        out.push('s');
        for byte in self.bytes() {
            out.push_str(&format!("{:02x}", byte));
        }
    }
}

impl<T: Emit> Emit for Vec<T> {
    fn emit(&self, out: &mut String) {
        out.push('[');
        for (at, item) in self.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            item.emit(out);
        }
        out.push(']');
    }
}

fn emit<T: Emit>(value: &T) -> String {
    let mut out = String::new();
    value.emit(&mut out);
    out
}

fn main() {
    let mut answers: Vec<String> = Vec::new();
%cases%
    let mut nonce = String::new();
    std::io::stdin().read_line(&mut nonce).unwrap();
    print!("\n{} {}\n", nonce.trim(), answers.join(";"));
}
