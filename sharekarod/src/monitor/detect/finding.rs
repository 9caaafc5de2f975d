//! What a detector says: something is out of the ordinary now. Said again while it lasts; incidents make one of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sharekaro_proto::control::net::{AnomalyKind, Severity};

use super::traffic::Rates;

/// One moment of something odd.
#[derive(Clone, PartialEq, Debug)]
pub struct Finding {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: AnomalyKind,
    /// How bad.
    pub severity: Severity,
    /// What it is about, where one kind can happen to several at once: an address, an access point.
    pub subject: String,
    /// With numbers.
    pub explanation: String,
    /// The explanation of the heaviest moment stands for the incident.
    pub weight: f64,
    /// What `ack --normal` teaches.
    pub lesson: Lesson,
}

/// What becomes normal when somebody says so.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub enum Lesson {
    /// Nothing: it stays worth a word each time.
    #[default]
    None,
    /// These rates.
    Rates(Rates),
    /// A pause of so many seconds.
    Pause(f64),
    /// This belongs to the network.
    Belongs(super::rules::Belonging),
}

impl Lesson {
    /// Both lessons of one incident in one.
    pub(crate) fn join(&mut self, other: Self) {
        match (self, other) {
            (Self::Rates(mine), Self::Rates(other)) => mine.raise(&other),
            (Self::Pause(mine), Self::Pause(other)) => *mine = mine.max(other),
            (mine @ Self::None, other) => *mine = other,
            _ => {}
        }
    }
}
