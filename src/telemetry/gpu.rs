//! What a GPU says of itself, by NVML, the library of its driver that nvidia-smi asks too. It is looked for when the program runs;
//! where it is missing or refuses, there is a reason in words and nothing else changes.
//!
//! All of it is of the GPU, whoever uses it: what other processes do on it is in its power, clocks and energy. Of a part of a GPU
//! (MIG) the memory is the part's own; the rest is of the whole, which NVML does not divide.

use crate::backend::cuda::device::Device as CudaDevice;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// A GPU as NVML sees it. Any thread may ask it; an answer takes from some microseconds to some milliseconds, in which the GPU works on.
#[derive(Debug)]
pub struct Gpu {
    /// The whole GPU.
    whole: Device<'static>,
    /// The part of it that is used, if it is divided (MIG).
    part: Option<Device<'static>>,
    facts: Facts,
}

/// What does not change while a program runs. `None` is what the GPU or its driver does not say, here and below.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    pub name: Option<String>,
    /// `GPU-...`; of a part of a GPU, its own, `MIG-...`.
    pub uuid: Option<String>,
    /// Whether it is a part of a GPU, of which only the memory is told apart.
    pub is_part: bool,
    /// Release of the driver, such as 580.65.06, and of NVML.
    pub driver_version: Option<String>,
    pub nvml_version: Option<String>,
    /// The power that the driver holds it below.
    pub power_limit_watts: Option<f64>,
    pub max_sm_clock_mhz: Option<u32>,
    pub max_memory_clock_mhz: Option<u32>,
}

/// What it says at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// On most GPUs the mean of the last second.
    pub power_watts: Option<f64>,
    pub sm_clock_mhz: Option<u32>,
    pub memory_clock_mhz: Option<u32>,
    pub temperature_c: Option<u32>,
    /// Of all processes, and what the driver keeps for itself.
    pub memory_used_bytes: Option<u64>,
    /// Share of the time in which a kernel ran, 0 to 1; over the driver's last period, a second or less.
    pub utilisation: Option<f64>,
    /// What keeps the clocks down, in words; empty if nothing does or nothing runs.
    pub throttle_reasons: Option<Vec<String>>,
}

impl Gpu {
    /// Finds the GPU that the driver calls `device`: by its UUID or its place on the PCI bus, since the numbers of CUDA and of NVML
    /// differ (`CUDA_VISIBLE_DEVICES`).
    ///
    /// # Errors
    /// Why there is none, in words: a machine without NVML is a good one.
    pub fn open(device: &CudaDevice) -> Result<Gpu, String> {
        let nvml = nvml()?;
        let found = find(nvml, device).map_err(|error| format!("NVML does not know the GPU: {}", words(&error)))?;
        // Only a part has a whole above it; libraries that know no parts have not the function.
        let (whole, part) = match found.mig_is_mig_device_handle() {
            Ok(true) => {
                let whole = found.mig_parent_device();
                (
                    whole.map_err(|error| format!("NVML does not name the GPU of a part: {}", words(&error)))?,
                    Some(found),
                )
            }
            _ => (found, None),
        };
        let facts = Facts {
            name: part.as_ref().unwrap_or(&whole).name().ok(),
            uuid: part.as_ref().unwrap_or(&whole).uuid().ok(),
            is_part: part.is_some(),
            driver_version: nvml.sys_driver_version().ok(),
            nvml_version: nvml.sys_nvml_version().ok(),
            power_limit_watts: whole.enforced_power_limit().ok().map(watts),
            max_sm_clock_mhz: whole.max_clock_info(Clock::SM).ok(),
            max_memory_clock_mhz: whole.max_clock_info(Clock::Memory).ok(),
        };
        Ok(Gpu { whole, part, facts })
    }

    /// What does not change.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What it says now.
    pub fn sample(&self) -> Sample {
        let Gpu { whole, part, .. } = self;
        Sample {
            power_watts: whole.power_usage().ok().map(watts),
            sm_clock_mhz: whole.clock_info(Clock::SM).ok(),
            memory_clock_mhz: whole.clock_info(Clock::Memory).ok(),
            temperature_c: whole.temperature(TemperatureSensor::Gpu).ok(),
            memory_used_bytes: part.as_ref().unwrap_or(whole).memory_info().ok().map(|memory| memory.used),
            utilisation: whole.utilization_rates().ok().map(|rates| f64::from(rates.gpu) / 100.0),
            throttle_reasons: whole.current_throttle_reasons().ok().map(names),
        }
    }

    /// The energy in joules that it has taken since its driver was loaded; `None` where it has no such counter (before Volta).
    pub fn energy_joules(&self) -> Option<f64> {
        self.whole.total_energy_consumption().ok().map(|millijoules| millijoules as f64 / 1e3)
    }
}

/// The library, loaded by the first call for as long as the process lives.
fn nvml() -> Result<&'static Nvml, String> {
    static NVML: OnceLock<Result<Nvml, String>> = OnceLock::new();
    let load = || Nvml::init().map_err(|error| format!("no NVML: {}", words(&error)));
    NVML.get_or_init(load).as_ref().map_err(String::clone)
}

/// The GPU, or the part of one, of the driver's UUID, which does not say which of both it is; else whatever is at its place.
fn find(nvml: &'static Nvml, device: &CudaDevice) -> Result<Device<'static>, NvmlError> {
    for kind in ["GPU", "MIG"] {
        if let Some(uuid) = &device.uuid
            && let Ok(found) = nvml.device_by_uuid(format!("{kind}-{uuid}"))
        {
            return Ok(found);
        }
    }
    nvml.device_by_pci_bus_id(device.pci_bus_id.as_str())
}

fn watts(milliwatts: u32) -> f64 {
    f64::from(milliwatts) / 1e3
}

/// What went wrong. The loader's words name files and are long.
fn words(error: &NvmlError) -> String {
    match error {
        NvmlError::LibloadingError(_) => "libnvidia-ml.so.1, a library of the driver, cannot be loaded".into(),
        NvmlError::FailedToLoadSymbol(_) => "the library lacks a function".into(),
        error => error.to_string(),
    }
}

/// What may keep the clocks down. That nothing runs is no such thing.
const THROTTLES: [(ThrottleReasons, &str); 8] = [
    (ThrottleReasons::APPLICATIONS_CLOCKS_SETTING, "clocks set by the user"),
    (ThrottleReasons::SW_POWER_CAP, "power limit"),
    (ThrottleReasons::HW_SLOWDOWN, "hardware slowdown"),
    (ThrottleReasons::SYNC_BOOST, "clocks tied to another GPU"),
    (ThrottleReasons::SW_THERMAL_SLOWDOWN, "heat (software)"),
    (ThrottleReasons::HW_THERMAL_SLOWDOWN, "heat (hardware)"),
    (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, "power brake"),
    (ThrottleReasons::DISPLAY_CLOCK_SETTING, "clocks set for a display"),
];

fn names(reasons: ThrottleReasons) -> Vec<String> {
    let held = THROTTLES.iter().filter(|(reason, _)| reasons.contains(*reason));
    held.map(|(_, name)| name.to_string()).collect()
}

/// All that [`Sample::throttle_reasons`] can name.
pub fn throttle_names() -> impl Iterator<Item = &'static str> {
    THROTTLES.iter().map(|&(_, name)| name)
}
