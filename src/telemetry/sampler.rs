//! A thread that asks a GPU again and again, so that a loop need not wait for the answers.

use super::{Gpu, Sample};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Asks a GPU in a fixed period, from its start until it is dropped. Nothing here waits for the GPU's work, and no work waits for it.
#[derive(Debug)]
pub struct Sampler {
    state: Arc<State>,
    thread: JoinHandle<()>,
    /// Closed when the thread has ended.
    ended: Receiver<()>,
}

#[derive(Debug)]
struct State {
    gpu: Arc<Gpu>,
    /// Answers so far.
    count: AtomicU64,
    stop: AtomicBool,
    /// What nobody has taken yet.
    reading: Mutex<Reading>,
}

/// What a GPU said since the last time that somebody took it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The last answer, and when it came.
    pub sample: Sample,
    pub at: Instant,
    /// The energy counter then, in joules.
    pub energy_joules: Option<f64>,
    /// Of all answers since.
    pub least_sm_clock_mhz: Option<u32>,
    /// Of all answers since, each once.
    pub throttle_reasons: Vec<String>,
}

impl Sampler {
    /// The period of runs.
    pub const PERIOD: Duration = Duration::from_millis(100);
    /// An answer that is younger is as good as a new one.
    const FRESH: Duration = Duration::from_millis(5);
    /// How long the end waits for a GPU that does not answer.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// Starts with an answer, at once.
    ///
    /// # Errors
    /// Why there is no thread, in words.
    pub fn start(gpu: Arc<Gpu>, period: Duration) -> Result<Sampler, String> {
        let reading = Mutex::new(Reading::now(&gpu));
        let state = Arc::new(State { gpu, count: AtomicU64::new(1), stop: AtomicBool::new(false), reading });
        let (end, ended) = channel();
        let own = Arc::clone(&state);
        let body = move || {
            let _end = end; // dropped last
            let own = own;
            let mut next = Instant::now() + period;
            while !own.stop.load(Ordering::Relaxed) {
                let now = Instant::now();
                if now < next {
                    thread::park_timeout(next - now);
                } else {
                    own.ask();
                    // A slow answer does not make the following ones come in a row.
                    next = (next + period).max(Instant::now());
                }
            }
        };
        let thread = thread::Builder::new().name("GPU telemetry".into()).spawn(body);
        let thread = thread.map_err(|error| format!("no thread to ask the GPU: {error}"))?;
        Ok(Sampler { state, thread, ended })
    }

    /// The GPU.
    pub fn gpu(&self) -> &Gpu {
        &self.state.gpu
    }

    /// How many answers there were so far: the cheap way to see whether there is a new one.
    pub fn count(&self) -> u64 {
        self.state.count.load(Ordering::Acquire)
    }

    /// What came since the last call. The least clock and the reasons begin anew with the last answer, so that there always are some.
    pub fn take(&self) -> Reading {
        let mut reading = self.state.lock();
        let taken = reading.clone();
        reading.begin_anew();
        taken
    }

    /// The last answer.
    pub fn latest(&self) -> Sample {
        self.state.lock().sample.clone()
    }

    /// Asks now, in the calling thread, unless there was an answer a moment ago: for the ends of what is measured.
    pub fn ask(&self) {
        if self.state.lock().at.elapsed() > Sampler::FRESH {
            self.state.ask();
        }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        // A GPU that has died may keep its driver from answering: the process goes on without the thread.
        if self.ended.recv_timeout(Sampler::PATIENCE) == Err(RecvTimeoutError::Timeout) {
            tracing::debug!("NVML does not answer");
        }
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an answer in. The GPU is asked before anybody is made to wait.
    fn ask(&self) {
        let new = Reading::now(&self.gpu);
        self.lock().add(new);
        self.count.fetch_add(1, Ordering::Release);
    }
}

impl Reading {
    fn now(gpu: &Gpu) -> Reading {
        let (sample, energy_joules) = (gpu.sample(), gpu.energy_joules());
        let mut reading = Reading {
            sample,
            at: Instant::now(),
            energy_joules,
            least_sm_clock_mhz: None,
            throttle_reasons: Vec::new(),
        };
        reading.begin_anew();
        reading
    }

    /// Forgets all but the last answer.
    fn begin_anew(&mut self) {
        self.least_sm_clock_mhz = self.sample.sm_clock_mhz;
        self.throttle_reasons = self.sample.throttle_reasons.clone().unwrap_or_default();
    }

    /// Takes in a later one.
    fn add(&mut self, later: Reading) {
        let least_sm_clock_mhz = [self.least_sm_clock_mhz, later.least_sm_clock_mhz].into_iter().flatten().min();
        let mut throttle_reasons = std::mem::take(&mut self.throttle_reasons);
        join(&mut throttle_reasons, &later.throttle_reasons);
        *self = Reading { least_sm_clock_mhz, throttle_reasons, ..later };
    }
}

/// Adds to `reasons` those of `more` that it lacks.
pub fn join(reasons: &mut Vec<String>, more: &[String]) {
    for reason in more {
        if !reasons.contains(reason) {
            reasons.push(reason.clone());
        }
    }
}
