//! What can be told, from flags and variables or from the file.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::Parser;
use serde::Deserialize;
use sharekaro_proto::{control::policy::Rule, nouns::hours::Hours};

use super::{
    Congestion, DropAfter, Error, HourlyLimit, OwnDrop,
    values::{absolute, rate},
};

/// Everything that can be told, from one source. Each key is a flag, a `SHAREKARO_*` variable and a key of the file.
#[derive(Parser, Deserialize, Default, Debug, Clone)]
#[command(name = "sharekarod", version, about = "Finds the machines on the LAN and moves messages, files and folders between them")]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// What this device calls itself (default: the host name)
    #[arg(long, env = "SHAREKARO_NAME")]
    pub(super) name: Option<String>,
    /// UDP port for other devices, 1024 or higher; 0 takes any free one (default: 47810)
    #[arg(long, env = "SHAREKARO_PORT")]
    pub(super) port: Option<u16>,
    /// Where received files land (default: ShareKaro in the download folder)
    #[arg(long, env = "SHAREKARO_INBOX_DIR")]
    pub(super) inbox_dir: Option<PathBuf>,
    /// What is put there is sent (default: ~/ShareDrop)
    #[arg(long, env = "SHAREKARO_DROP_DIR")]
    pub(super) drop_dir: Option<PathBuf>,
    /// More folders of that kind, separated by colons
    #[arg(long, env = "SHAREKARO_EXTRA_DROP_DIRS", value_delimiter = ':', value_name = "DIR")]
    pub(super) extra_drop_dirs: Option<Vec<PathBuf>>,
    /// Drop folders with a target and an end of their own; only in the file.
    #[arg(skip)]
    pub(super) drop: Option<Vec<ToldDrop>>,
    /// To whom goes what lies at the top of a drop folder, as sharectl send takes it (default: nobody, it waits)
    #[arg(long, env = "SHAREKARO_DROP_TARGET")]
    pub(super) drop_target: Option<String>,
    /// What becomes of it once it was sent: move (to Sent), keep or delete (default: move)
    #[arg(long, env = "SHAREKARO_DROP_AFTER")]
    pub(super) drop_after: Option<DropAfter>,
    /// Key and database (default: $XDG_STATE_HOME/sharekaro)
    #[arg(long, env = "SHAREKARO_STATE_DIR")]
    pub(super) state_dir: Option<PathBuf>,
    /// The control socket (default: $XDG_RUNTIME_DIR/sharekaro/control.sock)
    #[arg(long, env = "SHAREKARO_SOCKET")]
    pub(super) socket: Option<PathBuf>,
    /// Congestion control between peers: cubic or bbr (default: cubic)
    #[arg(long, env = "SHAREKARO_CONGESTION")]
    pub(super) congestion: Option<Congestion>,
    /// Announce ourselves and look for others by mDNS (default: true)
    #[arg(long, env = "SHAREKARO_MDNS")]
    pub(super) mdns: Option<bool>,
    /// Let mDNS use the loopback interface too, for several daemons on one machine (default: false)
    #[arg(long, env = "SHAREKARO_MDNS_LOOPBACK")]
    pub(super) mdns_loopback: Option<bool>,
    /// Own org.sharekaro.ShareKaro1 on the session bus (default: true)
    #[arg(long, env = "SHAREKARO_DBUS")]
    pub(super) dbus: Option<bool>,
    /// Own org.sharekaro.ShareKaro1 on the bus of the system too, as for sharekarod@.service (default: false)
    #[arg(long, env = "SHAREKARO_SYSTEM_BUS")]
    pub(super) system_bus: Option<bool>,
    /// How long an offer waits for a person: a number with s, m, h or d (default: 1d)
    #[arg(long, env = "SHAREKARO_OFFER_EXPIRY")]
    pub(super) offer_expiry: Option<String>,
    /// Tell peers that what they wrote was on the screen (default: true)
    #[arg(long, env = "SHAREKARO_READ_RECEIPTS")]
    pub(super) read_receipts: Option<bool>,
    /// Let `sharectl clip` read and write the clipboard (default: false)
    #[arg(long, env = "SHAREKARO_CLIPBOARD")]
    pub(super) clipboard: Option<bool>,
    /// Bytes a second to all peers together; K, M, G are powers of 1024 (default: no limit)
    #[arg(long, env = "SHAREKARO_UPLOAD_LIMIT")]
    pub(super) upload_limit: Option<String>,
    /// Bytes a second from all peers together (default: no limit)
    #[arg(long, env = "SHAREKARO_DOWNLOAD_LIMIT")]
    pub(super) download_limit: Option<String>,
    /// Other limits at other hours; only in the file.
    #[arg(skip)]
    pub(super) limit: Option<Vec<ToldLimit>>,
    /// Watch the network: counters, anomalies, captures (default: true)
    #[arg(long, env = "SHAREKARO_NET")]
    pub(super) net: Option<bool>,
    /// So long an interface is watched before its traffic can be an anomaly (default: 1h)
    #[arg(long, env = "SHAREKARO_NET_WARMUP")]
    pub(super) net_warmup: Option<String>,
    /// What came and is not trusted lies there until a person lets it out (default: quarantine in the state folder)
    #[arg(long, env = "SHAREKARO_QUARANTINE_DIR")]
    pub(super) quarantine_dir: Option<PathBuf>,
    /// Rules, in the file alone; read one by one, so that a mistake is told with the name of its rule
    #[arg(skip)]
    #[serde(default)]
    pub(super) policy: Vec<toml::Table>,
    /// The configuration file (default: $XDG_CONFIG_HOME/sharekaro/config.toml)
    #[arg(long, env = "SHAREKARO_CONFIG")]
    #[serde(skip)]
    pub(super) config: Option<PathBuf>,
}

/// A `[[limit]]` of the file. What it does not name stays as at other hours.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub(super) struct ToldLimit {
    hours: Hours,
    upload: Option<String>,
    download: Option<String>,
}

/// A `[[drop]]` of the file. What it does not name is as for the others.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub(super) struct ToldDrop {
    dir: PathBuf,
    target: Option<String>,
    after: Option<DropAfter>,
}

impl ToldDrop {
    pub(super) fn parse(self, home: &Path) -> Result<OwnDrop, Error> {
        let dir = self.dir.strip_prefix("~").map_or_else(|_| self.dir.clone(), |below| home.join(below));
        let target = self.target.filter(|target| !target.trim().is_empty());
        Ok(OwnDrop { dir: absolute("drop.dir", Some(dir), PathBuf::new)?, target, after: self.after })
    }
}

impl ToldLimit {
    pub(super) fn parse(self) -> Result<HourlyLimit, Error> {
        let read = |key, text: Option<String>| text.map(|text| rate(key, &text)).transpose();
        Ok(HourlyLimit { hours: self.hours, upload: read("limit.upload", self.upload)?, download: read("limit.download", self.download)? })
    }
}

/// What the file says; nothing where it is not there and nobody named it.
pub(super) fn read(path: &Path, named: bool) -> Result<Told, Error> {
    match fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|problem| Error::Parse { path: path.into(), problem: Box::new(problem) }),
        Err(e) if e.kind() == io::ErrorKind::NotFound && !named => Ok(Told::default()),
        Err(source) => Err(Error::Read { path: path.into(), source }),
    }
}

/// The rules of the policy, one by one, so that a mistake is told with the name of its rule.
pub(super) fn rules(tables: Vec<toml::Table>, path: &Path) -> Result<Vec<Rule>, Error> {
    let rule = |(place, table): (usize, toml::Table)| {
        let name = table.get("name").and_then(toml::Value::as_str).map_or_else(|| (place + 1).to_string(), |name| format!("{name:?}"));
        table.try_into().map_err(|problem| Error::Rule { path: path.into(), rule: name, problem: Box::new(problem) })
    };
    tables.into_iter().enumerate().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use sharekaro_proto::nouns::amount::Amount;

    use super::*;

    #[test]
    fn an_unknown_key_is_refused_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, "name = \"x\"\nprot = 1\n").unwrap();

        let error = read(&path, false).unwrap_err().to_string();

        assert!(error.contains("prot") && error.contains("line 2"), "{error}");
    }

    #[test]
    fn a_rule_that_cannot_be_read_is_told_with_its_name_and_key() {
        let read = |text: &str| {
            let told: Told = toml::from_str(text).unwrap();
            rules(told.policy, Path::new("/c.toml")).map_err(|e| e.to_string())
        };
        let good = "[[policy]]\nname = \"big\"\nmin_size = \"2G\"\nmax_size = 5000000000\nhours = \"22:00-06:00\"\naction = \"ask\"\n";
        assert_eq!(read(good).unwrap()[0].min_size, Some(Amount(2 << 30)));

        for (line, key) in [
            ("sice = 5", "sice"),
            ("min_size = \"banana\"", "min_size"),
            ("max_size = -1", "max_size"),
            ("hours = \"25:00-06:00\"", "hours"),
            ("names = \"*.exe\"", "names"),
            ("trust = [\"friend\"]", "trust"),
            ("conflict = \"never\"", "conflict"),
        ] {
            let error = read(&format!("[[policy]]\nname = \"odd\"\naction = \"ask\"\n{line}\n")).unwrap_err();
            assert!(error.contains("\"odd\"") && error.contains(key), "{line}: {error}");
        }
        let error = read("[[policy]]\nname = \"odd\"\naction = \"perhaps\"\n").unwrap_err();
        assert!(error.contains("odd") && error.contains("perhaps"), "{error}");
        assert!(read("[[policy]]\naction = \"ask\"\n").unwrap_err().contains("rule 1"));
    }
}
