//! The self-test: every kernel against the CPU, bit for bit, on the device that is there; then short runs, whose archive hashes must
//! be the CPU's and the recorded ones, and a network in which each operation is. Of a CPU: every set of vector instructions.
//!
//! One file a step, with its cases, what the host makes of them and the comparison. tests/cuda runs the same tables whole.

pub mod add;
pub mod add_bands;
pub mod ascent;
pub mod ascent_cppn;
pub mod average_crops;
pub mod backward;
pub mod blur;
pub mod cases;
pub mod climb;
pub mod clip;
pub mod combine;
pub mod compile_cppn;
pub mod conv2d;
pub mod conv2d_backward;
pub mod conv2d_images;
pub mod conv2d_weight_gradient;
pub mod copy;
pub mod cpu;
pub mod cross_entropy;
pub mod dense;
pub mod dense_weight_gradient;
pub mod depth_to_space;
pub mod draw_cppn;
pub mod draw_cppn_backward;
pub mod dropout;
pub mod elementary;
pub mod gpu;
pub mod graphs;
pub mod insert;
pub mod layers;
pub mod lenet;
pub mod look;
pub mod look_cppn;
pub mod lrn;
pub mod lrn_backward;
pub mod network;
pub mod niche_argmax;
pub mod peak;
pub mod pool;
pub mod pool_backward;
pub mod randomise_cppn;
pub mod randomise_direct;
pub mod relu_backward;
pub mod render_cppn;
pub mod render_direct;
pub mod report;
pub mod runs;
pub mod select;
pub mod sgd_update;
pub mod softmax;
pub mod softmax_backward;
pub mod tally;
pub mod train;
pub mod turn_weights;
pub mod vary_cppn;
pub mod vary_direct;
pub mod zero_pixels;

use super::config::name_of;
use super::device::{Asked, Chosen};
use crate::archive::ARITHMETIC_VERSION;
use crate::backend::cuda::{CudaBackend, Launcher};
use crate::backend::{Backend, Job};
use crate::error::{Error, Result};
use crate::network::Network;
use crate::simd::Simd;
use crate::{kernels, version};
use cases::Extent;
use gpu::Gpu;
use report::{Check, Report};
use std::sync::Arc;
use std::time::Instant;
use tally::Tally;

/// One call of `selftest`, checked.
#[derive(Clone, Debug)]
pub struct Request {
    pub device: Asked,
    /// A few cases of each table.
    pub quick: bool,
    /// Parts of the names of checks; none for all checks.
    pub names: Vec<String>,
}

/// Tries a kernel or a run.
type Try = Box<dyn Fn(&mut Tally) -> Result<()>>;

/// Tries runs on the backends that are made for them.
type TryRuns = Box<dyn Fn(&mut Tally, &runs::Make) -> Result<()>>;

/// Something to be tried.
struct Planned {
    name: String,
    compared: &'static str,
    run: Try,
}

/// How a kernel is tried.
type TryKernel = fn(&Gpu, Extent, &mut Tally) -> Result<()>;

/// Every kernel of kernels/ by its name, in the order of the steps, and what is compared.
pub const KERNELS: [(&str, &str, TryKernel); 65] = [
    ("elementary_f32", "functions at their edges, and a sample of all 2^32 inputs", elementary::elementary),
    ("randomise_direct_f32", "genes", randomise_direct::randomise_direct),
    ("randomise_cppn_f32", "genomes, and what lies beyond them", randomise_cppn::randomise_cppn),
    ("select_u32", "pairs", select::select),
    ("vary_direct_f32", "genes of the children", vary_direct::vary_direct),
    ("vary_cppn_f32", "children, and operators skipped", vary_cppn::vary_cppn),
    ("render_direct_u8", "pixels", render_direct::render_direct),
    ("compile_cppn_f32", "programs", compile_cppn::compile_cppn),
    ("render_cppn_u8", "pixels", render_cppn::render_cppn),
    ("lenet_features_f32", "features", |gpu, extent, tally| lenet::features(gpu, extent, tally, "lenet_features_f32")),
    ("lenet_features_few_f32", "features", |gpu, extent, tally| {
        lenet::features(gpu, extent, tally, "lenet_features_few_f32")
    }),
    ("lenet_probabilities_f32", "probabilities", |gpu, extent, tally| {
        lenet::probabilities(gpu, extent, tally, "lenet_probabilities_f32")
    }),
    ("lenet_probabilities_some_f32", "probabilities", |gpu, extent, tally| {
        lenet::probabilities(gpu, extent, tally, "lenet_probabilities_some_f32")
    }),
    ("lenet_probabilities_few_f32", "probabilities", |gpu, extent, tally| {
        lenet::probabilities(gpu, extent, tally, "lenet_probabilities_few_f32")
    }),
    ("conv2d_images_96_f32", "sums", |gpu, extent, tally| {
        conv2d_images::conv2d_images(gpu, extent, tally, "conv2d_images_96_f32")
    }),
    ("conv2d_images_64_f32", "sums", |gpu, extent, tally| {
        conv2d_images::conv2d_images(gpu, extent, tally, "conv2d_images_64_f32")
    }),
    ("conv2d_images_few_f32", "sums", |gpu, extent, tally| {
        conv2d_images::conv2d_images(gpu, extent, tally, "conv2d_images_few_f32")
    }),
    ("conv2d_128_f32", "sums", |gpu, extent, tally| conv2d::conv2d(gpu, extent, tally, "conv2d_128_f32")),
    ("conv2d_96_f32", "sums", |gpu, extent, tally| conv2d::conv2d(gpu, extent, tally, "conv2d_96_f32")),
    ("conv2d_64_f32", "sums", |gpu, extent, tally| conv2d::conv2d(gpu, extent, tally, "conv2d_64_f32")),
    ("conv2d_32_f32", "sums", |gpu, extent, tally| conv2d::conv2d(gpu, extent, tally, "conv2d_32_f32")),
    ("conv2d_few_f32", "sums", |gpu, extent, tally| conv2d::conv2d(gpu, extent, tally, "conv2d_few_f32")),
    ("max_pool_f32", "largest values", pool::max_pool),
    ("average_pool_f32", "averages", pool::average_pool),
    ("lrn_f32", "normalised values", lrn::alone),
    ("max_pool_lrn_f32", "largest values, normalised", lrn::after_max_pool),
    ("lrn_max_pool_f32", "largest of normalised values", lrn::before_max_pool),
    ("dense_f32", "sums", |gpu, extent, tally| dense::dense(gpu, extent, tally, "dense_f32")),
    ("dense_some_f32", "sums", |gpu, extent, tally| dense::dense(gpu, extent, tally, "dense_some_f32")),
    ("dense_few_f32", "sums", |gpu, extent, tally| dense::dense(gpu, extent, tally, "dense_few_f32")),
    ("softmax_f32", "probabilities", |gpu, extent, tally| softmax::softmax(gpu, extent, tally).map(drop)),
    ("average_crops_f32", "means", |gpu, extent, tally| average_crops::average_crops(gpu, extent, tally).map(drop)),
    ("combine_f32", "joined probabilities", |gpu, extent, tally| combine::combine(gpu, extent, tally).map(drop)),
    ("preprocess_f32", "pixels as a network sees them", conv2d_images::preprocess),
    ("copy_f32", "values", copy::copy),
    ("softmax_backward_f32", "gradients", softmax_backward::softmax_backward),
    ("relu_backward_f32", "gradients", relu_backward::relu_backward),
    ("max_pool_backward_f32", "gradients", pool_backward::max_pool),
    ("average_pool_backward_f32", "gradients", pool_backward::average_pool),
    ("lrn_backward_f32", "gradients", lrn_backward::lrn_backward),
    ("depth_to_space_f32", "values", depth_to_space::depth_to_space),
    ("add_f32", "sums", add::add),
    ("clip_f32", "images, and as the network takes them", clip::clip),
    ("look_f32", "probabilities, norms, rates", look::look),
    ("climb_f32", "images", climb::climb),
    ("blur_f32", "images", blur::blur),
    ("zero_pixels_f32", "images", zero_pixels::zero_pixels),
    ("draw_cppn_f32", "what a network takes of drawings", |gpu, extent, tally| {
        draw_cppn::draw_cppn(gpu, extent, tally).map(drop)
    }),
    ("look_cppn_f32", "probabilities, most probable classes", look_cppn::look_cppn),
    ("draw_cppn_backward_f32", "gradients of weights, by band", |gpu, extent, tally| {
        draw_cppn_backward::draw_cppn_backward(gpu, extent, tally).map(drop)
    }),
    ("add_bands_f32", "gradients of weights", add_bands::add_bands),
    ("cross_entropy_f32", "gradients, probabilities", cross_entropy::cross_entropy),
    ("conv2d_weight_gradient_f32", "accumulators", |gpu, extent, tally| {
        conv2d_weight_gradient::conv2d_weight_gradient(gpu, extent, tally, "conv2d_weight_gradient_f32")
    }),
    ("conv2d_weight_gradient_some_f32", "accumulators", |gpu, extent, tally| {
        conv2d_weight_gradient::conv2d_weight_gradient(gpu, extent, tally, "conv2d_weight_gradient_some_f32")
    }),
    ("conv2d_weight_gradient_few_f32", "accumulators", |gpu, extent, tally| {
        conv2d_weight_gradient::conv2d_weight_gradient(gpu, extent, tally, "conv2d_weight_gradient_few_f32")
    }),
    ("dense_weight_gradient_f32", "gradients", dense_weight_gradient::dense_weight_gradient),
    ("dropout_f32", "values", dropout::dropout),
    ("sgd_update_f32", "weights, velocities", sgd_update::sgd_update),
    ("turn_weights_f32", "weights", turn_weights::turn_weights),
    ("niche_argmax_direct_f32", "winners, and all elites", |gpu, extent, tally| {
        niche_argmax::direct(gpu, extent, tally).map(drop)
    }),
    ("niche_argmax_cppn_f32", "winners, and all elites", |gpu, extent, tally| {
        niche_argmax::cppn(gpu, extent, tally).map(drop)
    }),
    ("insert_u64", "counters, hashes, runs, elites", insert::insert),
    ("peak_fma_f32", "rests of chains", peak::fma),
    ("peak_read_u32", "sums", peak::read),
    ("peak_copy_u32", "words", peak::copy),
];

/// Tries what `request` asks for; `begin` is told of the report before the first check, `done` of each check when it is done.
///
/// # Errors
/// [`Error::Usage`] for a name that no check has; [`Error::NoDevice`] if a GPU is asked for that cannot be used. What a check finds
/// is in the report.
pub fn run(
    request: &Request,
    begin: &mut dyn FnMut(&Report) -> Result<()>,
    done: &mut dyn FnMut(&Check) -> Result<()>,
) -> Result<Report> {
    let clock = Instant::now();
    let chosen = Chosen::choose(request.device, &Network::embedded_lenet(None)?)?;
    let extent = if request.quick { Extent::Quick } else { Extent::Usual };
    let launcher = chosen.on_gpu().map(|(_, launcher)| Arc::clone(launcher));
    let planned = match &launcher {
        Some(launcher) => on_gpu(launcher, &chosen.name(), extent),
        None => on_cpu(extent),
    };
    let mut planned = choose(planned, &request.names)?.into_iter();
    let mut report = Report {
        version: version::VERSION.to_string(),
        commit: version::COMMIT.to_string(),
        arithmetic_version: ARITHMETIC_VERSION,
        kernels: kernels::BUILT.to_string(),
        device: chosen.name(),
        device_reason: chosen.reason.clone(),
        quick: request.quick,
        seconds: 0.0,
        checks: Vec::new(),
        not_tried: Vec::new(),
        passed: false,
    };
    begin(&report)?;
    for Planned { name, compared, run } in planned.by_ref() {
        let mut tally = Tally::default();
        let failure = run(&mut tally).err().map(|error| error.to_string());
        let failed = failure.is_some();
        let check = Check::new(&name, compared, tally, failure);
        done(&check)?;
        report.checks.push(check);
        // A device that has failed fails at everything from then on; what was refused for want of room is no such failure.
        if failed && launcher.as_ref().is_some_and(|launcher| launcher.synchronise().is_err()) {
            break;
        }
    }
    report.not_tried = planned.map(|planned| planned.name).collect();
    report.passed = report.not_tried.is_empty() && report.bad().is_empty();
    report.seconds = clock.elapsed().as_secs_f64();
    Ok(report)
}

/// Those of `planned` whose names have one of `names` in them.
fn choose(mut planned: Vec<Planned>, names: &[String]) -> Result<Vec<Planned>> {
    let is_asked_for = |planned: &Planned, name: &String| planned.name.contains(name.as_str());
    if let Some(unknown) = names.iter().find(|name| !planned.iter().any(|planned| is_asked_for(planned, name))) {
        let known: Vec<&str> = planned.iter().map(|planned| planned.name.as_str()).collect();
        return Err(Error::Usage(format!(
            "selftest: no check on this device has {unknown:?} in its name; there are: {}",
            known.join(", ")
        )));
    }
    planned.retain(|planned| names.is_empty() || names.iter().any(|name| is_asked_for(planned, name)));
    Ok(planned)
}

/// The name of a recorded run.
fn run_name(recorded: &runs::Recorded) -> String {
    format!("run-{}-{}", name_of(recorded.preset), name_of(recorded.flavour))
}

/// Every kernel, then runs.
fn on_gpu(launcher: &Arc<Launcher>, device: &str, extent: Extent) -> Vec<Planned> {
    let mut planned = Vec::new();
    for (name, compared, run) in KERNELS {
        let launcher = Arc::clone(launcher);
        let run: Try = Box::new(move |tally| run(&Gpu { launcher: &launcher }, extent, tally));
        planned.push(Planned { name: name.to_string(), compared, run });
    }
    let mut add = |name: String, compared, run: TryRuns| {
        let (launcher, device) = (Arc::clone(launcher), device.to_string());
        let run: Try = Box::new(move |tally| {
            let make = |job: Job, chunk: u32| -> Result<Box<dyn Backend>> {
                Ok(Box::new(CudaBackend::new(job, Arc::clone(&launcher), device.clone(), chunk)?))
            };
            run(tally, &make)
        });
        planned.push(Planned { name, compared, run });
    };
    for recorded in &runs::RECORDED {
        let run: TryRuns = Box::new(move |tally, make| runs::one(tally, recorded, extent, make));
        add(run_name(recorded), "archive with the CPU's, hash as recorded", run);
    }
    let series: TryRuns = Box::new(move |tally, make| runs::series(tally, &runs::RECORDED_SERIES, extent, 36, make));
    add("run-series".into(), "archives with the CPU's, hashes as recorded", series);
    let resumed: TryRuns = Box::new(move |tally, make| runs::resumed(tally, &runs::RECORDED[3], extent, make));
    add("run-resumed".into(), "from a checkpoint of the CPU: archive with the CPU's, hash as recorded", resumed);
    let whole: [(&str, &str, TryKernel); 5] = [
        ("run-network", "probabilities with the CPU's", network::run),
        ("run-gradients", "probabilities and gradients with the formulas, one number at a time", backward::run),
        ("run-ascent", "what each step saw, and images, likewise", ascent::run),
        ("run-training", "losses, weights and velocities, likewise", train::run),
        ("run-ascent-cppn", "what each step saw, genes and drawings with the CPU's", ascent_cppn::run),
    ];
    for (name, compared, run) in whole {
        let launcher = Arc::clone(launcher);
        let run: Try = Box::new(move |tally| run(&Gpu { launcher: &launcher }, extent, tally));
        planned.push(Planned { name: name.to_string(), compared, run });
    }
    planned
}

/// Every step and recorded run on every set of vector instructions.
fn on_cpu(extent: Extent) -> Vec<Planned> {
    let mut planned = Vec::new();
    for step in &cpu::STEPS {
        for simd in Simd::available().into_iter().filter(|&simd| step.vectors || simd == Simd::Plain) {
            let compared = match simd {
                Simd::Plain if step.name == "render-cppn" => "with the recorded digest, and a literal reference",
                Simd::Plain if step.recorded(extent).is_none() => "with the formulas, one number at a time",
                Simd::Plain => "with the recorded digest",
                _ => "with the plain path",
            };
            let run: Try = Box::new(move |tally| {
                step.run(simd, extent, tally);
                Ok(())
            });
            planned.push(Planned { name: format!("{}-{simd}", step.name), compared, run });
        }
    }
    for simd in Simd::available() {
        for recorded in &runs::RECORDED {
            let run: Try = Box::new(move |tally| cpu::run(simd, std::slice::from_ref(recorded), extent, tally));
            planned.push(Planned { name: format!("{}-{simd}", run_name(recorded)), compared: "hash as recorded", run });
        }
    }
    let run: Try = Box::new(move |tally| cpu::run(Simd::detect(), &runs::RECORDED_SERIES, extent, tally));
    planned.push(Planned { name: "run-series".into(), compared: "hashes as recorded", run });
    planned
}
