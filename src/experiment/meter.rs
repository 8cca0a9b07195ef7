//! What the GPU of an evolution takes while generations are made, for all its runs.

use crate::backend::cuda::device::Device;
use crate::output::GpuMetrics;
use crate::telemetry::{Facts, Gpu, Reading, Sampler, join};
use std::sync::Arc;

/// Reads what a [`Sampler`] hears, and counts the candidates that the GPU makes.
pub struct Meter {
    sampler: Sampler,
    /// Answers of the sampler when it was last read, and the reading.
    seen: u64,
    reading: Reading,
    /// Candidates of all runs since the meter was started.
    genomes: u64,
}

/// Where a run stands on the meter: at its last line of metrics.
pub struct Mark {
    seconds: f64,
    energy_joules: Option<f64>,
    genomes: u64,
    /// Of the answers since, if there were any.
    least_sm_clock_mhz: Option<u32>,
    throttle_reasons: Vec<String>,
}

impl Meter {
    /// Starts to ask `device`.
    ///
    /// # Errors
    /// Why it cannot be asked, in words.
    pub fn start(device: &Device) -> Result<Meter, String> {
        let sampler = Sampler::start(Arc::new(Gpu::open(device)?), Sampler::PERIOD)?;
        Ok(Meter { seen: sampler.count(), reading: sampler.take(), genomes: 0, sampler })
    }

    /// What does not change.
    pub fn facts(&self) -> &Facts {
        self.sampler.gpu().facts()
    }

    /// The last answer.
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// Counts the candidates of a generation; where there are new answers, returns them. Asks for one if this was the `last` generation of
    /// a run.
    pub fn count(&mut self, genomes: u64, last: bool) -> Option<&Reading> {
        self.genomes += genomes;
        if last {
            self.sampler.ask();
        }
        let count = self.sampler.count();
        if count == self.seen {
            return None;
        }
        self.seen = count;
        self.reading = self.sampler.take();
        Some(&self.reading)
    }

    /// A mark here, for a run that has taken `seconds`.
    pub fn mark(&self, seconds: f64) -> Mark {
        Mark {
            seconds,
            energy_joules: self.reading.energy_joules,
            genomes: self.genomes,
            least_sm_clock_mhz: None,
            throttle_reasons: Vec::new(),
        }
    }

    /// What there is to say of the time since `mark`, which moves here; the run has taken `seconds`.
    pub fn since(&self, mark: &mut Mark, seconds: f64) -> GpuMetrics {
        let old = std::mem::replace(mark, self.mark(seconds));
        let Reading { sample, energy_joules, .. } = &self.reading;
        let heard = old.least_sm_clock_mhz.is_some() || !old.throttle_reasons.is_empty();
        let (least_sm_clock_mhz, throttle_reasons) = if heard {
            (old.least_sm_clock_mhz, old.throttle_reasons)
        } else {
            (sample.sm_clock_mhz, sample.throttle_reasons.clone().unwrap_or_default())
        };
        GpuMetrics {
            power_watts: sample.power_watts,
            sm_clock_mhz: sample.sm_clock_mhz,
            memory_clock_mhz: sample.memory_clock_mhz,
            temperature_c: sample.temperature_c,
            memory_used_bytes: sample.memory_used_bytes,
            least_sm_clock_mhz,
            throttle_reasons,
            energy_joules: energy_joules.zip(old.energy_joules).map(|(now, before)| difference(now, before)),
            seconds: seconds - old.seconds,
            genomes: self.genomes - old.genomes,
        }
    }
}

impl Mark {
    /// Takes in what the meter has heard.
    pub fn hear(&mut self, reading: &Reading) {
        self.least_sm_clock_mhz = [self.least_sm_clock_mhz, reading.least_sm_clock_mhz].into_iter().flatten().min();
        join(&mut self.throttle_reasons, &reading.throttle_reasons);
    }
}

/// What the energy counter, which counts millijoules, has counted. That of a driver that was loaded anew began at 0.
fn difference(now: f64, before: f64) -> f64 {
    ((now - before).max(0.0) * 1e3).round() / 1e3
}
