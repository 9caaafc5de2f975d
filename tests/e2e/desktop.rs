//! What the desktop runs: each entry for a file manager, run as that file manager runs it, sends what was selected.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use sharekaro_tests::{Host, digest, on_loopback, pair, program, until};

/// Stands for zenity and kdialog: takes the first of what it is offered behind `--`, and writes down what it was asked.
const CHOOSER: &str =
    "#!/bin/sh\nprintf '%s\\n' \"$0\" \"$@\" >>\"$HOME/asked\"\nwhile [ \"$1\" != -- ]; do shift || exit 1; done\necho \"$2\"\n";

/// Stands for Nautilus: loads the extension, selects the files, and clicks on its one entry.
const NAUTILUS: &str = r#"
import subprocess, sys, types

class MenuItem:
    def __init__(self, **properties): self.properties = properties
    def connect(self, signal, call, *data): self.click = lambda: call(self, *data)

class File:
    def __init__(self, path): self.path = path
    def get_location(self): return self
    def get_path(self): return self.path

repository = types.ModuleType("gi.repository")
repository.GObject = types.SimpleNamespace(GObject=type("GObject", (), {}))
repository.Nautilus = types.SimpleNamespace(MenuProvider=type("MenuProvider", (), {}), MenuItem=MenuItem)
repository.GLib = types.SimpleNamespace(
    SpawnFlags=types.SimpleNamespace(SEARCH_PATH=4),
    spawn_async=lambda argv, flags: subprocess.run(argv, check=True))
sys.modules["gi"], sys.modules["gi.repository"] = types.ModuleType("gi"), repository
extension = {}
exec(open(sys.argv[1]).read(), extension)
menu = extension["ShareKaro"]()
assert menu.get_file_items("window", [File(None)]) == [], "a file without a path was offered"
item, = menu.get_file_items([File(path) for path in sys.argv[2:]])
item.click()
"#;

fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(name)
}

/// A folder for PATH with `sharectl` and somebody who chooses.
fn desktop_of(host: &Host) -> Result<PathBuf> {
    let bin = host.home().join("bin");
    fs::create_dir(&bin)?;
    symlink(program("sharectl")?, bin.join("sharectl"))?;
    for chooser in ["zenity", "kdialog"] {
        fs::write(bin.join(chooser), CHOOSER)?;
        fs::set_permissions(bin.join(chooser), fs::Permissions::from_mode(0o755))?;
    }
    Ok(bin)
}

/// The command of an entry for these files, as the desktop entry specification has it: words, then `%F`.
fn command_of(entry: &str, paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let text = fs::read_to_string(packaging(entry))?;
    let exec = text.lines().find_map(|line| line.strip_prefix("Exec=")).with_context(|| format!("{entry} runs nothing"))?;
    ensure!(exec.ends_with(" %F"), "{entry} does not take the files: {exec}");
    Ok(exec.trim_end_matches(" %F").split(' ').map(PathBuf::from).chain(paths.iter().cloned()).collect())
}

/// A program as it is started from this desktop.
fn from(host: &Host, bin: &Path, name: &Path, desktop: &str) -> Command {
    let mut command = host.command(&bin.join(name));
    command.env("PATH", format!("{}:/usr/bin:/bin", bin.display())).env("XDG_CURRENT_DESKTOP", desktop);
    command
}

fn run(host: &Host, bin: &Path, argv: &[PathBuf], desktop: &str) -> Result<()> {
    let (first, rest) = argv.split_first().context("no command")?;
    let done = from(host, bin, first, desktop).args(rest).output()?;
    ensure!(done.status.success(), "{argv:?}: {} {}", done.status, String::from_utf8_lossy(&done.stderr));
    Ok(())
}

#[test]
fn every_entry_of_a_file_manager_sends_what_is_selected_to_the_peer_that_is_chosen() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(bob, alice)?;
        let bin = desktop_of(alice)?;
        let entries = [
            ("desktop/org.sharekaro.ShareKaro.desktop", "GNOME"),
            ("file-managers/nemo.nemo_action", "X-Cinnamon"),
            ("file-managers/dolphin.desktop", "KDE"),
            ("file-managers/thunar.desktop", "XFCE"),
        ];
        for (i, (entry, desktop)) in entries.into_iter().enumerate() {
            let paths = [format!("-{i} it's \"$HOME\".txt"), format!("{i} für %F.bin")];
            let paths = paths.iter().map(|name| alice.file(name, 3000 + i as u64)).collect::<Result<Vec<_>>>()?;

            run(alice, &bin, &command_of(entry, &paths)?, desktop).context(entry)?;

            for path in &paths {
                let name = path.file_name().context("no name")?.to_string_lossy();
                ensure!(digest(&bob.received(&name)?)? == digest(path)?, "{entry}: bob has another {name}");
            }
        }
        let asked = fs::read_to_string(alice.home().join("asked"))?;
        ensure!(asked.contains("/zenity\n") && asked.contains("/kdialog\n"), "only one desktop was asked: {asked}");
        ensure!(asked.contains("\nbob\n"), "bob was not offered by his name: {asked}");
        Ok(())
    })
}

#[test]
fn the_entry_of_nautilus_sends_what_is_selected() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(bob, alice)?;
        let bin = desktop_of(alice)?;
        let selected = alice.file("from nautilus.txt", 5000)?;
        let script = alice.home().join("nautilus.py");
        fs::write(&script, NAUTILUS)?;
        ensure!(Path::new("/usr/bin/python3").exists(), "python3 is missing: apt-get install python3");
        symlink("/usr/bin/python3", bin.join("python3"))?;

        run(alice, &bin, &["python3".into(), script, packaging("file-managers/nautilus.py"), selected.clone()], "GNOME")?;

        ensure!(digest(&bob.received("from nautilus.txt")?)? == digest(&selected)?, "bob has another file");
        Ok(())
    })
}

#[test]
fn a_closed_window_sends_nothing_and_nobody_online_is_said() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        let bin = desktop_of(alice)?;
        let path = alice.file("f", 10)?;
        let send = |chooser: &str| -> Result<Option<i32>> {
            fs::write(bin.join("zenity"), chooser)?;
            let mut command = from(alice, &bin, Path::new("sharectl"), "GNOME");
            Ok(command.args(["send", "--ask", "--"]).arg(&path).output()?.status.code())
        };

        ensure!(send("#!/bin/sh\nexit 1\n")? == Some(13), "a closed window is no answer");

        bob.stop(Signal::TERM)?;
        until("bob is gone", 20, || Ok((alice.peer(bob)?["online"] == false).then_some(())))?;
        let told = alice.home().join("told");
        ensure!(send(&format!("#!/bin/sh\nprintf '%s\\n' \"$@\" >'{}'\n", told.display()))? == Some(5), "there is nobody to send to");
        ensure!(fs::read_to_string(told)?.contains("nobody is online"), "who looks at the window learns nothing");
        ensure!(alice.ctl("transfers").ok()?.last()?["transfers"] == serde_json::json!([]), "something was sent");
        Ok(())
    })
}
