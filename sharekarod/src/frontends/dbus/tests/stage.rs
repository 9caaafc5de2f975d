//! What the tests stand on: a bus of their own, engines in temporary folders, and strangers' programs as clients.

use std::{
    fs,
    io::ErrorKind,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;
use serde_json::Value;
use sharekaro_proto::DeviceId;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use zbus::Connection;

use crate::{
    config::{Config, Told},
    engine::Engine,
    frontends::dbus::{Absence, Bus, Kind, paths::NAME, run_on},
    identity::Identity,
    store::Store,
};

/// Everything happens within this or not at all, also on a machine that has much else to do.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// A `dbus-daemon` of our own.
pub(super) struct PrivateBus {
    dir: TempDir,
    daemon: Option<Child>,
}

impl PrivateBus {
    /// A bus that runs.
    pub(super) fn start() -> Self {
        let mut bus = Self::stopped();
        bus.restart();
        bus
    }

    /// A bus that does not run yet.
    pub(super) fn stopped() -> Self {
        let bus = Self { dir: tempfile::tempdir().unwrap(), daemon: None };
        let config = format!(
            r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>{}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
<limit name="max_completed_connections">4096</limit><limit name="max_connections_per_user">4096</limit>
<limit name="max_replies_per_connection">50000</limit></busconfig>"#,
            bus.address()
        );
        fs::write(bus.dir.path().join("conf"), config).unwrap();
        bus
    }

    pub(super) fn address(&self) -> String {
        format!("unix:path={}/bus", self.dir.path().display())
    }

    pub(super) fn restart(&mut self) {
        self.kill();
        let config = format!("--config-file={}/conf", self.dir.path().display());
        let daemon = Command::new("dbus-daemon")
            .args(["--nofork", "--nopidfile", &config])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.daemon = Some(daemon.unwrap_or_else(|e| missing("dbus-daemon", "dbus", &e)));
        let (began, socket) = (Instant::now(), self.dir.path().join("bus"));
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(began.elapsed() < PATIENCE, "dbus-daemon does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(super) fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().unwrap();
            daemon.wait().unwrap();
            fs::remove_file(self.dir.path().join("bus")).unwrap();
        }
    }

    /// A client of ours.
    pub(super) async fn client(&self) -> Connection {
        zbus::connection::Builder::address(self.address().as_str()).build().await.unwrap()
    }

    /// What `busctl --json=short` prints, where it succeeds.
    pub(super) async fn busctl(&self, args: &[&str]) -> Result<Value, String> {
        let said = self.program("busctl", "systemd", &[&["--user", "--json=short"], args].concat()).await;
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        if !said.status.success() {
            return Err(String::from_utf8_lossy(&said.stderr).into_owned());
        }
        Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// A property as busctl reads it.
    pub(super) async fn property(&self, path: &str, interface: &str, name: &str) -> Value {
        let interface = format!("{NAME}.{interface}");
        self.busctl(&["get-property", NAME, path, &interface, name]).await.unwrap()["data"].clone()
    }

    /// What gdbus says to a call that fails: it begins with the error's name.
    pub(super) async fn gdbus_error(&self, path: &str, method: &str, args: &[&str]) -> String {
        let method = format!("{NAME}.{method}");
        let call = ["call", "--session", "--dest", NAME, "--object-path", path, "--method", &method, "--"];
        let said = self.program("gdbus", "libglib2.0-bin", &[&call, args].concat()).await;
        assert!(!said.status.success(), "{method} {args:?} succeeded");
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        text.split("GDBus.Error:").nth(1).unwrap_or_else(|| panic!("{method}: {text}")).to_owned()
    }

    async fn program(&self, program: &'static str, package: &'static str, args: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(args).env("DBUS_SESSION_BUS_ADDRESS", self.address()).stdin(Stdio::null());
        let ran = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
        ran.unwrap_or_else(|e| missing(program, package, &e))
    }
}

impl Drop for PrivateBus {
    fn drop(&mut self) {
        self.kill();
    }
}

fn missing(program: &str, package: &str, error: &std::io::Error) -> ! {
    match error.kind() {
        ErrorKind::NotFound => panic!("{program} is missing, which this test needs: sudo apt-get install {package}"),
        _ => panic!("cannot run {program}: {error}"),
    }
}

/// An engine with folders of its own, served on a bus.
pub(super) struct Host {
    pub(super) engine: Engine,
    pub(super) dir: TempDir,
    identity: Arc<Identity>,
    shutdown: CancellationToken,
    serving: Option<JoinHandle<()>>,
}

impl Host {
    /// Not on a bus yet, and without a network.
    pub(super) fn new(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        fs::write(dir.path().join("config.toml"), "").unwrap();
        fs::create_dir(dir.path().join("state")).unwrap();
        let flags = [
            "x",
            "--name",
            name,
            "--port",
            "0",
            "--inbox-dir",
            &path("inbox"),
            "--drop-dir",
            &path("drop"),
            "--state-dir",
            &path("state"),
            "--socket",
            &path("sock"),
            "--config",
            &path("config.toml"),
        ];
        let config = Config::new(Told::try_parse_from(flags).unwrap()).unwrap();
        let identity = Arc::new(Identity::load_or_create(&config.state_dir).unwrap());
        let store = Store::open(&config.state_dir).unwrap().store;
        let shutdown = CancellationToken::new();
        let engine = Engine::new(config, Arc::clone(&identity), store, shutdown.clone()).unwrap();
        Self { engine, dir, identity, shutdown, serving: None }
    }

    /// With a network on any free port.
    pub(super) fn with_network(self) -> Self {
        crate::start_network(&self.engine, Arc::clone(&self.identity), Arc::default());
        self
    }

    /// Served on this bus, sooner or later.
    pub(super) fn serve(&mut self, bus: &PrivateBus) {
        self.serve_on(Some(bus), None);
    }

    /// Served on these buses, as by sharekarod@ where there is one of the system.
    pub(super) fn serve_on(&mut self, session: Option<&PrivateBus>, system: Option<&PrivateBus>) {
        let absence = if system.is_some() { Absence::Usual } else { Absence::Trouble };
        let session = session.map(|bus| Bus { kind: Kind::Session, absence, address: Some(bus.address()) });
        let system = system.map(|bus| Bus { kind: Kind::System, absence: Absence::Trouble, address: Some(bus.address()) });
        self.serving = Some(tokio::spawn(run_on(session, system, self.engine.clone(), self.shutdown.clone())));
    }

    /// Served on this bus, and the name is taken.
    pub(super) async fn on(mut self, bus: &PrivateBus) -> Self {
        self.serve(bus);
        owned(bus).await;
        self
    }

    pub(super) async fn stop(&mut self) {
        self.shutdown.cancel();
        if let Some(serving) = self.serving.take() {
            tokio::time::timeout(PATIENCE, serving).await.expect("it ends when it is told to").unwrap();
        }
    }

    /// Makes a file and says its URI.
    pub(super) fn file(&self, name: &str, bytes: usize) -> (PathBuf, String) {
        let path = self.dir.path().join(name);
        fs::write(&path, (0..bytes).map(|i| (i * 31 % 251) as u8).collect::<Vec<_>>()).unwrap();
        let uri = format!("file://{}", path.display());
        (path, uri)
    }

    pub(super) fn has_warning(&self, code: &str) -> bool {
        self.engine.status().warnings.iter().any(|it| it.code == code)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Two hosts that know each other's keys and addresses, and are connected; `second` trusts `first`.
pub(super) async fn introduce(first: &Host, second: &Host) {
    for (one, other) in [(first, second), (second, first)] {
        let address = format!("127.0.0.1:{}", other.engine.status().port).parse().unwrap();
        one.engine.peer_sighted(other.engine.id(), &other.engine.config().name, &[address]);
    }
    second.engine.pair_with(first.engine.id()).await.unwrap();
    let both = [(first, second.engine.id()), (second, first.engine.id())];
    until("they are connected", async || both.iter().all(|(host, id)| online(&host.engine, id))).await;
}

fn online(engine: &Engine, id: &DeviceId) -> bool {
    engine.peers().peers.iter().any(|peer| peer.id == *id && peer.online)
}

/// Waits until somebody owns the name.
pub(super) async fn owned(bus: &PrivateBus) {
    let client = bus.client().await;
    let dbus = zbus::fdo::DBusProxy::new(&client).await.unwrap();
    until("the name is owned", async || dbus.name_has_owner(NAME.try_into().unwrap()).await.unwrap()).await;
}

/// Waits until it is so.
pub(super) async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !so().await {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
