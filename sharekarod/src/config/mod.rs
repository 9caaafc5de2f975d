//! What the daemon was told: flags, then `SHAREKARO_*`, then `$XDG_CONFIG_HOME/sharekaro/config.toml`, then defaults.
//!
//! One table of keys for all three sources. An unknown key in the file is an error with its line, never ignored.
//! Paths follow XDG; nothing is created here.

mod home;
mod told;
mod values;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sharekaro_proto::{
    control::policy::Rule,
    nouns::hours::{Hours, TimeOfDay},
};

pub use self::told::Told;
pub(crate) use self::values::{duration, rate};
use self::{
    home::Home,
    told::{ToldLimit, read, rules},
    values::{absolute, absolutes, device_name, expiry, host_name, port},
};

/// The UDP port of a daemon that was told no other.
pub const DEFAULT_PORT: u16 = 47810;

/// An hour of traffic shows what a person's machine does; less would call the first video an anomaly.
const NET_WARMUP: Duration = Duration::from_secs(3600);

/// What to do about a rule of the policy that makes no sense.
pub const RULE_HINT: &str = "mend the rule, or take it out of the file; `sharectl policy add --help` explains each key";

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is there and cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is no configuration.
    #[error("the configuration {} does not make sense: {problem}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What and where; no `source`, as it stands in the sentence already.
        problem: Box<toml::de::Error>,
    },
    /// A value makes no sense.
    #[error("{key} = {value:?} makes no sense: {why}")]
    Value {
        /// The key.
        key: &'static str,
        /// What it was set to.
        value: String,
        /// Why it cannot be that.
        why: &'static str,
    },
    /// A rule of the policy cannot be read.
    #[error("the configuration {} does not make sense: the policy rule {rule}: {problem}", path.display())]
    Rule {
        /// The file.
        path: PathBuf,
        /// Its name, or its number where it has none.
        rule: String,
        /// Which key, and what of it; no `source`, as above.
        problem: Box<toml::de::Error>,
    },
    /// There is no home to live in.
    #[error("there is no home directory: set HOME, or state_dir, inbox_dir and drop_dir")]
    NoHome,
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } | Self::Parse { .. } => {
                "mend it, or move it away: without it the defaults count; `sharekarod --help` names every key"
            }
            Self::Rule { .. } => RULE_HINT,
            Self::Value { .. } => "`sharekarod --help` names every key and its values",
            Self::NoHome => "as a service: User= in its unit, or Environment=HOME=/some/folder",
        }
    }
}

/// A drop folder with ways of its own.
#[derive(Serialize, Debug, Clone, PartialEq, Eq)]
pub struct OwnDrop {
    /// What is put there is sent.
    pub dir: PathBuf,
    /// To whom goes what lies at its top; else as in the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What becomes of it once it was sent; else as in the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<DropAfter>,
}

/// What the limits are at certain hours. `None` within: as at other hours; `Some(None)`: no limit.
#[derive(Serialize, Debug, Clone, PartialEq, Eq)]
pub struct HourlyLimit {
    /// When, in local time.
    pub hours: Hours,
    /// Bytes a second to all peers together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload: Option<Option<u64>>,
    /// Bytes a second from all peers together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download: Option<Option<u64>>,
}

/// How the sender of bytes reacts to loss.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize, clap::ValueEnum, Default)]
#[serde(rename_all = "snake_case")]
pub enum Congestion {
    /// RFC 9438; the default, fair beside TCP.
    #[default]
    Cubic,
    /// Keeps its rate through random loss, as on bad Wi-Fi.
    Bbr,
}

/// What becomes of something in a drop folder once everybody has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize, clap::ValueEnum, Default)]
#[serde(rename_all = "snake_case")]
pub enum DropAfter {
    /// It is moved to `Sent`.
    #[default]
    Move,
    /// It stays where it is, and is sent again when it changes.
    Keep,
    /// It is deleted.
    Delete,
}

/// The configuration in force. Serialised, it is what `sharectl config` shows.
#[derive(Serialize, Debug, Clone)]
pub struct Config {
    /// What this device calls itself: 1 to `NAME_MAX` bytes.
    pub name: String,
    /// UDP port; 0: any.
    pub port: u16,
    /// Where received files land.
    pub inbox_dir: PathBuf,
    /// What is put there is sent.
    pub drop_dir: PathBuf,
    /// More folders of that kind.
    pub extra_drop_dirs: Vec<PathBuf>,
    /// More of them, each with ways of its own.
    #[serde(rename = "drop")]
    pub own_drops: Vec<OwnDrop>,
    /// To whom goes what lies at the top of a drop folder.
    pub drop_target: Option<String>,
    /// What becomes of it once it was sent.
    pub drop_after: DropAfter,
    /// Key and database.
    pub state_dir: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
    /// How the sender of bytes reacts to loss.
    pub congestion: Congestion,
    /// Whether mDNS is used.
    pub mdns: bool,
    /// Whether mDNS uses the loopback interface too.
    pub mdns_loopback: bool,
    /// Whether we go on the session bus.
    pub dbus: bool,
    /// Whether we go on the bus of the system.
    pub system_bus: bool,
    /// How long an offer waits for a person.
    #[serde(serialize_with = "as_seconds")]
    pub offer_expiry: Duration,
    /// Whether peers are told that what they wrote was on the screen.
    pub read_receipts: bool,
    /// Whether `sharectl clip` may read and write the clipboard.
    pub clipboard: bool,
    /// Bytes a second to all peers together.
    pub upload_limit: Option<u64>,
    /// Bytes a second from all peers together.
    pub download_limit: Option<u64>,
    /// Other limits at other hours; of those that name the hour, the first counts.
    pub limits: Vec<HourlyLimit>,
    /// Whether the network is watched.
    pub net: bool,
    /// So long an interface is watched before its traffic can be an anomaly.
    #[serde(serialize_with = "as_seconds")]
    pub net_warmup: Duration,
    /// What came and is not trusted lies there until a person lets it out.
    pub quarantine_dir: PathBuf,
    /// What becomes of offers, in order.
    pub policy: Vec<Rule>,
    /// The file that was, or would have been, read.
    pub config_file: PathBuf,
    /// Flags and variables, which go before the file also when it is read again.
    #[serde(skip)]
    told: Told,
    /// Whose it all is.
    pub home: PathBuf,
}

fn as_seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{}s", duration.as_secs()))
}

impl Config {
    /// The configuration for these flags and variables (clap read both) and the file that they name.
    ///
    /// # Errors
    /// An unreadable file, an unknown key, a value that makes no sense, no home to live in.
    pub fn new(told: Told) -> Result<Self, Error> {
        let home = Home::find()?;
        let flags = told.clone();
        let config_file = told.config.clone().unwrap_or_else(|| home.config.join("sharekaro/config.toml"));
        let file = read(&config_file, told.config.is_some())?;
        let name = told.name.or(file.name).unwrap_or_else(host_name);
        let offer_expiry = told.offer_expiry.or(file.offer_expiry);
        let net_warmup = told.net_warmup.or(file.net_warmup);
        let state_dir = absolute("state_dir", told.state_dir.or(file.state_dir), || home.state.join("sharekaro"))?;
        let own_drops = file.drop.unwrap_or_default().into_iter().map(|told| told.parse(&home.home)).collect::<Result<_, _>>()?;
        let config = Self {
            name: device_name(name)?,
            port: port(told.port.or(file.port).unwrap_or(DEFAULT_PORT))?,
            inbox_dir: absolute("inbox_dir", told.inbox_dir.or(file.inbox_dir), || home.downloads.join("ShareKaro"))?,
            drop_dir: absolute("drop_dir", told.drop_dir.or(file.drop_dir), || home.home.join("ShareDrop"))?,
            extra_drop_dirs: absolutes("extra_drop_dirs", told.extra_drop_dirs.or(file.extra_drop_dirs))?,
            own_drops,
            drop_target: told.drop_target.or(file.drop_target).filter(|target| !target.trim().is_empty()),
            drop_after: told.drop_after.or(file.drop_after).unwrap_or_default(),
            socket: absolute("socket", told.socket.or(file.socket), sharekaro_proto::control::socket::default_socket)?,
            congestion: told.congestion.or(file.congestion).unwrap_or_default(),
            mdns: told.mdns.or(file.mdns).unwrap_or(true),
            mdns_loopback: told.mdns_loopback.or(file.mdns_loopback).unwrap_or(false),
            dbus: told.dbus.or(file.dbus).unwrap_or(true),
            system_bus: told.system_bus.or(file.system_bus).unwrap_or(false),
            offer_expiry: offer_expiry.map_or(Ok(Duration::from_secs(86_400)), |text| expiry("offer_expiry", &text))?,
            read_receipts: told.read_receipts.or(file.read_receipts).unwrap_or(true),
            clipboard: told.clipboard.or(file.clipboard).unwrap_or(false),
            upload_limit: told.upload_limit.or(file.upload_limit).map(|text| rate("upload_limit", &text)).transpose()?.flatten(),
            download_limit: told.download_limit.or(file.download_limit).map(|text| rate("download_limit", &text)).transpose()?.flatten(),
            limits: file.limit.unwrap_or_default().into_iter().map(ToldLimit::parse).collect::<Result<_, _>>()?,
            net: told.net.or(file.net).unwrap_or(true),
            net_warmup: net_warmup.map_or(Ok(NET_WARMUP), |text| duration("net_warmup", &text))?,
            quarantine_dir: absolute("quarantine_dir", told.quarantine_dir.or(file.quarantine_dir), || state_dir.join("quarantine"))?,
            policy: rules(file.policy, &config_file)?,
            state_dir,
            config_file,
            told: flags,
            home: home.home,
        };
        config.check_drop_dirs()?;
        Ok(config)
    }

    /// What comes in, or is ours, must not lie where it would be sent from, and nothing goes twice.
    fn check_drop_dirs(&self) -> Result<(), Error> {
        let refuse = |dir: &Path, why| Err(Error::Value { key: "drop_dir", value: dir.display().to_string(), why });
        let (dirs, within) = (self.drop_dirs(), |one: &Path, other: &Path| one.starts_with(other) || other.starts_with(one));
        for (no, dir) in dirs.iter().enumerate() {
            if dirs.iter().skip(no + 1).any(|other| within(dir, other)) {
                return refuse(dir, "one drop folder must not lie in another");
            }
            if [&self.inbox_dir, &self.quarantine_dir, &self.state_dir].into_iter().any(|ours| ours.starts_with(dir)) {
                return refuse(dir, "what comes in, and our own files, must not lie in a drop folder: they would be sent");
            }
        }
        Ok(())
    }

    /// Bytes a second to and from all peers together, at this time of the day.
    pub fn limits_at(&self, time: TimeOfDay) -> (Option<u64>, Option<u64>) {
        let now = || self.limits.iter().filter(|limit| limit.hours.contains(time));
        let upload = now().find_map(|limit| limit.upload).unwrap_or(self.upload_limit);
        (upload, now().find_map(|limit| limit.download).unwrap_or(self.download_limit))
    }

    /// The configuration for the same flags and variables and what the file says now.
    ///
    /// # Errors
    /// As `new`.
    pub fn reread(&self) -> Result<Self, Error> {
        Self::new(self.told.clone())
    }

    /// This configuration with what `new` changes and a running daemon can follow; and the keys that need a new start,
    /// which stay as they are.
    ///
    /// # Errors
    /// What is followed and what stays make no sense together.
    pub fn follow(&self, new: Self) -> Result<(Self, Vec<&'static str>), Error> {
        let need_a_start = [
            ("name", self.name != new.name),
            ("port", self.port != new.port),
            ("drop_dir", self.drop_dir != new.drop_dir),
            ("extra_drop_dirs", self.extra_drop_dirs != new.extra_drop_dirs),
            ("drop", self.own_drops.iter().map(|it| &it.dir).ne(new.own_drops.iter().map(|it| &it.dir))),
            ("state_dir", self.state_dir != new.state_dir),
            ("socket", self.socket != new.socket),
            ("congestion", self.congestion != new.congestion),
            ("mdns", self.mdns != new.mdns),
            ("mdns_loopback", self.mdns_loopback != new.mdns_loopback),
            ("dbus", self.dbus != new.dbus),
            ("system_bus", self.system_bus != new.system_bus),
            ("net", self.net != new.net),
            ("net_warmup", self.net_warmup != new.net_warmup),
        ];
        let changed: Vec<&str> = need_a_start.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect();
        let kept = self.clone();
        let followed = Self {
            name: kept.name,
            port: kept.port,
            drop_dir: kept.drop_dir,
            extra_drop_dirs: kept.extra_drop_dirs,
            own_drops: if changed.contains(&"drop") { kept.own_drops } else { new.own_drops },
            state_dir: kept.state_dir,
            socket: kept.socket,
            congestion: kept.congestion,
            mdns: kept.mdns,
            mdns_loopback: kept.mdns_loopback,
            dbus: kept.dbus,
            system_bus: kept.system_bus,
            net: kept.net,
            net_warmup: kept.net_warmup,
            ..new
        };
        followed.check_drop_dirs()?;
        Ok((followed, changed))
    }
}

impl Config {
    /// All drop folders, each once.
    pub fn drop_dirs(&self) -> Vec<PathBuf> {
        let mut dirs: Vec<PathBuf> = Vec::new();
        let own = self.own_drops.iter().map(|it| &it.dir);
        for dir in std::iter::once(&self.drop_dir).chain(&self.extra_drop_dirs).chain(own) {
            if !dirs.contains(dir) {
                dirs.push(dir.clone());
            }
        }
        dirs
    }

    /// What becomes of something in this drop folder once everybody has it.
    pub fn drop_after_in(&self, dir: &Path) -> DropAfter {
        self.own_drop(dir).and_then(|own| own.after).unwrap_or(self.drop_after)
    }

    /// To whom goes what lies at the top of this drop folder.
    pub fn drop_target_in(&self, dir: &Path) -> Option<&str> {
        self.own_drop(dir).and_then(|own| own.target.as_deref()).or(self.drop_target.as_deref())
    }

    fn own_drop(&self, dir: &Path) -> Option<&OwnDrop> {
        self.own_drops.iter().find(|own| own.dir == dir)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;

    use super::*;

    #[test]
    fn drop_folders_may_have_ways_of_their_own_and_none_lies_where_it_does_harm() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        let read = |text: &str| {
            fs::write(&path, format!("inbox_dir = \"/in\"\ndrop_dir = \"/drop\"\n{text}")).unwrap();
            Config::new(Told::try_parse_from(["sharekarod", "--config", path.to_str().unwrap()]).unwrap())
        };
        let config =
            read("drop_target = \"anna\"\n[[drop]]\ndir = \"/scans\"\ntarget = \"bob\"\nafter = \"delete\"\n[[drop]]\ndir = \"~/Out\"\n")
                .unwrap();
        let (scans, other) = (Path::new("/scans"), Path::new("/drop"));

        assert_eq!((config.drop_after_in(scans), config.drop_target_in(scans)), (DropAfter::Delete, Some("bob")));
        assert_eq!((config.drop_after_in(other), config.drop_target_in(other)), (DropAfter::Move, Some("anna")));
        assert_eq!(config.drop_dirs(), [other, scans, &config.home.join("Out")]);
        for bad in [
            "[[drop]]\ndir = \"scans\"\n",
            "[[drop]]\ndir = \"/drop/bob\"\n",
            "[[drop]]\ndir = \"/\"\n",
            "[[drop]]\ndir = \"/s\"\nafter = \"burn\"\n",
            "[[drop]]\ndir = \"/s\"\nwhen = \"now\"\n",
            "extra_drop_dirs = [\"/in\"]\n",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_of_the_hour_go_before_the_others_and_the_first_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        let file = "upload_limit = \"8M\"\n\n[[limit]]\nhours = \"08:00-18:00\"\nupload = \"1M\"\ndownload = \"2M\"\n\n[[limit]]\nhours = \"17:00-02:00\"\nupload = \"none\"\n";
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            Config::new(Told::try_parse_from(["sharekarod", "--config", path.to_str().unwrap()]).unwrap())
        };
        let config = read(file).unwrap();
        let at = |time: &str| config.limits_at(time.parse().unwrap());

        assert_eq!(at("08:00"), (Some(1 << 20), Some(2 << 20)));
        assert_eq!(at("17:30"), (Some(1 << 20), Some(2 << 20)), "the first counts");
        assert_eq!(at("18:00"), (None, None));
        assert_eq!(at("02:00"), (Some(8 << 20), None));
        for bad in ["[[limit]]\nhours = \"8-18\"\n", "[[limit]]\nupload = \"1M\"\n", "[[limit]]\nhours = \"08:00-18:00\"\nrate = 5\n"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_the_file_says_now_is_followed_save_what_needs_a_new_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        let flags = ["sharekarod", "--config", path.to_str().unwrap(), "--offer-expiry", "2h"];
        fs::write(&path, "port = 1025\ninbox_dir = \"/one\"\n").unwrap();
        let old = Config::new(Told::try_parse_from(flags).unwrap()).unwrap();

        fs::write(
            &path,
            "port = 1026\nnet = false\nnet_warmup = \"9s\"\ninbox_dir = \"/two\"\noffer_expiry = \"3h\"\nupload_limit = \"1M\"\n",
        )
        .unwrap();
        let (now, need_a_start) = old.follow(old.reread().unwrap()).unwrap();

        assert_eq!((now.port, need_a_start), (1025, vec!["port", "net", "net_warmup"]));
        assert!(now.net && now.net_warmup == old.net_warmup);
        assert_eq!((now.inbox_dir.to_str(), now.upload_limit), (Some("/two"), Some(1 << 20)));
        assert_eq!(now.offer_expiry, Duration::from_secs(7200)); // a flag goes before the file
    }

    #[test]
    fn an_inbox_cannot_follow_into_the_drop_folder_that_stays_until_a_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        let flags = ["sharekarod", "--config", path.to_str().unwrap()];
        fs::write(&path, "drop_dir = \"/drop\"\ninbox_dir = \"/in\"\n").unwrap();
        let old = Config::new(Told::try_parse_from(flags).unwrap()).unwrap();

        fs::write(&path, "drop_dir = \"/other\"\ninbox_dir = \"/drop/in\"\n").unwrap();
        let refused = old.follow(old.reread().unwrap()).unwrap_err();

        assert!(matches!(refused, Error::Value { key: "drop_dir", .. }), "{refused}");
    }
}
