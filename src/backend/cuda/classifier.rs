//! A network on the device, by the kernels that suit it: LeNet's own, or a launch or so for each layer.

use super::Launcher;
use super::lenet::Lenet;
use super::network::DeviceNetwork;
use crate::backend::memory::Part;
use crate::error::Result;
use crate::network::{Combine, Committee, Network};
use cudarc::driver::CudaSlice;

/// Most images that [`classify`] has on the device at once.
const CHUNK: usize = 4096;

/// A network ready to classify.
#[derive(Debug)]
pub enum Classifier {
    Lenet(Box<Lenet>),
    Layers(Box<DeviceNetwork>),
    Together(Box<Together>),
}

/// Networks that judge together.
#[derive(Debug)]
pub struct Together {
    /// In their order, at least two.
    members: Vec<Classifier>,
    rule: Combine,
    n_classes: usize,
    /// What one of them says, `(n_classes, chunk)`.
    next: CudaSlice<f32>,
}

impl Classifier {
    /// Whether there are kernels for `network`.
    ///
    /// # Errors
    /// [`Error::NoDevice`](crate::error::Error::NoDevice) if there are none, with the reason.
    pub fn check(network: &Network) -> Result<()> {
        network.judges().try_for_each(|network| Lenet::check(network).or_else(|_| DeviceNetwork::check(network)))
    }

    /// Brings `network` to the device, for chunks of up to `chunk` images of `most` in all.
    ///
    /// # Errors
    /// Those of [`Classifier::check`]; [`Error::Driver`](crate::error::Error::Driver) if there is no room.
    pub fn new(launcher: &Launcher, network: &Network, chunk: usize, most: usize) -> Result<Classifier> {
        let Some(Committee { rule, .. }) = network.committee else {
            return Classifier::alone(launcher, network, chunk, most);
        };
        let members = network.judges().map(|network| Classifier::alone(launcher, network, chunk, most));
        let n_classes = network.classes.len();
        let next = launcher.zeros(n_classes * chunk)?;
        Ok(Classifier::Together(Box::new(Together { members: members.collect::<Result<_>>()?, rule, n_classes, next })))
    }

    /// [`Classifier::new`] without the network's committee.
    fn alone(launcher: &Launcher, network: &Network, chunk: usize, most: usize) -> Result<Classifier> {
        if Lenet::check(network).is_ok() {
            return Ok(Classifier::Lenet(Box::new(Lenet::new(launcher, network, chunk)?)));
        }
        DeviceNetwork::check(network)?;
        let capacity = DeviceNetwork::capacity(network, most);
        Ok(Classifier::Layers(Box::new(DeviceNetwork::new(launcher, network, capacity)?)))
    }

    /// What [`Classifier::new`] takes of the device's memory for chunks of `most` images in all.
    pub fn memory(network: &Network, most: usize) -> Vec<Part> {
        let mut parts: Vec<Part> =
            network.judges().flat_map(|network| Classifier::memory_alone(network, most)).collect();
        if network.committee.is_some() {
            let row = network.classes.len() * size_of::<f32>();
            parts.push(Part::per_candidate("probabilities of one network", row as u64));
        }
        parts
    }

    fn memory_alone(network: &Network, most: usize) -> [Part; 2] {
        if Lenet::check(network).is_ok() {
            let n_classes = network.classes.len();
            return [
                Part::per_candidate("features", Lenet::IMAGE_BYTES as u64),
                Part::fixed("network", Lenet::bytes(n_classes) as u64),
            ];
        }
        let at_once = DeviceNetwork::capacity(network, most);
        [
            Part::fixed("activations", (at_once * DeviceNetwork::crop_bytes(network)) as u64),
            Part::fixed("network", DeviceNetwork::bytes(network) as u64),
        ]
    }

    /// Writes the probabilities of `batch` images, `(n_classes, stride)`, of each row the first `batch`. `images` is
    /// `(batch, height, width, channels)` of what the network is [given](Network::given). Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::error::Error::Shape) if a length does not match;
    /// [`Error::Launch`](crate::error::Error::Launch) if the driver refuses a launch.
    pub fn run(
        &mut self,
        launcher: &Launcher,
        probabilities: &mut CudaSlice<f32>,
        images: &CudaSlice<u8>,
        batch: usize,
        stride: usize,
    ) -> Result<()> {
        match self {
            Classifier::Lenet(lenet) => launcher.classify(probabilities, lenet, images, batch, stride),
            Classifier::Layers(network) => launcher.run_network(probabilities, network, images, batch, stride),
            Classifier::Together(together) => {
                let Together { members, rule, n_classes, next } = &mut **together;
                let n = members.len();
                members[0].run(launcher, probabilities, images, batch, stride)?;
                for (place, member) in members.iter_mut().enumerate().skip(1) {
                    member.run(launcher, next, images, batch, stride)?;
                    launcher.combine(
                        probabilities,
                        next,
                        (*rule, rule.divisor(place, n)),
                        *n_classes,
                        batch,
                        stride,
                    )?;
                }
                Ok(())
            }
        }
    }
}

/// Probabilities of images from the host: `images` is `(batch, height, width, channels)` of what `network` is
/// [given](Network::given), the result `(batch, n_classes)`.
///
/// # Errors
/// Those of [`Classifier::new`] and [`Classifier::run`]; [`Error::Driver`](crate::error::Error::Driver) for what goes wrong on the
/// device.
pub fn classify(launcher: &Launcher, network: &Network, images: &[u8]) -> Result<Vec<f32>> {
    let (len, n_classes) = (network.given().len(), network.classes.len());
    let batch = images.len() / len;
    let chunk = batch.min(CHUNK);
    let mut classifier = Classifier::new(launcher, network, chunk, chunk)?;
    let mut on_device = launcher.zeros::<u8>(chunk * len)?;
    let mut probabilities = launcher.zeros::<f32>(n_classes * chunk)?;
    let mut all = Vec::with_capacity(batch * n_classes);
    for part in images.chunks((chunk * len).max(1)) {
        let n = part.len() / len;
        launcher.upload_part(&mut on_device, 0, part)?;
        classifier.run(launcher, &mut probabilities, &on_device, n, chunk)?;
        let by_class = launcher.download(&probabilities)?;
        all.extend((0..n * n_classes).map(|at| by_class[at % n_classes * chunk + at / n_classes]));
    }
    Ok(all)
}
