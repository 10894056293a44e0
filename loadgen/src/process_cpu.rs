//! CPU time and memory of a server's process, as the kernel accounts them (all threads).

use std::fs;
use std::path::Path;
use std::time::Duration;

/// CPU time that the process has used, over all its threads; zero when there is no such process.
#[must_use]
pub fn cpu_time(pid: u32) -> Duration {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Duration::ZERO };
    threads.flatten().map(|thread| thread_cpu_time(&thread.path())).sum()
}

/// CPU time that a thread has used, by its directory under `/proc`; zero when there is no such thread.
#[must_use]
pub fn thread_cpu_time(accounts: &Path) -> Duration {
    let line = fs::read_to_string(accounts.join("schedstat")).unwrap_or_default();
    let nanos = line.split(' ').next().and_then(|field| field.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// Resident memory of the process in bytes; zero when there is no such process.
#[must_use]
pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kilobytes| kilobytes * 1024)
}
