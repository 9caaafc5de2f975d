//! What goes over ssh.

use std::{fs, os::unix::fs::PermissionsExt};

use anyhow::Result;

use super::{Server, Stage};

/// An sshd of our own at bob's, and the options of a client that it lets in.
fn sshd(stage: &Stage<'_>) -> Result<(Server, String)> {
    let dir = stage.bob.home().join("sshd");
    if !dir.exists() {
        fs::create_dir_all(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
        for key in ["host", "client"] {
            Stage::timed(stage.command(stage.bob, "ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(dir.join(key)))?;
        }
        fs::copy(dir.join("client.pub"), dir.join("authorized"))?;
    }
    fs::create_dir_all("/run/sshd")?; // it refuses to start without
    let config = dir.join("config");
    let lines = format!(
        "Port 2222\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized\nStrictModes no\nUsePAM no\nSubsystem sftp internal-sftp\nPermitRootLogin yes\nPidFile none\n",
        dir.display()
    );
    fs::write(&config, lines)?;
    let server = stage.serve(stage.command(stage.bob, "sshd").args(["-D", "-f"]).arg(&config), 2222)?;
    let client = format!(
        "-i {}/client -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes -o LogLevel=ERROR",
        dir.display()
    );
    Ok((server, format!("-c aes128-gcm@openssh.com {client}")))
}

fn target(stage: &Stage<'_>) -> String {
    format!("root@{}:{}", stage.bob.cable().address(), stage.there().display())
}

pub(super) fn scp(stage: &Stage<'_>) -> Result<f64> {
    let (_server, options) = sshd(stage)?;
    let mut command = stage.command(stage.alice, "scp");
    let took = Stage::timed(command.args(options.split(' ')).args(["-P", "2222"]).arg(stage.path).arg(target(stage)))?;
    stage.arrived().map(|()| took)
}

pub(super) fn rsync(stage: &Stage<'_>) -> Result<f64> {
    let (_server, options) = sshd(stage)?;
    let mut command = stage.command(stage.alice, "rsync");
    let took = Stage::timed(command.arg("-e").arg(format!("ssh -p 2222 {options}")).arg(stage.path).arg(target(stage)))?;
    stage.arrived().map(|()| took)
}
