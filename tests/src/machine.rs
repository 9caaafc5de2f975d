//! A machine that boots: Debian in an emulator (qemu, no KVM), its network card plugged into a LAN, or without one.
//!
//! The tests type into a root shell on its second serial port, a line of base64 for each command. What it writes to its
//! disk lives as long as the machine, over reboots too, and never reaches the image. Dropping it switches it off.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use data_encoding::BASE64;
use tempfile::TempDir;

use crate::{lan::Lan, programs::system, sh, wait::until};

/// From power on, or from the order to boot again, to a shell. 30 s on an idle machine; others may keep both cores.
const BOOT: u64 = 400;

/// What a command may take that waits for nothing.
const COMMAND: Duration = Duration::from_secs(120);

/// The same where the machine has a clock of its own, which stands while others keep the processors busy.
const OWN_COMMAND: Duration = Duration::from_secs(1200);

/// Whether there is a shell yet is asked anew after this time: while the machine boots, what is typed may be lost.
const ANSWER: Duration = Duration::from_secs(15);

/// A running machine.
pub struct Machine {
    qemu: Child,
    dir: TempDir,
    shell: Mutex<Shell>,
    /// What a command may take.
    patience: Duration,
}

struct Shell {
    stream: UnixStream,
    commands: u32,
}

/// How a command ended and what it said, on both streams.
#[derive(Debug)]
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// Without the blank at both ends.
    pub text: String,
}

impl Machine {
    /// Boots `disk.ext4`, `vmlinuz` and `initrd.img` of `image`, with what lies in `carried` below `/mnt`, on this LAN.
    ///
    /// # Errors
    /// qemu is missing, or there is no shell in time; the end of the console is in the text.
    pub fn boot(lan: &Lan, image: &Path, carried: &Path) -> Result<Self> {
        let card = lan.tap()?;
        let card_of = ["-accel", "tcg,thread=multi", "-netdev", &format!("tap,id=lan,ifname={},script=no,downscript=no", card.device)];
        let devices = [&["-smp", "2", "-m", "1024", "-device", "virtio-net-pci,netdev=lan"][..], &card_of].concat();
        Self::start(&["ip", "netns", "exec", &card.namespace], image, carried, "", &devices, COMMAND)
    }

    /// Boots an image whose first process is `/sbin/test-init`, on one emulated processor and without a network card: its
    /// radios are simulated inside. It leaves the processors to others, and its clock goes by the instructions that it
    /// has run (half a billion a second): on a busy host it takes longer, and measures the same.
    ///
    /// # Errors
    /// As `boot`.
    pub fn boot_radios(image: &Path, carried: &Path) -> Result<Self> {
        let own_time = ["-accel", "tcg,thread=single", "-icount", "shift=1", "-rtc", "clock=vm"];
        let devices = [&["-smp", "1", "-m", "512", "-nic", "none"][..], &own_time].concat();
        Self::start(&["nice", "-n", "10"], image, carried, "init=/sbin/test-init", &devices, OWN_COMMAND)
    }

    fn start(behind: &[&str], image: &Path, carried: &Path, kernel: &str, devices: &[&str], patience: Duration) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("sharekaro-machine.").tempdir()?;
        let path = |name: &str| dir.path().join(name).display().to_string();
        sh(&["truncate", "-s", "256M", &path("carried")])?;
        sh(&["mke2fs", "-q", "-t", "ext4", "-d", &carried.display().to_string(), &path("carried")])?;
        let from = |name: &str| image.join(name).display().to_string();
        let mut qemu = system(&[behind, &["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"]].concat());
        qemu.args(["-cpu", "max", "-display", "none", "-monitor", "none"]);
        qemu.args(["-kernel", &from("vmlinuz"), "-initrd", &from("initrd.img")]);
        let kernel = format!("root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet mitigations=off tsc=reliable panic=-1 {kernel}");
        qemu.args(["-append", kernel.trim_end()]);
        qemu.args(["-drive", &format!("file={},if=virtio,format=raw,snapshot=on", from("disk.ext4"))]);
        qemu.args(["-drive", &format!("file={},if=virtio,format=raw,snapshot=on", path("carried"))]);
        qemu.args(devices).args(["-device", "virtio-rng-pci"]);
        qemu.args(["-serial", &format!("file:{}", path("console")), "-serial", &format!("unix:{},server=on,wait=off", path("shell"))]);
        let log = fs::File::create(path("qemu"))?;
        let qemu = qemu.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        let mut qemu = qemu.context("cannot run qemu-system-x86_64: apt-get install qemu-system-x86")?;
        let connected = until("qemu offers the serial port", 30, || {
            ensure!(qemu.try_wait()?.is_none(), "qemu: {}", fs::read_to_string(path("qemu"))?.trim());
            Ok(UnixStream::connect(path("shell")).ok())
        });
        let stream = connected.inspect_err(|_| drop(qemu.kill()))?;
        let machine = Self { qemu, dir, shell: Mutex::new(Shell { stream, commands: 0 }), patience };
        machine.ready()?;
        Ok(machine)
    }

    /// Runs a piece of shell as root, however it ends.
    ///
    /// # Errors
    /// It does not end in time, or the machine is gone.
    pub fn run(&self, script: &str) -> Result<Said> {
        self.lock().run(script, self.patience).with_context(|| format!("{script:?} on the machine: {}", self.console_end()))
    }

    /// What a piece of shell says that ends with 0.
    ///
    /// # Errors
    /// It ends otherwise; the text is what it said.
    pub fn ok(&self, script: &str) -> Result<String> {
        let said = self.run(script)?;
        ensure!(said.code == 0, "{script:?} on the machine ended with {}: {}", said.code, said.text);
        Ok(said.text)
    }

    /// Boots again, in order, and waits for the shell.
    ///
    /// # Errors
    /// It does not come back in time.
    pub fn reboot(&self) -> Result<()> {
        let before = self.ok("cat /proc/sys/kernel/random/boot_id")?;
        self.run("systemctl --no-block reboot")?;
        until("the machine has booted again", BOOT, || {
            let now = self.lock().run("cat /proc/sys/kernel/random/boot_id", Duration::from_secs(5));
            Ok(now.ok().filter(|now| now.code == 0 && now.text.len() == before.len() && now.text != before).map(drop))
        })
        .with_context(|| self.console_end())?;
        self.ready()
    }

    fn ready(&self) -> Result<()> {
        until("the machine has a shell", BOOT, || {
            let answer = self.lock().run("mountpoint -q /mnt || mount /dev/vdb /mnt", ANSWER);
            Ok(answer.ok().filter(|it| it.code == 0).map(drop))
        })
        .with_context(|| self.console_end())
    }

    /// The end of what the kernel and systemd said on the console.
    pub fn console_end(&self) -> String {
        let console = fs::read(self.dir.path().join("console")).unwrap_or_default();
        format!("console: {}", String::from_utf8_lossy(&console[console.len().saturating_sub(1500)..]).trim())
    }

    fn lock(&self) -> MutexGuard<'_, Shell> {
        self.shell.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shell {
    /// The numbered lines around what it says tell it from what an earlier command, given up, still says.
    fn run(&mut self, script: &str, within: Duration) -> Result<Said> {
        self.commands += 1;
        let (begin, end) = (format!("=begin {}=", self.commands), format!("=end {} ", self.commands));
        let script = format!("printf '\\n{begin}\\n'; {{ {script}\n}} </dev/null 2>&1; printf '\\n{end}%s=\\n' $?");
        // One line: while the machine boots, parts of what is typed are lost, and only whole lines mean anything.
        let line = format!("\n{}\n", BASE64.encode(script.as_bytes()));
        self.stream.set_write_timeout(Some(within))?;
        self.stream.write_all(line.as_bytes())?;
        let (mut heard, deadline) = (Vec::new(), Instant::now() + within);
        loop {
            let text = String::from_utf8_lossy(&heard);
            if let Some((said, rest)) = text.split_once(&begin).and_then(|(_, text)| text.split_once(&end))
                && let Some((code, _)) = rest.split_once('=')
            {
                return Ok(Said { code: code.trim().parse()?, text: said.trim().to_owned() });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("it did not end within {} s; so far: {}", within.as_secs(), text.trim());
            }
            self.stream.set_read_timeout(Some(left))?;
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => bail!("the machine is gone"),
                Ok(read) => heard.extend(&bytes[..read]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// A network card for a machine: a device in the namespace of the bridge.
pub(crate) struct Tap {
    pub(crate) namespace: String,
    pub(crate) device: String,
}

/// Where the image of these machines lies: `SHAREKARO_VM_IMAGE` for `vm`, as `test.sh vm` sets it, and so on.
///
/// # Errors
/// It is not set, or there is none.
pub(crate) fn image(of: &str) -> Result<PathBuf> {
    let variable = format!("SHAREKARO_{}_IMAGE", of.to_uppercase());
    let dir =
        std::env::var_os(variable).map(PathBuf::from).with_context(|| format!("run `./test.sh {of}`, which makes the image first"))?;
    ensure!(dir.join("disk.ext4").is_file(), "there is no image in {}: run `./test.sh {of}`", dir.display());
    Ok(dir)
}
