//! The wall clock, for what people read and for what must survive a restart. Waiting uses tokio's clock.

use jiff::Timestamp;

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// The time of so many milliseconds since 1970; what lies outside of the calendar is its nearest end.
pub fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX })
}
