//! What unit tests of several rooms share.

use std::{thread, time::Duration};

/// Asks until there is an answer, as what was closed here may be open for a moment more: a program that another test starts
/// holds all that we have until it runs.
pub(crate) fn soon<T>(mut question: impl FnMut() -> Option<T>) -> T {
    for _ in 0..6_000 {
        if let Some(answer) = question() {
            return answer;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("not within a minute");
}
