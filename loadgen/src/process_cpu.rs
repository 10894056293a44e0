//! CPU time and memory of a server's process, as the kernel accounts them (all threads).

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;

/// CPU time that the process has used, over all its threads; zero when there is no such process.
///
/// Of the threads that live to the nanosecond; what ended threads used is known to two of the kernel's ticks (20 ms)
/// only, so that a later reading can be less by as much.
#[must_use]
pub fn cpu_time(pid: u32) -> Duration {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Duration::ZERO };
    let living: Duration = threads.flatten().map(|thread| thread_cpu_time(&thread.path())).sum();
    living.max(cpu_time_in_ticks(pid))
}

/// The same with that of ended threads, in whole ticks.
fn cpu_time_in_ticks(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The command's name, in parentheses, may have blanks; user and system time are the 12th and 13th after it.
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    of_ticks(after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum())
}

/// CPU time of this machine, over all its CPUs since it started, that its host gave to others though it was wanted;
/// zero when it has no host.
#[must_use]
pub fn stolen_time() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    // `cpu`, then user, nice, system, idle, iowait, irq, softirq and steal.
    let all = stat.lines().next().unwrap_or_default();
    of_ticks(all.split_whitespace().nth(8).and_then(|field| field.parse().ok()).unwrap_or(0))
}

fn of_ticks(ticks: u64) -> Duration {
    Duration::from_secs(ticks) / u32::try_from(clock_ticks_per_second()).unwrap_or(u32::MAX)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Until the thread that calls it has used so much.
    fn work(to: Duration) {
        while thread_cpu_time(Path::new("/proc/thread-self")) < to {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn what_an_ended_thread_used_stays_accounted() {
        let worked = Duration::from_millis(100);
        let before = cpu_time(std::process::id());
        std::thread::spawn(move || work(worked)).join().unwrap();
        let used = cpu_time(std::process::id()).saturating_sub(before);
        assert!(used >= worked - Duration::from_millis(20), "{used:?}");
    }
}
