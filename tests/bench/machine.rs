//! The machine's own limits, and what the kernel knows of a process.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// What a page of a journal has.
const BLOCK: usize = 4096;

/// A file that is written block by block, each with one `fdatasync`.
pub struct Journal {
    file: File,
    at: u64,
}

impl Journal {
    /// Makes an empty one, which grows with each block as a database's log does.
    pub fn growing(folder: &Path) -> Self {
        let file = File::create(folder.join("growing")).expect("a file");
        file.sync_all().expect("a sync");
        Self { file, at: 0 }
    }

    /// Makes one with its blocks allocated and written before: the cheapest durable write there is.
    pub fn allocated(folder: &Path, blocks: usize) -> Self {
        let file = File::create(folder.join("allocated")).expect("a file");
        file.write_all_at(&vec![0; BLOCK * blocks], 0).expect("blocks");
        file.sync_all().expect("a sync");
        Self { file, at: 0 }
    }

    /// One block, one `fdatasync`.
    pub fn write(&mut self) -> Duration {
        let began = Instant::now();
        self.file.write_all_at(&[7; BLOCK], self.at).expect("a block");
        self.file.sync_data().expect("a sync");
        self.at += BLOCK as u64;
        began.elapsed()
    }
}

/// Seconds of processor time that a process has used, without the programs that it started.
pub fn processor_seconds(pid: u32) -> f64 {
    used(pid, 11)
}

/// Seconds of processor time of the programs that a process has started and waited for, and theirs.
pub fn processor_seconds_of_children(pid: u32) -> f64 {
    used(pid, 13)
}

/// The sum of two fields of a process, counted behind its name in parentheses.
fn used(pid: u32, first: usize) -> f64 {
    // In ticks of 1/100 s.
    const TICKS: f64 = 100.0;
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<f64> = text
        .rsplit(") ")
        .next()
        .unwrap_or_default()
        .split(' ')
        .skip(first)
        .take(2)
        .filter_map(|field| field.parse().ok())
        .collect();
    fields.iter().sum::<f64>() / TICKS
}

/// The most memory that a process ever held, in MiB.
pub fn resident_mib_max(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}

/// The median.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Lowest and highest, for the range over rounds.
pub fn range(values: &[f64]) -> String {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("[{low:.2}..{high:.2}]")
}

/// Milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Waits a little without being woken: the bench looks again, it does not test.
pub fn pause(duration: Duration) {
    let until = Instant::now() + duration;
    while Instant::now() < until {
        std::thread::park_timeout(until.saturating_duration_since(Instant::now()));
    }
}
