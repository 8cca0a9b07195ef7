//! Where a run runs: what the call asks for, what the machine has, and why it came to be what it is.

use super::plan::{Host, memory};
use crate::backend::cpu::{self, CpuBackend};
use crate::backend::cuda::device::{self, Device};
use crate::backend::cuda::{self, CudaBackend, Launcher};
use crate::backend::memory::Memory;
use crate::backend::{Backend, Job};
use crate::error::{Error, Result};
use crate::network::Network;
use crate::simd::Simd;
use crate::telemetry;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What a call asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    /// The first GPU; the CPU where there is none that can be used.
    #[default]
    Auto,
    Cpu,
    /// The GPU of this number.
    Cuda(u32),
}

impl FromStr for Asked {
    type Err = String;

    fn from_str(text: &str) -> Result<Asked, String> {
        match (text, text.strip_prefix("cuda:").map(str::parse)) {
            ("auto", _) => Ok(Asked::Auto),
            ("cpu", _) => Ok(Asked::Cpu),
            (_, Some(Ok(n))) => Ok(Asked::Cuda(n)),
            _ => Err("wanted auto, cpu, or cuda:N with the number of a GPU".into()),
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Asked::Auto => f.write_str("--device auto"),
            Asked::Cpu => f.write_str("--device cpu"),
            Asked::Cuda(n) => write!(f, "--device cuda:{n}"),
        }
    }
}

/// The device that was chosen.
#[derive(Clone, Debug)]
pub struct Chosen {
    place: Place,
    /// Why that one.
    pub reason: String,
}

#[derive(Clone, Debug)]
enum Place {
    Cpu,
    /// Open.
    Gpu(Device, Arc<Launcher>),
}

/// Memory of the device, where it is not the host's.
#[derive(Clone, Debug)]
pub struct DeviceMemory {
    pub memory: Memory,
    /// What the device has, and what of it a run may take.
    pub total: u64,
    pub usable: u64,
}

impl Chosen {
    /// Chooses by what is `asked` for. Under `auto`, a GPU that is there but cannot be used is warned of.
    ///
    /// # Errors
    /// [`Error::NoDevice`], with the reason, if a GPU is asked for that is not there or cannot be used.
    pub fn choose(asked: Asked, network: &Network) -> Result<Chosen> {
        let on_cpu = |reason: String| Chosen { place: Place::Cpu, reason };
        match asked {
            Asked::Cpu => Ok(on_cpu(asked.to_string())),
            Asked::Auto => Ok(match device::list() {
                Err(error) => on_cpu(format!("{asked}: {error}")),
                Ok(devices) => match open(&devices[0], network) {
                    Ok(place) => Chosen { place, reason: format!("{asked}: the first GPU") },
                    Err(error) => {
                        tracing::warn!("THE GPU IS NOT USED ({}): {error}", devices[0]);
                        on_cpu(format!("{asked}: {} cannot be used: {error}", devices[0].name))
                    }
                },
            }),
            Asked::Cuda(n) => {
                let refused =
                    |why| Error::NoDevice { reason: format!("{asked}: {why}; --device cpu gives the same result") };
                let devices = device::list().map_err(|error| refused(error.to_string()))?;
                let Some(device) = devices.get(n as usize) else {
                    return Err(refused(format!("there are {} GPUs, numbered from 0", devices.len())));
                };
                let place = open(device, network).map_err(|error| refused(error.to_string()))?;
                Ok(Chosen { place, reason: asked.to_string() })
            }
        }
    }

    /// The way to the GPU, if it is one.
    pub fn launcher(&self) -> Option<&Launcher> {
        match &self.place {
            Place::Cpu => None,
            Place::Gpu(_, launcher) => Some(launcher),
        }
    }

    /// The device, for run.json.
    pub fn name(&self) -> String {
        match &self.place {
            Place::Cpu => "cpu".to_string(),
            Place::Gpu(device, _) => device.to_string(),
        }
    }

    /// The GPU, if it is one.
    pub fn gpu(&self) -> Option<&Device> {
        self.on_gpu().map(|(device, _)| device)
    }

    /// The GPU, open, if it is one.
    pub fn on_gpu(&self) -> Option<(&Device, &Arc<Launcher>)> {
        match &self.place {
            Place::Cpu => None,
            Place::Gpu(device, launcher) => Some((device, launcher)),
        }
    }

    /// The chunk of `job`: as `asked`, or as suits the device; never larger than all candidates.
    pub fn chunk(&self, job: &Job, asked: Option<u32>) -> u32 {
        let default = || match self.memory(job) {
            None => cpu::DEFAULT_CHUNK,
            // Where not even two candidates fit, the check says so.
            Some(DeviceMemory { memory, usable, .. }) => {
                memory.largest_chunk(usable).unwrap_or(2).min(cuda::DEFAULT_CHUNK)
            }
        };
        asked.unwrap_or_else(default).min(job.candidates())
    }

    /// Chunks that are worth a measurement.
    pub fn chunks(&self) -> &'static [u32] {
        match self.place {
            Place::Cpu => &[64, 128, 256, 512, 1024, 2048, 4096, 8192],
            Place::Gpu(..) => &[256, 1024, 4096, 16_384, 65_536, 262_144],
        }
    }

    /// What `job` takes of a GPU's memory, if it runs on one.
    pub fn memory(&self, job: &Job) -> Option<DeviceMemory> {
        let Place::Gpu(device, launcher) = &self.place else { return None };
        // What others have taken of it is gone; where the driver does not say, so be it.
        let free = launcher.free_memory().unwrap_or(device.memory_bytes);
        Some(DeviceMemory {
            memory: cuda::memory::memory(job),
            total: device.memory_bytes,
            usable: telemetry::usable(free),
        })
    }

    /// What a process that makes the runs of `job` takes of the host's memory.
    pub fn host_memory(&self, job: &Job, simd: Simd, chunk: u32, pictures: bool) -> Memory {
        let host = match self.place {
            Place::Cpu => Host::Backend(cpu::Options { simd, chunk }),
            Place::Gpu(..) => Host::OfGpu,
        };
        memory(job, host, rayon::current_num_threads(), pictures)
    }

    /// The backend for `job`.
    ///
    /// # Errors
    /// [`Error::Refused`] if it does not fit; whatever the device refuses.
    pub fn backend(&self, job: Job, simd: Simd, chunk: u32) -> Result<Box<dyn Backend>> {
        Ok(match &self.place {
            Place::Cpu => Box::new(CpuBackend::new(job, cpu::Options { simd, chunk })?),
            Place::Gpu(device, launcher) => {
                if let Some(DeviceMemory { memory, usable, .. }) = self.memory(&job) {
                    memory.check(chunk.min(job.candidates()), usable)?;
                }
                Box::new(CudaBackend::new(job, Arc::clone(launcher), device.to_string(), chunk)?)
            }
        })
    }
}

/// Opens `device` for runs against `network`.
fn open(device: &Device, network: &Network) -> Result<Place> {
    cuda::check_network(network)?;
    Ok(Place::Gpu(device.clone(), Arc::new(Launcher::new(device.number)?)))
}
