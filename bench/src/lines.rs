//! Workloads on lines of their own: jumbo frames, a gigabit with and without loss, bad radio, a class behind one source;
//! what is sent again, what goes on after a kill, and what much of everything costs in memory.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::FileExt,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use sharekaro_tests::{FarPath, Host, Impairment, MIB, apart_on_loopback, digest, on_a_lan, on_a_lan_of, pair, until};

use crate::{
    figures::{Sizes, mib, referenced, step, touch},
    reference::Reference,
    table::{Figure, Goal},
};

/// The length of a file that comes with its neighbours.
const SMALL: u64 = 4096;

/// 200 Mbit/s, in bytes a second.
const FAR_RATE: u32 = 25_000_000;

#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
fn share(part: u64, of: u64) -> f64 {
    part as f64 / of as f64
}

/// The seconds of a whole command; what came is compared and removed.
fn sent(alice: &Host, bob: &Host, path: &Path) -> Result<f64> {
    let took = alice.ctl("send bob").arg(path).within(900).ok()?.took.as_secs_f64();
    let there = bob.received(&path.file_name().unwrap_or_default().to_string_lossy())?;
    ensure!(digest(&there)? == digest(path)?, "other bytes arrived");
    fs::remove_file(there)?;
    Ok(took)
}

/// All of them.
pub(crate) fn lines(sizes: &Sizes) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    figures.extend(jumbo(sizes)?);
    figures.extend(many_small(sizes)?);
    figures.extend(many_small_far_away(sizes)?);
    figures.extend(gigabit(sizes)?);
    figures.extend(bad_radio(sizes)?);
    figures.extend(again(sizes)?);
    figures.extend(a_class(sizes)?);
    figures.extend(after_a_kill(sizes)?);
    figures.extend(much_memory(sizes)?);
    Ok(figures)
}

fn jumbo(sizes: &Sizes) -> Result<Vec<Figure>> {
    step("MTU 9000, in turn with TLS over TCP");
    let mut to_tls = Figure::new("MTU 9000: rate as a share of TLS over TCP", "", Goal::AtLeast(0.75));
    on_a_lan_of(9000, ["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let path = alice.file("jumbo", sizes.file)?;
        for _ in 0..sizes.rounds.max(3) {
            let tls = referenced(Reference::Tls, alice, bob, sizes.file)?;
            touch(bob, sizes.file)?;
            to_tls.add(tls / sent(alice, bob, &path)?);
        }
        Ok(())
    })?;
    Ok(vec![to_tls])
}

fn many_small(sizes: &Sizes) -> Result<Vec<Figure>> {
    step(&format!("{} files of 4 KiB", sizes.files));
    let mut took = Figure::new("many files of 4 KiB, durable", "s", Goal::AtMost(0.6));
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        for round in 0..sizes.rounds.max(3) {
            let folder = folder_of(alice, &format!("many-{round}"), sizes.files, SMALL)?;
            took.add(alice.ctl("send bob").arg(&folder).within(300).ok()?.took.as_secs_f64());
            let there = bob.inbox()?.join(format!("many-{round}"));
            let count: usize = fs::read_dir(&there)?.flatten().map(|it| fs::read_dir(it.path()).map_or(0, Iterator::count)).sum();
            ensure!(count as u64 == sizes.files, "{count} of {} files arrived", sizes.files);
            fs::remove_dir_all(there)?;
            fs::remove_dir_all(folder)?;
        }
        Ok(())
    })?;
    Ok(vec![took])
}

/// On loopback, through a path in user space, as not every kernel can delay packets.
fn many_small_far_away(sizes: &Sizes) -> Result<Vec<Figure>> {
    step(&format!("{} files of 4 KiB, 5 ms there and back at 200 Mbit/s", sizes.files));
    let mut of_line = Figure::new("  5 ms there and back at 200 Mbit/s: share of the line", "", Goal::AtLeast(0.8));
    let far = Impairment { delay: Duration::from_micros(2500), rate: Some(FAR_RATE), ..Impairment::default() };
    apart_on_loopback(["alice", "bob"], |[alice, bob]| {
        let path = FarPath::between(alice.port()?, bob.port()?, far, 1)?;
        alice.ctl("peer add").arg(path.near().to_string()).ok()?;
        pair(alice, bob)?;
        for round in 0..sizes.rounds.max(3) {
            let folder = folder_of(alice, &format!("far-{round}"), sizes.files, SMALL)?;
            let took = alice.ctl("send bob").arg(&folder).within(300).ok()?.took.as_secs_f64();
            of_line.add(share(sizes.files * SMALL, u64::from(FAR_RATE)) / took);
        }
        Ok(())
    })?;
    Ok(vec![of_line])
}

/// So many files with content of their own, a thousand to a folder.
fn folder_of(host: &Host, name: &str, files: u64, size: u64) -> Result<std::path::PathBuf> {
    let top = host.home().join("outgoing").join(name);
    let mut content = vec![0; usize::try_from(size)?];
    for i in 0..files {
        let folder = top.join(format!("{:04}", i / 1000));
        if i % 1000 == 0 {
            fs::create_dir_all(&folder)?;
        }
        let number = format!("{name} {i}");
        let len = number.len().min(content.len());
        content[..len].copy_from_slice(&number.as_bytes()[..len]);
        fs::write(folder.join(format!("{i:07}")), &content)?;
    }
    Ok(top)
}

fn gigabit(sizes: &Sizes) -> Result<Vec<Figure>> {
    step("1 Gbit/s, without and with 1 % loss");
    let mut of_line = Figure::new("1 Gbit/s line: share of it", "", Goal::AtLeast(0.93));
    let mut to_tcp = Figure::new("  with 1 % loss: as a share of plain TCP", "", Goal::AtLeast(0.85));
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        alice.cable().shape("1gbit")?;
        let path = alice.file("gigabit", sizes.file / 2)?;
        for _ in 0..sizes.rounds.max(3) {
            of_line.add(share(sizes.file / 2, 125_000_000) / sent(alice, bob, &path)?);
        }
        bob.cable().lose_of_all(1)?;
        for _ in 0..sizes.rounds.max(3) {
            let tcp = referenced(Reference::Tcp, alice, bob, sizes.file / 2)?;
            to_tcp.add(tcp / sent(alice, bob, &path)?);
        }
        Ok(())
    })?;
    Ok(vec![of_line, to_tcp])
}

fn bad_radio(sizes: &Sizes) -> Result<Vec<Figure>> {
    step("20 % of the packets to the receiver lost");
    let mut took = Figure::new("32 MiB, 20 % lost on the way", "s", Goal::AtMost(60.0));
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        bob.cable().lose(20)?;
        for round in 0..sizes.rounds.min(3) {
            took.add(sent(alice, bob, &alice.file(format!("radio-{round}"), sizes.radio)?)?);
        }
        Ok(())
    })?;
    Ok(vec![took])
}

/// What crosses the wire, both ways, where most of it is there already.
fn again(sizes: &Sizes) -> Result<Vec<Figure>> {
    step("sent again, changed a little, at 100 Mbit/s");
    let mut changed = Figure::new("1 MiB changed in place: share that travels", "%", Goal::AtMost(0.5));
    let mut shifted = Figure::new("one byte put in front: share that travels", "%", Goal::AtMost(2.0));
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let path = alice.file("image", sizes.file)?;
        alice.ctl("send bob").arg(&path).within(300).ok()?;
        alice.cable().shape("100mbit")?;
        let travels = |path: &Path| -> Result<f64> {
            let wire = || -> Result<u64> { Ok(bob.cable().bytes_in()? + bob.cable().bytes_out()?) };
            let before = wire()?;
            let done = alice.ctl("send bob").arg(path).within(600).ok()?.last()?;
            ensure!(done["state"] == "done", "{done}");
            Ok(100.0 * share(wire()? - before, sizes.file))
        };

        // Of a small file one MiB is more than half a hundredth: so much less of it is changed.
        let edited = vec![7; usize::try_from((sizes.file >> 10).min(MIB))?];
        File::options().write(true).open(&path)?.write_all_at(&edited, sizes.file / 3)?;
        changed.add(travels(&path)?);
        let longer = alice.home().join("outgoing/longer");
        fs::create_dir(&longer)?;
        let longer = longer.join("image");
        let mut out = File::create(&longer)?;
        out.write_all(b"x")?;
        std::io::copy(&mut File::open(&path)?, &mut out)?;
        shifted.add(travels(&longer)?);
        Ok(())
    })?;
    Ok(vec![changed, shifted])
}

fn a_class(sizes: &Sizes) -> Result<Vec<Figure>> {
    step("one file to eight, ports of 100 Mbit/s");
    let mut ratio = Figure::new("8 receivers: time, in times of that of one", "x", Goal::AtMost(2.0));
    on_a_lan(["alice", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8"], |all| {
        let [alice, receivers @ ..] = all;
        receivers.iter().try_for_each(|other| pair(alice, other))?;
        all.iter().try_for_each(|host| host.cable().shape("100mbit"))?;
        for round in 0..sizes.rounds.min(3) {
            let one = alice.ctl("send b1").arg(alice.file(format!("one-{round}"), sizes.class)?).within(600).ok()?.took;
            let names = receivers.map(|host| host.name.clone()).join(",");
            let many = alice.ctl("send").arg(&names).arg(alice.file(format!("all-{round}"), sizes.class)?).within(900).ok()?.took;
            ratio.add(many.as_secs_f64() / one.as_secs_f64());
        }
        Ok(())
    })?;
    Ok(vec![ratio])
}

fn after_a_kill(sizes: &Sizes) -> Result<Vec<Figure>> {
    step("the receiver is killed in the middle");
    let mut resent = Figure::new("kill -9 of the receiver: sent again", "MiB", Goal::AtMost(16.0));
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        alice.cable().shape("400mbit")?;
        for round in 0..sizes.rounds.max(3) {
            let name = format!("killed-{round}");
            let undisturbed = bytes_of(alice, bob, &alice.file(&name, sizes.file / 4)?)?;
            fs::remove_file(bob.received(&name)?)?;
            let path = alice.file(format!("{name}-again"), sizes.file / 4)?;
            let before = bob.cable().bytes_in()?;
            let job = alice.ctl("send bob --detach").arg(&path).ok()?.last()?;
            until("half of it has come", 60, || Ok((bob.cable().bytes_in()? - before > sizes.file / 8).then_some(())))?;
            bob.restart()?;
            alice.transfer_is(job["id"].as_str().context("no id")?, &["done"], 120)?;
            let wire = bob.cable().bytes_in()? - before;
            resent.add(share(wire.saturating_sub(undisturbed), MIB));
            fs::remove_file(bob.received(&format!("{name}-again"))?)?;
        }
        Ok(())
    })?;
    Ok(vec![resent])
}

/// What a whole send of this costs on the wire, headers and talk included.
fn bytes_of(alice: &Host, bob: &Host, path: &Path) -> Result<u64> {
    let before = bob.cable().bytes_in()?;
    alice.ctl("send bob").arg(path).within(300).ok()?;
    Ok(bob.cable().bytes_in()? - before)
}

fn much_memory(sizes: &Sizes) -> Result<Vec<Figure>> {
    step(&format!("{} GiB of a sparse file, {} files: peak memory", sizes.sparse >> 30, sizes.entries));
    let mut sparse = Figure::new("huge sparse file: peak memory, either side", "MiB", Goal::AtMost(64.0));
    let mut entries = Figure::new("very many files: peak memory, either side", "MiB", Goal::AtMost(64.0));
    let peak = |hosts: [&Host; 2]| -> Result<f64> { Ok(mib(hosts[0].proc_status("VmHWM")?.max(hosts[1].proc_status("VmHWM")?))) };
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let path = alice.home().join("outgoing/sparse");
        let file = File::create(&path)?;
        file.set_len(sizes.sparse)?;
        file.write_all_at(b"an end", sizes.sparse - 6)?;
        alice.ctl("send bob").arg(&path).within(900).ok()?;
        sparse.add(peak([alice, bob])?);
        Ok(())
    })?;
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let free = rustix::fs::statvfs(alice.home())?;
        // Files in memory take a page each, here and there, and the kernel's own note of each.
        let needed = sizes.entries * 2 * 6000;
        if free.f_bavail * free.f_frsize < needed || free.f_favail < sizes.entries * 3 {
            eprintln!(
                "   LEFT OUT: {} files need {} MiB and as many inodes three times in {}",
                sizes.entries,
                needed / MIB,
                alice.home().display()
            );
            return Ok(());
        }
        let folder = folder_of(alice, "very-many", sizes.entries, 1)?;
        alice.ctl("send bob").arg(&folder).within(1800).ok()?;
        entries.add(peak([alice, bob])?);
        Ok(())
    })?;
    Ok(vec![sparse, entries])
}
