//! The daemon on a session bus, asked by a program that nobody here wrote, in another language.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use sharekaro_tests::{on_loopback, pair, until};

/// A bus that ends with the test.
struct Bus(Child, tempfile::TempDir);

impl Bus {
    fn start() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("sharekaro-bus.").tempdir()?;
        let address = format!("--address=unix:path={}/bus", dir.path().display());
        let mut command = Command::new("dbus-daemon");
        command.args(["--session", "--nofork", "--nopidfile", &address]).stdin(Stdio::null()).stderr(Stdio::null());
        let bus = Self(command.spawn().context("dbus-daemon is missing: sudo apt-get install dbus")?, dir);
        until("the bus is there", 20, || Ok(bus.1.path().join("bus").exists().then_some(())))?;
        Ok(bus)
    }

    fn address(&self) -> String {
        format!("unix:path={}/bus", self.1.path().display())
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The Python in which `./test.sh` has put jeepney.
fn python() -> Result<PathBuf> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin/python3");
    let python = std::env::var_os("SHAREKARO_TESTS_PYTHON").map_or(target, PathBuf::from);
    ensure!(python.exists(), "{} is missing, in which this test finds jeepney: ./test.sh makes it", python.display());
    Ok(python)
}

#[test]
fn a_client_in_python_sends_writes_asks_and_is_refused_by_name() -> Result<()> {
    let bus = Bus::start()?;
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        alice.set("SHAREKARO_DBUS", "true");
        alice.set("DBUS_SESSION_BUS_ADDRESS", bus.address());
        alice.restart()?;
        alice.sees(bob)?;
        let mut client = Command::new(python()?);
        client.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/bus.py")).arg("bob").env("DBUS_SESSION_BUS_ADDRESS", bus.address());

        let done = client.output()?;

        let said = String::from_utf8_lossy(&done.stdout);
        let found: serde_json::Value =
            serde_json::from_str(&said).with_context(|| format!("{said}{}", String::from_utf8_lossy(&done.stderr)))?;
        ensure!(found["finished"] == true && found["listed"] == true && found["transfer"] == "done", "{found}");
        let interfaces: Vec<&str> = found["interfaces"].as_array().context("no interfaces")?.iter().filter_map(|it| it.as_str()).collect();
        ensure!(["Peer1", "Transfer1"].iter().all(|it| interfaces.contains(it)), "{interfaces:?}");
        let sharekaro = |name: &str| format!("org.sharekaro.Error.{name}");
        let errors =
            [sharekaro("NotFound"), sharekaro("Invalid"), sharekaro("Invalid"), "org.freedesktop.DBus.Error.InvalidArgs".to_owned()];
        ensure!(found["errors"] == serde_json::json!(errors), "{found}");
        let code = |it: &serde_json::Value| it.as_str().is_some_and(|code| code != "small_buffers");
        ensure!(!found["verdicts"].as_array().context("no verdicts")?.iter().any(code), "{found}");
        until("bob has both", 20, || {
            let messages = bob.ctl("messages").ok()?.last()?;
            Ok(messages["messages"].as_array().is_some_and(|all| all.iter().any(|it| it["text"] == "from Python")).then_some(()))
        })?;
        bob.received("handed over").map(drop)
    })
}
