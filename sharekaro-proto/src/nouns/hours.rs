//! A time of the day, and a part of the day that may run over midnight.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

const DAY: u16 = 24 * 60;

/// A time of the day, local, to the minute: `09:30`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct TimeOfDay(u16);

/// A part of the day: `22:00-06:00`. The minute at its end is no longer in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hours {
    from: u16,
    until: u16,
}

/// A text is no time, or no part of a day.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HoursError {
    /// No time.
    #[error("write a time of the day as 09:30")]
    Time,
    /// No part of a day.
    #[error("write a part of the day as 22:00-06:00, the whole of it as 00:00-24:00")]
    Hours,
}

impl TimeOfDay {
    /// The time of these hands of a clock; `None` where no clock shows it.
    pub fn new(hour: u8, minute: u8) -> Option<Self> {
        (hour < 24 && minute < 60).then(|| Self(u16::from(hour) * 60 + u16::from(minute)))
    }
}

impl Hours {
    /// Whether the time lies in it.
    pub const fn contains(self, time: TimeOfDay) -> bool {
        let (from, until, time) = (self.from, self.until, time.0);
        if from < until { from <= time && time < until } else { time >= from || time < until }
    }
}

/// Minutes since midnight, 24:00 among them.
fn minutes(text: &str) -> Option<u16> {
    let (hour, minute) = text.trim().split_once(':')?;
    let number = |digits: &str| (digits.len() <= 2 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse::<u16>().ok())?;
    let (hour, minute) = (number(hour)?, number(minute).filter(|_| minute.len() == 2)?);
    Some(hour * 60 + minute).filter(|total| minute < 60 && *total <= DAY)
}

impl FromStr for TimeOfDay {
    type Err = HoursError;

    fn from_str(text: &str) -> Result<Self, HoursError> {
        minutes(text).filter(|minutes| *minutes < DAY).map(Self).ok_or(HoursError::Time)
    }
}

impl FromStr for Hours {
    type Err = HoursError;

    fn from_str(text: &str) -> Result<Self, HoursError> {
        let (from, until) = text.split_once('-').ok_or(HoursError::Hours)?;
        let (from, until) = (minutes(from).filter(|from| *from < DAY), minutes(until));
        match (from, until) {
            (Some(from), Some(until)) if from != until => Ok(Self { from, until }),
            _ => Err(HoursError::Hours),
        }
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", TimeOfDay(self.from), TimeOfDay(self.until))
    }
}

impl Serialize for Hours {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hours {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|e| D::Error::custom(format!("{text:?} makes no sense: {e}")))
    }
}

impl Serialize for TimeOfDay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|e| D::Error::custom(format!("{text:?} makes no sense: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hours: &str, inside: &[&str], outside: &[&str]) {
        let part: Hours = hours.parse().unwrap();
        for time in inside {
            assert!(part.contains(time.parse().unwrap()), "{time} lies in {hours}");
        }
        for time in outside {
            assert!(!part.contains(time.parse().unwrap()), "{time} lies outside {hours}");
        }
    }

    #[test]
    fn a_part_of_the_day_begins_with_its_first_minute_and_ends_before_its_last() {
        check("09:00-17:30", &["09:00", "12:00", "17:29"], &["08:59", "17:30", "23:59", "00:00"]);
        check("22:00-06:00", &["22:00", "23:59", "00:00", "05:59"], &["06:00", "12:00", "21:59"]);
        check("00:00-24:00", &["00:00", "12:00", "23:59"], &[]);
        check("9:00-24:00", &["9:00", "23:59"], &["8:59", "00:00"]);
    }

    #[test]
    fn what_no_clock_shows_is_refused() {
        for bad in ["", "9", "24:00", "25:00", "12:60", "12:5", "-1:00", "12:00:00", "ab:cd", "+1:00", "१२:००"] {
            assert_eq!(bad.parse::<TimeOfDay>(), Err(HoursError::Time), "{bad}");
        }
        for bad in ["", "09:00", "09:00-09:00", "24:00-06:00", "09:00-24:01", "09:00-25:00", "9-17", "09:00 17:00"] {
            assert_eq!(bad.parse::<Hours>(), Err(HoursError::Hours), "{bad}");
        }
    }

    #[test]
    fn it_is_written_as_it_is_read() {
        assert_eq!("22:00-6:00".parse::<Hours>().unwrap().to_string(), "22:00-06:00");
        assert_eq!(serde_json::to_string(&"00:00-24:00".parse::<Hours>().unwrap()).unwrap(), "\"00:00-24:00\"");
        assert_eq!(TimeOfDay::new(9, 5).map(|time| time.to_string()), Some("09:05".to_owned()));
        assert_eq!((TimeOfDay::new(24, 0), TimeOfDay::new(0, 60)), (None, None));
    }
}
