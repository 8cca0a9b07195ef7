//! A live look at a run: its folder alone is read, so the run may be another process's, on another machine that shares the disk, or over.

pub mod follow;
mod lines;
mod screen;
mod view;

pub use follow::{Place, find};
pub use lines::print_lines;
pub use screen::show;

use crate::output::confidence_text;
use follow::{Follower, RunState};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

/// How often files are looked at.
const EVERY: Duration = Duration::from_millis(500);

/// Of a run without an end that has left nothing for so long it is said.
const SILENCE: Duration = Duration::from_secs(30);

/// All runs as their folders have them.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub runs: Vec<RunState>,
}

impl State {
    /// Whether every run is finished.
    pub fn is_finished(&self) -> bool {
        self.runs.iter().all(|run| run.manifest.is_some())
    }

    /// Generations so far, of the run that has fewest and of the one that has most.
    pub fn generations(&self) -> Option<(u32, u32)> {
        let generations = || self.runs.iter().filter_map(|run| Some(run.last.as_ref()?.generation));
        generations().min().zip(generations().max())
    }

    /// Candidates so far, of all runs.
    pub fn evaluations(&self) -> u64 {
        self.runs.iter().filter_map(|run| Some(run.last.as_ref()?.evaluations)).sum()
    }

    /// Candidates a second at present, of all runs that are not finished; of those that are, over all their time.
    pub fn rate(&self) -> f64 {
        if self.is_finished() {
            let evaluations = self.evaluations() as f64;
            let manifests = self.runs.iter().filter_map(|run| Some(run.manifest.as_ref()?.seconds));
            return evaluations / manifests.fold(f64::MIN_POSITIVE, f64::max);
        }
        let unfinished = self.runs.iter().filter(|run| run.manifest.is_none());
        unfinished.filter_map(|run| Some(run.last.as_ref()?.genomes_per_second)).sum()
    }

    /// Niches at .9999 or more, of all runs.
    pub fn over_9999(&self) -> usize {
        self.runs.iter().filter_map(|run| Some(run.last.as_ref()?.over_9999)).sum()
    }

    /// How many runs are finished.
    pub fn finished(&self) -> usize {
        self.runs.iter().filter(|run| run.manifest.is_some()).count()
    }

    /// What becomes of them, in words.
    pub fn standing(&self) -> String {
        if let [run] = &self.runs[..]
            && let Some(manifest) = &run.manifest
        {
            return format!("finished ({:?})", manifest.stopped_by).to_lowercase();
        }
        if self.is_finished() {
            return "finished".into();
        }
        let last = self.runs.iter().filter_map(|run| run.changed).max();
        let silence = last.and_then(|last| SystemTime::now().duration_since(last).ok()).unwrap_or_default();
        if self.runs.iter().all(|run| run.last.is_none()) {
            "not begun yet".into()
        } else if silence > SILENCE {
            format!("no sign for {}", humantime::format_duration(Duration::from_secs(silence.as_secs())))
        } else {
            "running".into()
        }
    }
}

/// `rate` candidates a second, for people.
fn rate_text(rate: f64) -> String {
    match rate {
        rate if rate >= 1e6 => format!("{:.2} M genomes/s", rate / 1e6),
        rate if rate >= 1e4 => format!("{:.1} k genomes/s", rate / 1e3),
        rate => format!("{rate:.0} genomes/s"),
    }
}

/// What the device says of itself, of the runs that share it; of a processor how much waits for it.
fn device_text(state: &State) -> String {
    let lines = state.runs.iter().filter_map(|run| run.last.as_ref());
    let Some(gpu) = lines.filter_map(|line| line.gpu.as_ref()).next_back() else {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        return crate::telemetry::load_average()
            .map_or(String::new(), |load| format!("load here {load:.1} of {cores} cores"));
    };
    let mut parts = vec!["gpu".to_string()];
    parts.extend(gpu.power_watts.map(|watts| format!("{watts:.0} W")));
    parts.extend(gpu.temperature_c.map(|celsius| format!("{celsius} °C")));
    parts.extend(gpu.sm_clock_mhz.map(|clock| format!("{clock} MHz")));
    parts.extend(gpu.memory_used_bytes.map(crate::backend::memory::bytes_text));
    parts.extend((!gpu.throttle_reasons.is_empty()).then(|| format!("throttled: {}", gpu.throttle_reasons.join(", "))));
    parts.join("  ")
}

/// All runs in a line.
fn line_text(state: &State) -> String {
    let mut parts = Vec::new();
    if let ([run], Some((generation, _))) = (&state.runs[..], state.generations()) {
        parts.push(format!("generation {generation}"));
        if let Some(last) = &run.last {
            parts.push(format!(
                "median {}  least {}",
                confidence_text(last.median as f32),
                confidence_text(last.min as f32)
            ));
        }
    } else if let Some((least, most)) = state.generations() {
        parts.push(format!("{} of {} runs done", state.finished(), state.runs.len()));
        let range = if least == most { least.to_string() } else { format!("{least} to {most}") };
        parts.push(format!("generation {range}"));
    }
    if parts.is_empty() {
        return state.standing();
    }
    parts.push(format!("{} at .9999", state.over_9999()));
    parts.push(format!("{} genomes", state.evaluations()));
    parts.push(rate_text(state.rate()));
    if state.runs.iter().any(|run| run.last.as_ref().is_some_and(|line| line.gpu.is_some())) {
        parts.push(device_text(state));
    }
    parts.join("  ")
}

/// Follows all runs of a place from a thread of its own: a checkpoint of a thousand large images takes a while to read.
struct Watcher {
    latest: Arc<Mutex<Arc<State>>>,
    /// The run whose elites are shown.
    chosen: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    fn start(place: &Place) -> Watcher {
        let mut followers: Vec<Follower> = place.runs.iter().map(|run| Follower::new(run)).collect();
        let chosen = Arc::new(AtomicUsize::new(0));
        let ends = Arc::new(AtomicBool::new(false));
        let latest = Arc::new(Mutex::new(Arc::new(look(&mut followers, None))));
        let thread = thread::spawn({
            let (latest, chosen, ends) = (Arc::clone(&latest), Arc::clone(&chosen), Arc::clone(&ends));
            move || {
                while !ends.load(Ordering::Relaxed) {
                    let at = chosen.load(Ordering::Relaxed);
                    let state = Arc::new(look(&mut followers, Some(at)));
                    *latest.lock().expect("no panic while held") = state;
                    if chosen.load(Ordering::Relaxed) == at {
                        thread::park_timeout(EVERY);
                    }
                }
            }
        });
        Watcher { latest, chosen, ends, thread: Some(thread) }
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.latest.lock().expect("no panic while held"))
    }

    /// Shows the elites of run `run` from now on.
    fn choose(&self, run: usize) {
        if self.chosen.swap(run, Ordering::Relaxed) != run {
            self.wake();
        }
    }

    fn wake(&self) {
        self.thread.iter().for_each(|thread| thread.thread().unpark());
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.wake();
        // Whatever became of it, nothing is lost.
        _ = self.thread.take().map(JoinHandle::join);
    }
}

/// All runs now, with the elites of one.
fn look(followers: &mut [Follower], closely: Option<usize>) -> State {
    let runs = followers.iter_mut().enumerate();
    State { runs: runs.map(|(at, follower)| follower.look(closely == Some(at)).clone()).collect() }
}
