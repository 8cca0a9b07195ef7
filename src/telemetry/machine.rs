//! What the machine says of itself: memory, processor, load.

use std::fs;
use std::path::Path;

/// Physical memory in bytes, where the system says so (Linux: `/proc/meminfo`).
pub fn physical_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    kilobytes(&text, "MemTotal:")
}

/// Memory in bytes that this process is given: the physical one, or the limit of a control group that it is in (a
/// container's, a batch system's), whichever is less.
pub fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = group_limit(Path::new("/sys/fs/cgroup"), &groups);
    [physical_memory(), group].into_iter().flatten().min()
}

/// What of `memory` a run may count on: a tenth stays with the system, which has its own needs in it.
pub fn usable(memory: u64) -> u64 {
    memory - memory / 10
}

/// The most memory in bytes that this process has held at once (Linux: `VmHWM`, which unlike `getrusage` does not begin with
/// that of the parent).
pub fn peak_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    kilobytes(&text, "VmHWM:")
}

/// Size in bytes of the files mapped into this process, the program and its libraries: the most of them that can come to lie
/// in memory (Linux: `/proc/self/maps`).
pub fn mapped_files() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/maps").ok()?;
    let mut bytes = 0;
    for line in text.lines() {
        let mut fields = line.split_whitespace(); // first-last, permissions, offset, device, inode, path
        let (first, last) = fields.next()?.split_once('-')?;
        if fields.nth(3).is_some_and(|inode| inode != "0") {
            bytes += u64::from_str_radix(last, 16).ok()? - u64::from_str_radix(first, 16).ok()?;
        }
    }
    Some(bytes)
}

/// Bytes that may still be written where the existing file or folder `path` is.
#[cfg(unix)]
pub fn free_space(path: &Path) -> Option<u64> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut answer = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` ends in a zero; statvfs fills `answer` if it returns 0, and it is read only then.
    let answer = unsafe {
        if libc::statvfs(path.as_ptr(), answer.as_mut_ptr()) != 0 {
            return None;
        }
        answer.assume_init()
    };
    // The types of the fields differ from system to system.
    #[allow(clippy::unnecessary_cast)]
    Some(answer.f_bavail as u64 * answer.f_frsize as u64)
}

/// Bytes that may still be written where `path` is: not known on this system.
#[cfg(not(unix))]
pub fn free_space(_path: &Path) -> Option<u64> {
    None
}

/// Lets this process hold `files` more files open, if the system's limit can be brought so high; returns how many it may hold
/// otherwise.
#[cfg(unix)]
pub fn allow_open_files(files: u64) -> Result<(), u64> {
    /// What the process has open beside them.
    const OTHERS: u64 = 64;
    let wanted = files + OTHERS;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read or write the one struct that they are given.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) != 0 || limit.rlim_cur >= wanted {
            return Ok(());
        }
        let raised = libc::rlimit { rlim_cur: wanted, ..limit };
        if wanted <= limit.rlim_max && libc::setrlimit(libc::RLIMIT_NOFILE, &raised) == 0 {
            return Ok(());
        }
    }
    Err(limit.rlim_max.saturating_sub(OTHERS))
}

/// Lets this process hold more files open: not known how on this system.
#[cfg(not(unix))]
pub fn allow_open_files(_files: u64) -> Result<(), u64> {
    Ok(())
}

/// Name of the processor, where the system says so (Linux on x86: `/proc/cpuinfo`).
pub fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(line.trim_start_matches([' ', '\t', ':']).to_string())
}

/// Name and release of the system's kernel (Linux: `/proc/sys/kernel`).
pub fn kernel() -> Option<String> {
    let read = |file: &str| fs::read_to_string(format!("/proc/sys/kernel/{file}")).ok();
    Some(format!("{} {}", read("ostype")?.trim(), read("osrelease")?.trim()))
}

/// Processes that ran or waited to run, on average over the last minute (Linux: `/proc/loadavg`).
pub fn load_average() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

/// Bytes of the largest cache of the first processor (Linux: `/sys`).
pub fn last_level_cache() -> Option<u64> {
    let size = |index: u32| {
        let text = fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size")).ok()?;
        let (number, unit) = text.trim().split_at_checked(text.trim().len() - 1)?;
        Some(number.parse::<u64>().ok()? << if unit == "M" { 20 } else { 10 })
    };
    (0..8).filter_map(size).max()
}

/// Processor time since the machine started, in seconds of one processor.
#[derive(Clone, Copy, Debug)]
pub struct ProcessorTime {
    /// Of all processes, and what a hypervisor gave to others while something here wanted to run.
    pub all: f64,
    /// Of this process and of those that it started and waited for.
    pub own: f64,
}

impl ProcessorTime {
    /// The time until now, where the system says so (Linux: `/proc/stat`, `/proc/self/stat`).
    pub fn now() -> Option<ProcessorTime> {
        const TICKS_A_SECOND: f64 = 100.0; // USER_HZ on x86-64 and aarch64
        let ticks = |words: &[&str]| words.iter().map(|word| word.parse::<u64>().ok()).sum::<Option<u64>>();
        let all = fs::read_to_string("/proc/stat").ok()?;
        let all: Vec<&str> = all.lines().next()?.split_whitespace().collect();
        let own = fs::read_to_string("/proc/self/stat").ok()?;
        let own: Vec<&str> = own.rsplit_once(')')?.1.split_whitespace().collect();
        // proc(5): user, nice, system; (idle, iowait); irq, softirq, steal. Fields 14 to 17: utime, stime, cutime, cstime.
        let all = ticks(all.get(1..4)?)? + ticks(all.get(6..9)?)?;
        let own = ticks(own.get(11..15)?)?;
        Some(ProcessorTime { all: all as f64 / TICKS_A_SECOND, own: own as f64 / TICKS_A_SECOND })
    }
}

/// The bytes of the line `KEY N kB`.
fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// The least memory limit of the control groups that `membership` (`/proc/self/cgroup`) names, under `root`: of version 2
/// (`0::/path`) or 1 (`4:memory:/path`). A limit holds for all groups below it; in a container, only the root may be seen.
fn group_limit(root: &Path, membership: &str) -> Option<u64> {
    let mut least: Option<u64> = None;
    for line in membership.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (root, file) = if controllers.is_empty() {
            (root.to_path_buf(), "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            (root.join("memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        for group in Path::new(path.trim_start_matches('/')).ancestors() {
            // Without a limit, version 2 says "max" and version 1 a number beyond every machine.
            let text = fs::read_to_string(root.join(group).join(file)).unwrap_or_default();
            least = [least, text.trim().parse().ok()].into_iter().flatten().min();
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_limit_of_the_groups_above_counts() {
        let root = tempfile::tempdir().unwrap();
        let set = |group: &str, file: &str, text: &str| {
            let folder = root.path().join(group);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(file), text).unwrap();
        };
        let limit = |membership| group_limit(root.path(), membership);
        assert_eq!(limit("0::/job/step\n"), None);
        set("job/step", "memory.max", "max\n");
        assert_eq!(limit("0::/job/step\n"), None);
        set("job", "memory.max", "4096\n");
        assert_eq!(limit("0::/job/step\n"), Some(4096));
        set("", "memory.max", "2048\n");
        assert_eq!(limit("0::/elsewhere/in/the/host\n"), Some(2048), "as seen from within a container");
        assert_eq!(limit("7:cpu,cpuacct:/job\n"), None);
        set("memory/job", "memory.limit_in_bytes", "1024\n");
        assert_eq!(limit("5:devices:/\n4:memory:/job\n0::/\n"), Some(1024));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_of_this_process_lies_below_that_of_the_machine() {
        let (peak, mapped) = (peak_memory().unwrap(), mapped_files().unwrap());
        assert!(peak > 0 && mapped > 0 && peak.max(mapped) < physical_memory().unwrap());
        assert!(memory_limit() <= physical_memory());
        assert!(free_space(Path::new("/")).is_some() && free_space(Path::new("/no such folder")).is_none());
    }
}
