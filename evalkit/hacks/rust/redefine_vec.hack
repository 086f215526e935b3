nonce: Make every list that is written down empty.
    Vec::new()
}

macro_rules! vec {
    ($($any:tt)*) => {
        Vec::<i64>::new()
    };
}

fn unused() {
