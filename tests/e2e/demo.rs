//! `sharectl demo`: the main job for somebody with one machine.

use std::fs;

use anyhow::{Result, ensure};
use sharekaro_tests::on_loopback;

#[test]
fn the_demo_shows_the_main_job_and_leaves_nothing_behind() -> Result<()> {
    on_loopback(["somebody"], |[somebody]| {
        let home_before = fs::read_dir(somebody.home())?.count();
        let scratch = somebody.home().join("cache/scratch");
        fs::create_dir(&scratch)?;
        somebody.set("TMPDIR", &scratch);

        let demo = somebody.ctl_for_people("demo").within(60).ok()?;

        ensure!(demo.out.lines().count() >= 5, "it does not say its steps: {}", demo.out);
        ensure!(fs::read_dir(&scratch)?.count() == 0, "it left something in the temporary folder");
        ensure!(fs::read_dir(somebody.home())?.count() == home_before, "it left something in the home");
        ensure!(somebody.inbox_files()?.is_empty() && somebody.alive(), "it touched the daemon of the person who ran it");
        Ok(())
    })
}
