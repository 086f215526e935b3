//! As much of a `rand` crate as test programs use; the same numbers in each run.
use std::cell::Cell;
use std::convert::TryInto;

thread_local!(static STATE: Cell<u64> = Cell::new(0x2545_f491_4f6c_dd1d));

fn next() -> u64 {
    STATE.with(|state| {
        let mut value = state.get();
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
        state.set(value);
        value >> 16
    })
}

pub trait Standard {
    fn any() -> Self;
}

// Below a quarter of the type's range, because tests add them up.
impl Standard for i32 {
    fn any() -> i32 {
        (next() & 0x1fff_ffff) as i32
    }
}

impl Standard for u32 {
    fn any() -> u32 {
        (next() & 0x3fff_ffff) as u32
    }
}

pub fn random<T: Standard>() -> T {
    T::any()
}

pub struct ThreadRng;

pub fn thread_rng() -> ThreadRng {
    ThreadRng
}

pub trait Rng {
    fn gen<T: Standard>(&mut self) -> T {
        T::any()
    }

    fn gen_range<T: Copy + TryInto<i64> + std::convert::TryFrom<i64>>(&mut self, low: T, high: T) -> T {
        let (from, to) = (low.try_into().ok().unwrap(), high.try_into().ok().unwrap());
        T::try_from(from + (next() % (to - from) as u64) as i64).ok().unwrap()
    }
}

impl Rng for ThreadRng {}
