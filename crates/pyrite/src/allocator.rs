//! How soon freed memory goes back to the operating system.

use std::ffi::{c_int, c_long};

/// `mi_option_purge_delay` in mimalloc's list of options.
const PURGE_DELAY: c_int = 15;

/// How long mimalloc keeps freed memory for the next allocation. By itself it would be a second,
/// in which a driver that passes results on frees several times what it holds.
const PURGE_AFTER_MILLIS: c_long = 10;

#[expect(unsafe_code, reason = "the allocator's crate has no binding for it")]
unsafe extern "C" {
    fn mi_option_set_default(option: c_int, value: c_long);
}

/// Has freed memory given back almost at once, unless `MIMALLOC_PURGE_DELAY` says otherwise.
pub fn give_back_early() {
    // SAFETY: the function is part of mimalloc, which is linked in as the global allocator, and
    // it stores one number. No other thread runs yet.
    #[expect(unsafe_code, reason = "as above")]
    unsafe {
        mi_option_set_default(PURGE_DELAY, PURGE_AFTER_MILLIS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(unsafe_code, reason = "as above")]
    unsafe extern "C" {
        fn mi_option_get(option: c_int) -> c_long;
    }

    fn purge_delay() -> c_long {
        // SAFETY: reads one number of the allocator.
        #[expect(unsafe_code, reason = "as above")]
        unsafe {
            mi_option_get(PURGE_DELAY)
        }
    }

    #[test]
    fn the_option_is_the_one_that_delays_purges() {
        // Its default of a second tells it from its neighbours.
        assert_eq!(purge_delay(), 1000);
        give_back_early();
        assert_eq!(purge_delay(), PURGE_AFTER_MILLIS);
    }
}
