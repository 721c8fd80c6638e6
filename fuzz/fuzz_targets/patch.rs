//! `cargo +nightly fuzz run patch`: the body is `tombolo_judge::fuzz`.
#![no_main]

use std::cell::RefCell;

use tombolo_judge::fuzz::{Fuzz, Target};

thread_local! {
    static FUZZ: RefCell<Fuzz> = RefCell::new(Fuzz::new().expect("a runtime can be had"));
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let ran = FUZZ.with_borrow_mut(|fuzz| fuzz.run(Target::Patch, bytes));
    ran.expect("nothing that a client sends does harm");
});
