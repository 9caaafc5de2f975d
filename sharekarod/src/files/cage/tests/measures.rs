//! How fast it is, by hand: `cargo test --release -p sharekarod --lib -- --ignored --nocapture measures`.

use super::*;

#[test]
#[ignore = "a measurement: run it alone, built for release"]
fn measures_small_files_a_second() {
    let given = Given::new();
    const FILES: u32 = 50_000;
    let entries: Vec<_> =
        (0..FILES)
            .map(|i| {
                if i % 500 == 0 { folder(0, format!("d{i}").as_bytes()) } else { file(i / 500 * 500 + 1, format!("f{i}").as_bytes(), 4096) }
            })
            .collect();
    let staging = given.staging_of(&entries);
    let bytes = vec![5; 4096];
    let value = *blake3::hash(&bytes).as_bytes();
    let begun = std::time::Instant::now();
    staging.prepare(&never()).unwrap();
    let files: Vec<_> = (1..=FILES).filter(|no| (no - 1) % 500 != 0).map(|no| Small { no, bytes: &bytes, value }).collect();
    for batch in files.chunks(256) {
        assert_eq!(staging.write_small(batch).unwrap().files, batch.len() as u64);
    }
    let written = begun.elapsed();
    staging.sync().unwrap();
    let synced = begun.elapsed();
    given.commit(&staging, Conflict::Rename).unwrap();
    let rate = |time: std::time::Duration| f64::from(FILES) / time.as_secs_f64();
    println!("files a second: written {:.0}, durable {:.0}, in place {:.0}", rate(written), rate(synced), rate(begun.elapsed()));
}

#[test]
#[ignore = "a measurement: run it alone, built for release"]
fn measures_a_manifest_of_a_million_entries() {
    let given = Given::new();
    const ENTRIES: u32 = 1_000_000;
    let entry = |no: u32| match no % 1000 {
        1 => folder(0, format!("folder {no}").as_bytes()),
        _ => file((no - 1) / 1000 * 1000 + 1, format!("a file with a name {no}").as_bytes(), 5),
    };
    let files = u64::from(ENTRIES - ENTRIES / 1000);
    let totals = Totals { bytes: files * 5, files, entries: ENTRIES.into() };
    let memory = || fs::read_to_string("/proc/self/status").unwrap().lines().find(|line| line.starts_with("VmHWM")).unwrap().to_owned();
    println!("before: {}", memory());
    let begun = std::time::Instant::now();
    let mut intake = Intake::open(&given.path("notes/manifest"), totals).unwrap();
    let mut no = 1;
    while no <= ENTRIES {
        let page: Vec<u8> = (no..no + 5000).flat_map(|no| encode_frame(&entry(no))).collect();
        no += intake.append(&page).unwrap();
    }
    let manifest = intake.finish().unwrap();
    println!("taken in after {:?}: {}", begun.elapsed(), memory());
    let staging = Staging::open(&given.path("state/partial"), KEY, Arc::new(manifest)).unwrap();
    staging.prepare(&never()).unwrap();
    println!("prepared after {:?}: {}", begun.elapsed(), memory());
}
