//! `pareidolia plan`: what a run would take, before it runs.

use super::evolve::{RunOptions, keys_help};
use crate::backend::memory::bytes_text;
use crate::error::Result;
use crate::experiment::plan::{Amount, MemoryPlan, Plan, plan};
use crate::genome::Canvas;

/// Say what a run would take: memory, time, room on the disk
///
/// Takes the options of `evolve` and writes nothing. Memory is an upper bound, by purpose. The rate is measured: in two or three
/// seconds real generations are made on this machine, with the chunk of the run and with others.
///
/// What cannot fit is refused, with the largest chunk and batch that can.
#[derive(Debug, clap::Args)]
#[command(after_long_help = keys_help())]
pub struct Args {
    #[command(flatten)]
    run: RunOptions,

    /// Plan for a machine with this much memory, such as `8GiB` [default: this machine's, or the limit set for this process]
    #[arg(long, value_name = "BYTES", value_parser = bytes, help_heading = "What to plan for")]
    memory: Option<u64>,

    /// Print JSON
    #[arg(long, help_heading = "What to plan for")]
    json: bool,
}

impl Args {
    /// Plans.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::error::Error::Refused) if the run cannot fit; whatever else is wrong with the call.
    pub fn run(self) -> Result<()> {
        let request = self.run.plan_request(self.memory)?;
        let plan = self.run.speed.pool()?.install(|| plan(&request))?;
        super::print(&if self.json { super::json(&plan)? } else { text(&plan) })
    }
}

/// A plan for people.
fn text(plan: &Plan) -> String {
    let Plan { preset, flavour, batch, n_niches, device, device_reason, threads, simd, chunk, .. } = plan;
    let mut text = format!("{preset} {flavour}, {n_niches} classes, batch {batch}; {threads} threads, {simd}\n");
    let Canvas { height, width, channels } = plan.canvas;
    if plan.canvas != Canvas::MNIST {
        let parts = if plan.crops == 1 { "one part" } else { "ten parts" };
        text += &format!("images of {width}x{height} pixels, {channels} channels, {parts} of each judged\n");
    }
    text += &format!("device {device} ({device_reason})\n");
    let table = |amounts: &[Amount]| -> String {
        amounts.iter().map(|part| format!("  {:<42} {:>12}\n", part.what, bytes_text(part.bytes))).collect()
    };
    let mut memory = |what: &str, plan: &MemoryPlan, share: &str| {
        let room = match (plan.usable_bytes, plan.machine_bytes) {
            (Some(usable), Some(machine)) => {
                format!("   of {} that can be used, {share} of {}", bytes_text(usable), bytes_text(machine))
            }
            _ => String::new(),
        };
        text += &format!("\n{what}\n{}", table(&plan.parts));
        text += &format!("  {:<42} {:>12}{room}\n", "total", bytes_text(plan.total_bytes));
    };
    if let Some(device) = &plan.device_memory {
        memory("memory of the GPU", device, "nine tenths of what is free");
    }
    memory("memory, at most", &plan.memory, "nine tenths");

    let speed = &plan.speed;
    text += &format!("\nspeed, measured here from the elites of generation {} on\n", speed.from_generation);
    for rate in &speed.measured {
        text += &format!(
            "  {:<42} {:>12}   genomes a second, timed over {} of them\n",
            format!("chunk {}", rate.chunk),
            format!("{:.0}", rate.genomes_per_second),
            u64::from(rate.chunk) * u64::from(rate.generations)
        );
    }
    let largest = plan.largest_chunk.map_or(String::new(), |largest| format!(", {largest} would fit"));
    text += &format!("\nchunk    {chunk}, {} a generation{largest}\n", plan.chunks_per_generation);
    text += &format!("best     chunk {} for this batch (the same result)", speed.best_chunk);
    text += &format!(", batch {} for throughput (another run)\n", speed.best_batch);
    text += &match (plan.generations, plan.evaluations, plan.seconds) {
        (Some(generations), Some(evaluations), Some(seconds)) => format!(
            "time     {} at {:.0} genomes a second: at most {generations} generations, {evaluations} genomes\n",
            seconds_text(seconds),
            speed.genomes_per_second
        ),
        _ => format!("time     until it is stopped, at {:.0} genomes a second\n", speed.genomes_per_second),
    };

    let output = &plan.output;
    let free = output.free_bytes.map_or(String::new(), |free| format!("   of {} free", bytes_text(free)));
    text += &format!("\nrun folder in {}, estimated\n{}", output.place.display(), table(&output.files));
    if plan.generations.is_none() {
        text += "  metrics.jsonl, some 270 bytes a line\n";
    }
    text += &format!(
        "  {:<42} {:>12}{free}\n",
        "total, with one checkpoint being replaced",
        bytes_text(output.total_bytes)
    );
    text
}

/// `seconds` for people.
fn seconds_text(seconds: f64) -> String {
    if seconds < 100.0 {
        return format!("{seconds:.1} s");
    }
    // To the second: humantime would name every nanosecond.
    humantime::format_duration(std::time::Duration::from_secs(seconds as u64)).to_string()
}

/// Reads `8589934592`, `8GiB` or `8.5GB`.
fn bytes(text: &str) -> Result<u64, String> {
    let units = [("", 1.0), ("KiB", 1024.0), ("MiB", 1048576.0), ("GiB", 1073741824.0), ("TiB", 1099511627776.0)];
    let decimal = [("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12)];
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let value = number.trim().parse::<f64>().ok();
    let factor =
        units.iter().chain(&decimal).find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| factor);
    match value.zip(factor).map(|(value, factor)| value * factor) {
        Some(bytes) if (1.0..9e18).contains(&bytes) => Ok(bytes as u64),
        _ => Err("wanted bytes, such as 8589934592, 8GiB or 8.5GB".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_memory_are_read() {
        for (text, want) in [("1", 1), ("8GiB", 8 << 30), ("1.5 kib", 1536), ("2kB", 2000), ("8.5GB", 8_500_000_000)] {
            assert_eq!(bytes(text), Ok(want), "{text}");
        }
        for text in ["", "GiB", "0", "-1", "8 gallons", "nan", "inf", "1e30", "8GiBs"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn seconds_are_read_as_people_say_them() {
        assert_eq!([3.25, 99.96, 100.0, 3723.9].map(seconds_text), ["3.2 s", "100.0 s", "1m 40s", "1h 2m 3s"]);
    }
}
