//! Memory that the kernel and the allocator may have back.

use std::{fs, ops::Range};

use rustix::mm::{Advice, madvise};

/// Gives back what can be had again: pages of the program, and what the allocator keeps.
pub fn trim() {
    for range in fs::read_to_string("/proc/self/smaps").map(|smaps| clean_program(&smaps)).unwrap_or_default() {
        // SAFETY: the kernel takes the pages out of our tables and maps the same bytes of the same file again where they
        // are touched. Nothing of them is ours alone: the mapping cannot be written, and none of its pages is a copy.
        if let Err(error) = unsafe { madvise(range.start as *mut _, range.len(), Advice::LinuxDontNeed) } {
            tracing::debug!(%error, "cannot give back pages of the program");
        }
    }
    // SAFETY: takes no pointers, and may be called by any thread at any time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Bytes that the allocator keeps at the end of its heap: more than a fast transfer holds in packets, so that they are not
/// given back and faulted in again all the while, which costs a fifth of the receiver's work on a line with large packets.
#[cfg(target_env = "gnu")]
const HEAP_END: libc::c_int = 16 << 20;

/// Sets the allocator up for bulk data, to be called while there is only one thread. One heap for all threads: many heaps
/// each keep pages that are mostly empty, 5 MiB in all after a burst of work, and data moves at the same rate with one. And
/// its end is kept, until `trim`.
pub fn set_up_heap() {
    #[cfg(target_env = "gnu")]
    for (setting, value) in [(libc::M_ARENA_MAX, 1), (libc::M_TRIM_THRESHOLD, HEAP_END)] {
        // SAFETY: takes no pointers; no other thread is there to allocate meanwhile.
        if unsafe { libc::mallopt(setting, value) } == 0 {
            tracing::debug!(setting, "the allocator keeps a setting of its own");
        }
    }
}

/// The mappings of files that cannot be written and of which no page is a copy of ours, from `/proc/self/smaps`.
fn clean_program(smaps: &str) -> Vec<Range<usize>> {
    let (mut found, mut current) = (Vec::new(), None);
    for line in smaps.lines() {
        if let Some(range) = mapping(line) {
            current = range;
        } else if line.split_whitespace().eq(["Anonymous:", "0", "kB"]) {
            found.extend(current.take());
        }
    }
    found
}

/// The first line of a mapping; within, its addresses where it is a file's and can only be read or run.
fn mapping(line: &str) -> Option<Option<Range<usize>>> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    let (rights, path) = (words.next()?, words.nth(3).unwrap_or_default());
    Some((matches!(rights, "r--p" | "r-xp") && path.starts_with('/')).then_some(start..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
1000-2000 r-xp 00005000 fe:00 123                        /usr/bin/sharekarod
Rss:                   4 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
2000-4000 r--p 00006000 fe:00 123                        /usr/bin/sharekarod
Anonymous:             8 kB
4000-5000 rw-p 00006000 fe:00 123                        /usr/bin/sharekarod
Anonymous:             0 kB
5000-6000 rw-p 00000000 00:00 0                          [heap]
Anonymous:             0 kB
6000-7000 r--p 00000000 00:00 0                          [vvar]
Anonymous:             0 kB
7000-8000 r--s 00000000 fe:00 9                          /state/sharekaro.db-shm
Anonymous:             0 kB
8000-9000 r--p 00000000 fe:00 7                          /usr/lib/a name.so
Anonymous:             0 kB
";

    #[test]
    fn only_what_can_be_read_again_from_its_file_is_given_back() {
        assert_eq!(clean_program(SMAPS), [0x1000..0x2000, 0x8000..0x9000]);
        assert!(clean_program("Anonymous: 0 kB\nnonsense\n-\n1-z r-xp 0 0 0 /x\nAnonymous: 0 kB").is_empty());
    }

    #[test]
    fn a_program_that_gave_its_pages_back_runs_on() {
        let ours = fs::read_to_string("/proc/self/smaps").unwrap();
        assert!(!clean_program(&ours).is_empty());

        trim();

        assert!(clean_program(&ours).iter().all(|range| range.start < range.end));
    }
}
