//! What the machine says of itself.

/// Physical memory in bytes, where the system says so (Linux: `/proc/meminfo`).
pub fn physical_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Name of the processor, where the system says so (Linux on x86: `/proc/cpuinfo`).
pub fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(line.trim_start_matches([' ', '\t', ':']).to_string())
}

/// Name and release of the system's kernel (Linux: `/proc/sys/kernel`).
pub fn kernel() -> Option<String> {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/sys/kernel/{file}")).ok();
    Some(format!("{} {}", read("ostype")?.trim(), read("osrelease")?.trim()))
}

/// Processes that ran or waited to run, on average over the last minute (Linux: `/proc/loadavg`).
pub fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

/// Bytes of the largest cache of the first processor (Linux: `/sys`).
pub fn last_level_cache() -> Option<u64> {
    let size = |index: u32| {
        let text = std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size")).ok()?;
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
        let all = std::fs::read_to_string("/proc/stat").ok()?;
        let all: Vec<&str> = all.lines().next()?.split_whitespace().collect();
        let own = std::fs::read_to_string("/proc/self/stat").ok()?;
        let own: Vec<&str> = own.rsplit_once(')')?.1.split_whitespace().collect();
        // proc(5): user, nice, system; (idle, iowait); irq, softirq, steal. Fields 14 to 17: utime, stime, cutime, cstime.
        let all = ticks(all.get(1..4)?)? + ticks(all.get(6..9)?)?;
        let own = ticks(own.get(11..15)?)?;
        Some(ProcessorTime { all: all as f64 / TICKS_A_SECOND, own: own as f64 / TICKS_A_SECOND })
    }
}
