//! Networks with random weights, on random images: a rate depends neither on the weights nor on the images.

use super::measure::Timer;
use super::stage::disagrees;
use super::work::{Work, multiply_adds};
use super::{Line, Request, Step};
use crate::backend::cpu;
use crate::backend::cuda::Launcher;
use crate::backend::cuda::classifier::Classifier;
use crate::backend::memory::bytes_text;
use crate::error::Result;
use crate::network::Network;
use crate::network::list::List;
use crate::simd::Simd;
use crate::telemetry;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// What is timed where the call names no network: the paper's two, the AlexNet that people have, and one for small machines.
pub const DEFAULT: [&str; 4] = ["caffenet", "torchvision-alexnet", "squeezenet", "bvlc-googlenet"];

/// Images a call where the call names no batch.
pub const CPU_BATCHES: [u32; 2] = [1, 64];
pub const GPU_BATCHES: [u32; 4] = [1, 64, 256, 1024];

/// Of the weights.
pub(super) const SEED: u64 = 1;

const CHECK_CPU: &str = "probabilities of the first and the last image, bit for bit, with the plain path's";
const CHECK_GPU: &str = "probabilities of the first and the last image, bit for bit, with the CPU's";

/// The lists of [`DEFAULT`].
///
/// # Errors
/// None: they are this program's own.
pub fn default_lists() -> Result<Vec<List>> {
    DEFAULT.iter().map(|name| List::find(Path::new(name))).collect()
}

/// Lines of `request`'s networks on the CPU, checked. What does not fit into memory is warned of, and noted in `left_out`.
///
/// # Errors
/// [`Error::Refused`](crate::error::Error::Refused) if a network does not fit into memory, or its results are not those of its reference.
pub(super) fn on_cpu(request: &Request, batches: &[u32], left_out: &mut Vec<String>) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for network in networks(request)? {
        let classifier = Arc::new(cpu::classify::Classifier::new(Arc::clone(&network), request.simd));
        classifier.check(rayon::current_num_threads())?;
        for &batch in batches {
            let usable = telemetry::memory_limit().map(telemetry::usable);
            if !fits(&network, batch, call_bytes(&network, batch), usable, left_out) {
                continue;
            }
            let images = images(&network, batch);
            let mut probabilities = vec![0.0; batch as usize * network.classes.len()];
            classifier.classify(&images, &mut probabilities);
            check(&network, &images, Simd::Plain, CHECK_CPU, |image, class| {
                probabilities[image * network.classes.len() + class]
            })?;
            let classifier = Arc::clone(&classifier);
            let timer: Timer = Box::new(move |repeats| {
                let began = Instant::now();
                for _ in 0..repeats {
                    classifier.classify(&images, &mut probabilities);
                }
                Ok(began.elapsed())
            });
            let work = Work::Operations(multiply_adds(&network) as f64);
            lines.push(line(&network, batch, CHECK_CPU, timer).of_work(work, work.limit(request.simd, batch)));
        }
    }
    Ok(lines)
}

/// The same on a GPU, the images already there.
///
/// # Errors
/// [`Error::Refused`](crate::error::Error::Refused) if the CPU's bits differ; those of the device.
pub(super) fn on_gpu(
    request: &Request,
    batches: &[u32],
    launcher: &Arc<Launcher>,
    left_out: &mut Vec<String>,
) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for network in networks(request)? {
        Classifier::check(&network)?;
        for &batch in batches {
            let n = batch as usize;
            let parts = Classifier::memory(&network, n);
            let needed = call_bytes(&network, batch) + parts.iter().map(|part| part.bytes(batch)).sum::<u64>();
            let usable = launcher.free_memory().ok().map(telemetry::usable);
            if !fits(&network, batch, needed, usable, left_out) {
                continue;
            }
            let images = images(&network, batch);
            let mut classifier = Classifier::new(launcher, &network, n, n)?;
            let on_device = launcher.upload(&images)?;
            let mut probabilities = launcher.zeros::<f32>(n * network.classes.len())?;
            classifier.run(launcher, &mut probabilities, &on_device, n, n)?;
            let got = launcher.download(&probabilities)?;
            check(&network, &images, request.simd, CHECK_GPU, |image, class| got[class * n + image])?;
            let launcher = Arc::clone(launcher);
            let timer: Timer = Box::new(move |repeats| {
                launcher.synchronise()?;
                let began = Instant::now();
                for _ in 0..repeats {
                    classifier.run(&launcher, &mut probabilities, &on_device, n, n)?;
                }
                launcher.synchronise()?;
                Ok(began.elapsed())
            });
            let work = Work::Operations(multiply_adds(&network) as f64);
            lines.push(line(&network, batch, CHECK_GPU, timer).of_work(work, super::gpu::peaks::limit(work, batch)));
        }
    }
    Ok(lines)
}

fn line(network: &Network, batch: u32, check: &'static str, timer: Timer) -> Line {
    let mut line = Line::new(Step::Network, None, batch, batch, check, timer);
    line.about.network = Some(network.name.clone());
    line.about.weights = network.random.clone();
    line
}

/// Those of `request`, in its order.
fn networks(request: &Request) -> Result<Vec<Arc<Network>>> {
    request.networks.iter().map(|list| Network::random(list, SEED).map(Arc::new)).collect()
}

/// `(batch, height, width, channels)`: Fibonacci hashing of the place, quick to make.
fn images(network: &Network, batch: u32) -> Vec<u8> {
    (0..batch as usize * network.input.len()).map(|at| ((at as u32).wrapping_mul(0x9E37_79B1) >> 24) as u8).collect()
}

/// Images and probabilities of a call, in bytes.
fn call_bytes(network: &Network, batch: u32) -> u64 {
    u64::from(batch) * (network.input.len() + network.classes.len() * size_of::<f32>()) as u64
}

/// Whether `needed` bytes fit into `usable`, where that is known; if not, notes it in `left_out`.
fn fits(network: &Network, batch: u32, needed: u64, usable: Option<u64>, left_out: &mut Vec<String>) -> bool {
    let Some(usable) = usable.filter(|&usable| needed > usable) else { return true };
    let line = format!(
        "{} at batch {batch} takes {} of memory, {} can be used beside the other lines",
        network.name,
        bytes_text(needed),
        bytes_text(usable)
    );
    tracing::warn!("left out: {line}");
    left_out.push(line);
    false
}

/// Compares `got(image, class)` of the first and the last image with what the CPU makes of them with `simd`.
fn check(
    network: &Arc<Network>,
    images: &[u8],
    simd: Simd,
    check: &str,
    got: impl Fn(usize, usize) -> f32,
) -> Result<()> {
    let (len, n_classes) = (network.input.len(), network.classes.len());
    let last = images.len() / len - 1;
    let both = [&images[..len], &images[last * len..]].concat();
    let mut want = vec![0.0; 2 * n_classes];
    cpu::classify::Classifier::new(Arc::clone(network), simd).classify(&both, &mut want);
    let agrees = [0, last].into_iter().zip(want.chunks_exact(n_classes)).all(|(image, want)| {
        want.iter().enumerate().all(|(class, want)| want.to_bits() == got(image, class).to_bits())
    });
    if agrees { Ok(()) } else { Err(disagrees(&format!("{} at batch {}", network.name, last + 1), check)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_bit_of_a_probability_is_refused() {
        let lenet = List::find(Path::new("lenet")).unwrap();
        let network = Arc::new(Network::random(&lenet, SEED).unwrap());
        let images = images(&network, 3);
        let mut probabilities = vec![0.0; 30];
        cpu::classify::Classifier::new(Arc::clone(&network), Simd::detect()).classify(&images, &mut probabilities);
        let check = |planted: Option<(usize, usize)>| {
            check(&network, &images, Simd::Plain, CHECK_CPU, |image, class| {
                let bits = probabilities[image * 10 + class].to_bits();
                f32::from_bits(bits ^ u32::from(planted == Some((image, class))))
            })
        };
        check(None).unwrap();
        for planted in [(0, 0), (2, 9)] {
            assert!(check(Some(planted)).unwrap_err().to_string().contains("lenet at batch 3 disagrees"));
        }
    }
}
