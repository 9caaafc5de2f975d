//! A daemon that knows a few replies by heart: enough to see what `sharectl` asks, prints and returns.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal};
use serde_json::Value;

/// What `GET /v1/events` tells: each a fact, without number and time.
type Facts = Vec<Value>;

/// The status of a reply that never comes.
pub(crate) const SILENT: u16 = 0;

/// A daemon with its socket in a folder of its own.
pub(crate) struct Daemon {
    dir: tempfile::TempDir,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

struct Script {
    replies: Vec<(&'static str, u16, Value)>,
    facts: Facts,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Daemon {
    /// A daemon that answers `"METHOD /path"` with a status and a body, and tells these facts to whoever listens.
    pub(crate) fn new(replies: Vec<(&'static str, u16, Value)>, facts: Facts) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sharekaro")).unwrap();
        let listener = UnixListener::bind(dir.path().join("sharekaro/control.sock")).unwrap();
        let asked = Arc::default();
        let script = Arc::new(Script { replies, facts, asked: Arc::clone(&asked) });
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let script = Arc::clone(&script);
                thread::spawn(move || script.serve(stream));
            }
        });
        Self { dir, asked }
    }

    /// Bodies of what was asked of this `"METHOD /path"`, in order.
    pub(crate) fn asked(&self, what: &str) -> Vec<Value> {
        self.asked.lock().unwrap().iter().filter(|(asked, _)| asked == what).map(|(_, body)| body.clone()).collect()
    }

    /// A file beside the socket.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, b"content").unwrap();
        path
    }

    /// `sharectl` with these arguments, with the folder of the socket as its working directory.
    pub(crate) fn ctl(&self, args: &[&str]) -> Said {
        self.start(args).said()
    }

    /// The same in the background.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        self.start_with(args, |_| {})
    }

    /// The same in an environment of its own.
    pub(crate) fn start_with(&self, args: &[&str], set: impl FnOnce(&mut Command)) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sharectl"));
        command.args(args).current_dir(self.dir.path()).env_remove("SHAREKARO_SOCKET").env("XDG_RUNTIME_DIR", self.dir.path());
        set(&mut command);
        Running(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }
}

impl Script {
    fn serve(&self, stream: UnixStream) {
        let mut reader = BufReader::new(stream);
        while let Some((what, body)) = request(&mut reader) {
            self.asked.lock().unwrap().push((what.clone(), body));
            let stream = reader.get_mut();
            if what == "GET /v1/events" {
                self.tell(stream);
                return;
            }
            let (status, body) = match self.replies.iter().find(|(asked, ..)| *asked == what) {
                Some((_, status, body)) => (*status, body.to_string()),
                None => (404, format!(r#"{{"error":{{"code":"not_found","message":"no reply to {what}","hint":""}}}}"#)),
            };
            if status == SILENT {
                let _ = stream.read(&mut [0]); // until the client goes
                return;
            }
            write!(stream, "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                .unwrap();
        }
    }

    fn tell(&self, stream: &mut UnixStream) {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        let _ = stream.write_all(head.as_bytes());
        for (fact, seq) in self.facts.iter().zip(7..) {
            let mut event = fact.clone();
            event["seq"] = seq.into();
            event["at"] = "2026-01-01T00:00:00Z".into();
            let _ = write!(stream, "id: {seq}\ndata: {event}\n\n");
        }
        let _ = stream.read(&mut [0]); // until the client goes
    }
}

fn request(reader: &mut BufReader<UnixStream>) -> Option<(String, Value)> {
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let what: Vec<&str> = first.split(' ').take(2).collect();
    Some((what.join(" "), serde_json::from_slice(&body).unwrap_or(Value::Null)))
}

/// Byte by byte: what follows stays for the next reader.
fn line(from: &mut impl Read) -> Vec<u8> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while from.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
        line.extend(byte);
    }
    line
}

/// `sharectl` while it runs; killed when dropped.
pub(crate) struct Running(Child);

impl Running {
    /// Waits for its next line on standard output.
    pub(crate) fn next_line(&mut self) -> Value {
        serde_json::from_slice(&line(self.0.stdout.as_mut().unwrap())).unwrap()
    }

    /// Waits for its next line on standard error.
    pub(crate) fn next_note(&mut self) -> String {
        String::from_utf8(line(self.0.stderr.as_mut().unwrap())).unwrap()
    }

    /// Presses Ctrl-C.
    pub(crate) fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn said(mut self) -> Said {
        for _ in 0..12_000 {
            if self.0.try_wait().unwrap().is_some() {
                let mut output = Output { status: self.0.wait().unwrap(), stdout: Vec::new(), stderr: Vec::new() };
                self.0.stdout.take().unwrap().read_to_end(&mut output.stdout).unwrap();
                self.0.stderr.take().unwrap().read_to_end(&mut output.stderr).unwrap();
                return Said(output);
            }
            thread::sleep(Duration::from_millis(10)); // the end of a process is no event that std can wait for with a bound
        }
        panic!("sharectl did not end within two minutes");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What it said.
pub(crate) struct Said(Output);

impl Said {
    pub(crate) fn code(&self) -> i32 {
        self.0.status.code().unwrap_or(-1)
    }

    pub(crate) fn out(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    /// Its lines, each an object.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.out().lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
    }

    pub(crate) fn last(&self) -> Value {
        self.lines().last().cloned().unwrap_or_default()
    }
}
