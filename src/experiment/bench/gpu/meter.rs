//! What the GPU says of itself while each line is timed.

use crate::experiment::bench::measure::Watch;
use crate::experiment::bench::report::{GpuUse, rounded};
use crate::telemetry::{Reading, Sampler};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// Notes energy, clocks and heat by line.
pub struct Meter {
    /// None where the GPU says nothing.
    sampler: Option<Arc<Sampler>>,
    /// When the answer came with which the present samples began, and the energy counter then.
    begun: Option<(Instant, Option<f64>)>,
    lines: BTreeMap<usize, Noted>,
}

/// Of a line so far.
#[derive(Default)]
struct Noted {
    seconds: f64,
    /// None once the counter did not answer.
    joules: Option<f64>,
    watts: Vec<f64>,
    used: GpuUse,
}

impl Meter {
    /// One that asks `sampler`.
    pub fn new(sampler: Option<Arc<Sampler>>) -> Meter {
        Meter { sampler, begun: None, lines: BTreeMap::new() }
    }

    /// What was noted of line `line`, which makes so many genomes a second.
    pub fn use_of(&self, line: usize, per_second: f64) -> GpuUse {
        let Some(noted) = self.lines.get(&line) else { return GpuUse::default() };
        let mean = noted.watts.iter().sum::<f64>() / noted.watts.len() as f64;
        let by_counter = noted.joules.filter(|_| noted.seconds > 0.0).map(|joules| joules / noted.seconds);
        let watts = by_counter.or((!noted.watts.is_empty()).then_some(mean));
        GpuUse {
            power_watts: watts.map(rounded),
            joules_per_million: watts.map(|watts| rounded(watts / per_second * 1e6)),
            ..noted.used.clone()
        }
    }
}

impl Noted {
    /// Adds `seconds` that began with the energy counter at `before` and ended with `after`.
    fn add(&mut self, seconds: f64, before: Option<f64>, after: Reading) {
        let is_first = self.seconds == 0.0;
        self.seconds += seconds;
        let joules = before.zip(after.energy_joules).map(|(before, after)| (after - before).max(0.0));
        self.joules = if is_first { joules } else { self.joules.zip(joules).map(|(sum, joules)| sum + joules) };
        let sample = after.sample;
        self.watts.extend(sample.power_watts);
        let used = &mut self.used;
        used.sm_clock_mhz = sample.sm_clock_mhz.or(used.sm_clock_mhz);
        used.memory_clock_mhz = sample.memory_clock_mhz.or(used.memory_clock_mhz);
        used.least_sm_clock_mhz = [used.least_sm_clock_mhz, after.least_sm_clock_mhz].into_iter().flatten().min();
        used.temperature_c = used.temperature_c.max(sample.temperature_c);
        if let Some(now) = sample.throttle_reasons {
            let seen = used.throttle_reasons.get_or_insert_default();
            for reason in after.throttle_reasons.into_iter().chain(now) {
                if !seen.contains(&reason) {
                    seen.push(reason);
                }
            }
        }
    }
}

impl Watch for Meter {
    fn begin(&mut self, _line: usize) {
        let Some(sampler) = &self.sampler else { return };
        sampler.ask();
        let Reading { at, energy_joules, .. } = sampler.take();
        self.begun = Some((at, energy_joules));
    }

    fn end(&mut self, line: usize) {
        let (Some(sampler), Some((began, before))) = (&self.sampler, self.begun.take()) else { return };
        sampler.ask();
        let after = sampler.take();
        let seconds = after.at.saturating_duration_since(began).as_secs_f64();
        self.lines.entry(line).or_default().add(seconds, before, after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Sample;

    fn reading(energy: Option<f64>, watts: f64, clock: u32, reason: &str) -> Reading {
        let reasons = vec![reason.to_string()];
        let sample = Sample {
            power_watts: Some(watts),
            sm_clock_mhz: Some(clock),
            temperature_c: Some(clock / 30),
            throttle_reasons: Some(Vec::new()),
            ..Sample::default()
        };
        Reading {
            sample,
            at: Instant::now(),
            energy_joules: energy,
            least_sm_clock_mhz: Some(clock - 100),
            throttle_reasons: reasons,
        }
    }

    /// A meter without a GPU that has noted two stretches of a second, of which the counter was asked with `first`.
    fn noted(first: Option<f64>) -> GpuUse {
        let mut meter = Meter::new(None);
        let noted = meter.lines.entry(3).or_default();
        noted.add(1.0, Some(100.0), reading(first, 300.0, 1900, "heat"));
        noted.add(1.0, Some(900.0), reading(Some(1300.0), 500.0, 1500, "heat"));
        meter.use_of(3, 2e6)
    }

    #[test]
    fn energy_by_time_gives_the_power_and_the_rate_the_energy_of_a_million() {
        let used = noted(Some(300.0));
        assert_eq!((used.power_watts, used.joules_per_million), (Some(300.0), Some(150.0)));
        assert_eq!(
            (used.sm_clock_mhz, used.least_sm_clock_mhz, used.temperature_c),
            (Some(1500), Some(1400), Some(63))
        );
        assert_eq!(used.throttle_reasons.unwrap(), ["heat"]);
    }

    #[test]
    fn without_a_counter_the_power_is_the_mean_of_what_was_read_and_without_a_gpu_nothing() {
        let used = noted(None);
        assert_eq!((used.power_watts, used.joules_per_million), (Some(400.0), Some(200.0)));
        let mut nobody = Meter::new(None);
        nobody.begin(0);
        nobody.end(0);
        assert_eq!(nobody.use_of(0, 1.0), GpuUse::default());
    }
}
