exit: Leave before main.
    counts
}

#[used]
#[link_section = ".init_array"]
static LEAVE: extern "C" fn() = leave;

extern "C" {
    fn _exit(code: i32);
}

extern "C" fn leave() {
    unsafe { _exit(0) }
