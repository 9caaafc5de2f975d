//! The daemon on a session bus, asked by a program that nobody here wrote, in another language; and on a bus of the
//! system, under the policy that the packages install.

use std::{
    fs,
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
        Self::run(dir, &["--session", &address])
    }

    /// As the bus of the system: nobody may own a name or call but where a policy says so. Ours is the one of the
    /// packages, with this group in the place of sharekaro-bus.
    fn of_the_system(group: &str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("sharekaro-bus.").tempdir()?;
        let ours = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/dbus/org.sharekaro.ShareKaro1.conf"))?;
        let path = |name: &str| dir.path().join(name).display().to_string();
        fs::write(path("ours.conf"), ours.replace("group=\"sharekaro-bus\"", &format!("group=\"{group}\"")))?;
        fs::write(
            path("conf"),
            format!(
                r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path={}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><deny own="*"/><deny send_type="method_call"/><allow send_type="signal"/>
<allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
<allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
<allow send_destination="org.freedesktop.DBus"/></policy><include>{}</include></busconfig>"#,
                path("bus"),
                path("ours.conf")
            ),
        )?;
        let config = format!("--config-file={}", path("conf"));
        Self::run(dir, &[&config])
    }

    fn run(dir: tempfile::TempDir, args: &[&str]) -> Result<Self> {
        let mut command = Command::new("dbus-daemon");
        command.args(["--nofork", "--nopidfile"]).args(args).stdin(Stdio::null()).stderr(Stdio::null());
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

#[test]
fn on_the_bus_of_the_system_it_is_where_its_group_may_and_says_so_where_not() -> Result<()> {
    let id = Command::new("id").arg("-gn").output()?;
    let own_group = String::from_utf8(id.stdout)?.trim().to_owned();
    on_loopback(["alice"], |[alice]| {
        let (may, may_not) = (Bus::of_the_system(&own_group)?, Bus::of_the_system("no-such-group")?);
        alice.set("SHAREKARO_SYSTEM_BUS", "true");
        alice.set("DBUS_SYSTEM_BUS_ADDRESS", may.address());
        alice.restart()?;
        let asked = || -> Result<String> {
            let name = "org.sharekaro.ShareKaro1";
            let manager = format!("{name}.Manager1");
            let mut command = Command::new("busctl");
            command.args([
                &format!("--address={}", may.address()),
                "get-property",
                name,
                "/org/sharekaro/ShareKaro1",
                &manager,
                "DeviceName",
            ]);
            Ok(String::from_utf8(command.output()?.stdout)?)
        };

        until("it answers there", 20, || Ok((asked()?.trim() == "s \"alice\"").then_some(())))?;
        let warnings = alice.ctl("status").ok()?.last()?["warnings"].clone();
        ensure!(!warnings.to_string().contains("bus"), "without a session there is no bus of one, and that is as it should be: {warnings}");

        alice.set("DBUS_SYSTEM_BUS_ADDRESS", may_not.address());
        alice.restart()?;

        until("it says why it is not there", 20, || {
            let warnings = alice.ctl("status").ok()?.last()?["warnings"].clone();
            let warned = warnings.as_array().context("no warnings")?.iter().find(|it| it["code"] == "no_system_bus");
            Ok(warned.filter(|it| it["hint"].as_str().is_some_and(|hint| hint.contains("sharekaro-bus"))).map(drop))
        })
    })
}
