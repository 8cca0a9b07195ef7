//! `pareidolia info`: what this program is and what it runs on.

use super::{Source, layers};
use crate::archive::ARITHMETIC_VERSION;
use crate::backend::cuda::device::{self, Device};
use crate::backend::memory::bytes_text;
use crate::error::Result;
use crate::experiment::config::{Config, Flavour, Preset, name_of};
use crate::genome::{Encoding, direct::Crossover};
use crate::kernels::{self, Report, Resources};
use crate::network::list::List;
use crate::network::weights::Files;
use crate::network::{Network, lenet};
use crate::simd::Simd;
use crate::telemetry::{Facts, Gpu, Sample};
use crate::{telemetry, version};
use clap::ValueEnum;
use safetensors::SafeTensors;
use serde::Serialize;
use std::path::PathBuf;

/// Say what this program is, what it runs on and what it knows
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print what the compiled CUDA kernels take of a GPU instead
    #[arg(long)]
    kernels: bool,

    /// With --weights: print what that network is instead, its layers, shapes and preprocessing
    #[command(flatten)]
    source: Source,
}

#[derive(Serialize)]
struct Info {
    version: &'static str,
    commit: &'static str,
    arithmetic_version: u32,
    platform: &'static str,
    rustc: &'static str,
    processor: Option<String>,
    threads: usize,
    /// What `--simd auto` takes.
    simd: String,
    simd_available: Vec<String>,
    memory_bytes: Option<u64>,
    /// What `--device` takes here.
    devices: Vec<String>,
    gpus: Vec<GpuInfo>,
    /// Why there is no GPU, if there is none.
    no_gpu: Option<String>,
    /// Whether this build has the CUDA kernels, for what, and how to get them.
    kernels: &'static str,
    networks: Vec<NetworkInfo>,
    /// Names of the layer lists: networks whose weights can be brought.
    layer_lists: Vec<&'static str>,
    presets: Vec<Config>,
    /// `PAREIDOLIA_DATA`, if it is set.
    data: Option<PathBuf>,
    data_found: bool,
}

/// A GPU, as its driver and as NVML see it.
#[derive(Serialize)]
struct GpuInfo {
    #[serde(flatten)]
    device: Device,
    nvml: Option<Nvml>,
    /// Why it says nothing more, if it does not.
    no_nvml: Option<String>,
}

/// What NVML says.
#[derive(Serialize)]
struct Nvml {
    #[serde(flatten)]
    facts: Facts,
    /// At this moment.
    now: Sample,
    /// Since the driver was loaded.
    energy_joules: Option<f64>,
}

#[derive(Serialize)]
struct NetworkInfo {
    name: String,
    weights: &'static str,
    sha256: String,
    classes: usize,
    /// As the metadata of the weights say.
    test_accuracy: Option<String>,
}

impl Args {
    /// Prints it.
    ///
    /// # Errors
    /// If standard output takes no more, or the network of --weights cannot be read.
    pub fn run(self) -> Result<()> {
        if self.source.files() != Files::default() {
            let network = self.source.network()?;
            super::warn_of_random(&network);
            return super::print(&layers::report(&network, self.json)?);
        }
        if self.kernels {
            return super::print(&kernels_text(self.json)?);
        }
        let info = Info::gather()?;
        super::print(&if self.json { super::json(&info)? } else { info.to_text() })
    }
}

impl GpuInfo {
    fn of(device: Device) -> GpuInfo {
        let (nvml, no_nvml) = match Gpu::open(&device) {
            Ok(gpu) => {
                let (facts, now, energy_joules) = (gpu.facts().clone(), gpu.sample(), gpu.energy_joules());
                (Some(Nvml { facts, now, energy_joules }), None)
            }
            Err(why) => (None, Some(why)),
        };
        GpuInfo { device, nvml, no_nvml }
    }

    /// What NVML says, in lines.
    fn nvml_text(&self) -> Vec<String> {
        let Some(Nvml { facts, now, .. }) = &self.nvml else { return self.no_nvml.iter().cloned().collect() };
        fn text<T>(value: Option<T>, text: impl Fn(T) -> String) -> String {
            value.map_or_else(|| "unknown".into(), text)
        }
        let mhz = |clock: Option<u32>, max| {
            format!("{} of {}", text(clock, |mhz| mhz.to_string()), text(max, |mhz: u32| format!("{mhz} MHz")))
        };
        let held = text(now.throttle_reasons.as_ref(), |reasons| match &reasons[..] {
            [] => "held down by nothing".into(),
            reasons => format!("held down by {}", reasons.join(", ")),
        });
        vec![
            format!(
                "driver {}, NVML {}, {}{}",
                text(facts.driver_version.as_ref(), String::clone),
                text(facts.nvml_version.as_ref(), String::clone),
                text(facts.uuid.as_ref(), String::clone),
                if facts.is_part { ", a part of a GPU: power, clocks and heat are of the whole" } else { "" }
            ),
            format!(
                "now {} of {}, {}, {} of memory in use",
                text(now.power_watts, |watts| format!("{watts:.0}")),
                text(facts.power_limit_watts, |watts| format!("{watts:.0} W")),
                text(now.temperature_c, |degrees| format!("{degrees} degrees Celsius")),
                text(now.memory_used_bytes, bytes_text)
            ),
            format!(
                "clocks {}, of the memory {}, {held}",
                mhz(now.sm_clock_mhz, facts.max_sm_clock_mhz),
                mhz(now.memory_clock_mhz, facts.max_memory_clock_mhz)
            ),
        ]
    }
}

impl NetworkInfo {
    fn embedded_lenet() -> Result<NetworkInfo> {
        let network = Network::embedded_lenet(None)?;
        let notes = SafeTensors::read_metadata(lenet::WEIGHTS).ok().and_then(|(_, header)| header.metadata().clone());
        Ok(NetworkInfo {
            name: network.name,
            weights: "built in",
            sha256: network.sha256,
            classes: network.classes.len(),
            test_accuracy: notes.and_then(|mut notes| notes.remove("test_accuracy")),
        })
    }
}

impl Info {
    fn gather() -> Result<Info> {
        let data = std::env::var_os("PAREIDOLIA_DATA").map(PathBuf::from);
        let presets = Preset::value_variants()
            .iter()
            .flat_map(|&preset| Flavour::value_variants().iter().map(move |&flavour| Config::preset(preset, flavour)))
            .collect();
        let (gpus, no_gpu) = match device::list() {
            Ok(gpus) => (gpus.into_iter().map(GpuInfo::of).collect(), None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        Ok(Info {
            version: version::VERSION,
            commit: version::COMMIT,
            arithmetic_version: ARITHMETIC_VERSION,
            platform: version::TARGET,
            rustc: version::RUSTC,
            processor: telemetry::processor(),
            threads: super::threads(None),
            simd: Simd::detect().to_string(),
            simd_available: Simd::available().iter().map(Simd::to_string).collect(),
            memory_bytes: telemetry::physical_memory(),
            devices: std::iter::once("cpu".to_string())
                .chain(gpus.iter().map(|gpu: &GpuInfo| gpu.device.id()))
                .collect(),
            gpus,
            no_gpu,
            kernels: kernels::BUILT,
            networks: vec![NetworkInfo::embedded_lenet()?],
            layer_lists: List::names().collect(),
            presets,
            data_found: data.as_ref().is_some_and(|path| path.is_dir()),
            data,
        })
    }

    fn to_text(&self) -> String {
        let unknown = || "unknown".to_string();
        let memory =
            self.memory_bytes.map_or_else(unknown, |bytes| format!("{:.1} GiB", bytes as f64 / (1 << 30) as f64));
        let data = match &self.data {
            None => "PAREIDOLIA_DATA is not set".to_string(),
            Some(path) if self.data_found => path.display().to_string(),
            Some(path) => format!("{} (PAREIDOLIA_DATA) is not there", path.display()),
        };
        let mut lines = vec![
            ("pareidolia", format!("{} ({})", self.version, self.commit)),
            ("arithmetic", format!("version {}", self.arithmetic_version)),
            ("built", format!("{}, {}", self.platform, self.rustc)),
            ("processor", format!("{}, {} threads", self.processor.clone().unwrap_or_else(unknown), self.threads)),
            ("vectors", format!("{} (of {})", self.simd, self.simd_available.join(", "))),
            ("memory", memory),
            ("devices", self.devices.join(", ")),
        ];
        for gpu in &self.gpus {
            lines.push(("GPU", gpu.device.to_string()));
            lines.extend(gpu.nvml_text().into_iter().map(|text| ("", text)));
        }
        lines.extend(self.no_gpu.iter().map(|why| ("GPU", format!("none: {why}"))));
        lines.extend([("kernels", self.kernels.to_string())]);
        for network in &self.networks {
            let NetworkInfo { name, weights, sha256, classes, test_accuracy } = network;
            let accuracy = test_accuracy.as_ref().map_or_else(unknown, String::clone);
            lines.push(("network", format!("{name}, {classes} classes, weights {weights}, test accuracy {accuracy}")));
            lines.push(("", format!("SHA-256 {sha256}")));
        }
        lines.push(("layer lists", self.layer_lists.join(", ")));
        lines.extend(self.presets.iter().map(|preset| ("preset", describe(preset))));
        lines.push(("data", data));
        lines.iter().map(|(what, text)| format!("{what:<11} {text}\n")).collect()
    }
}

/// What each kernel takes, as a table or as JSON.
fn kernels_text(json: bool) -> Result<String> {
    #[derive(Serialize)]
    struct Answer {
        built: &'static str,
        minimum_driver: Option<&'static str>,
        #[serde(flatten)]
        report: Option<Report>,
    }
    let report = kernels::report();
    if json {
        let minimum_driver = report.as_ref().map(|_| kernels::DRIVER_RELEASE);
        return super::json(&Answer { built: kernels::BUILT, minimum_driver, report });
    }
    Ok(format!("{}\n{}", kernels::BUILT, report.as_ref().map_or_else(String::new, kernels_table)))
}

fn kernels_table(report: &Report) -> String {
    let mut text = format!(
        "\n{:<27} {:<8} {:>9} {:>6} {:>6} {:>7} {:>8} {:>7} {:>9} {:>9}\n",
        "kernel", "for", "registers", "spills", "stack", "shared", "constant", "threads", "blocks/SM", "occupancy"
    );
    for one in &report.kernels {
        let Resources { kernel, architecture, registers, stack_bytes, shared_bytes, constant_bytes, .. } = one;
        let spills = one.spill_store_bytes + one.spill_load_bytes;
        let threads = one.max_threads.map_or("-".into(), |threads| threads.to_string());
        let (blocks, occupancy) = one.occupancy().map_or(("-".into(), "-".into()), |(blocks, share)| {
            (blocks.to_string(), format!("{:.0} %", 100.0 * share))
        });
        text += &format!(
            "{kernel:<27} {architecture:<8} {registers:>9} {spills:>6} {stack_bytes:>6} {shared_bytes:>7} {constant_bytes:>8} \
             {threads:>7} {blocks:>9} {occupancy:>9}\n"
        );
    }
    text += "\nRegisters and stack are a thread's, shared memory (what a launch adds is not counted) and threads a block's; sizes are in \
             bytes.\n";
    text
}

/// A preset and its main numbers, in a line.
fn describe(config: &Config) -> String {
    let canvas = if config.preset.is_imagenet() { "256x256 colour" } else { "28x28 grey" };
    let rules = match config.encoding() {
        Encoding::Direct(rules) => {
            let crossover = match rules.crossover {
                Crossover::AsCoded => "SBX as coded",
                Crossover::Repaired => "SBX repaired",
                Crossover::None => "no crossover",
            };
            format!("{crossover}, mutation rate {}", rules.mutation_rate)
        }
        Encoding::Cppn(rules) => {
            let (nodes, edges) = (rules.max_nodes, rules.max_edges);
            let range = if rules.normalise { "from -1 to 1" } else { "in pixels" };
            format!("x and y {range}, at most {nodes} nodes and {edges} edges")
        }
    };
    format!(
        "{:<15} {:<8} {canvas}, batch {}, {} generations; {rules}",
        name_of(config.preset),
        name_of(config.flavour),
        config.batch,
        config.generations,
    )
}
