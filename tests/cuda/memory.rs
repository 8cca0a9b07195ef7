//! The memory that is planned is the memory that is taken, to the byte; and nothing is taken later.

use crate::evolution::job;
use crate::harness;
use pareidolia::backend::cuda::{CudaBackend, memory};
use pareidolia::backend::{Backend, Job};
use pareidolia::experiment::config::{Config, Flavour, Preset};
use pareidolia::genome::cppn::Rules;
use pareidolia::network::list::List;
use pareidolia::network::weights::Given;
use pareidolia::network::{Combine, Network};
use std::path::Path;
use std::sync::Arc;

/// Jobs of other sizes in every way that memory depends on.
fn jobs() -> Vec<(Job, u32)> {
    let direct = Config { batch: 50, ..Config::preset(Preset::MnistDirect, Flavour::Faithful) };
    let cppn = Config { batch: 30, ..Config::preset(Preset::MnistCppn, Flavour::Modern) };
    let small = Config { cppn: Some(Rules { max_nodes: 23, max_edges: 40, ..Rules::modern() }), ..cppn.clone() };
    let few = Config { classes: vec![2, 5], ..direct.clone() };
    let weights = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/weights"));
    let list = List::find(&weights.join("mnist-3x3.toml")).unwrap();
    let given = Given { list: Some(list), ..Given::default() };
    let three = Network::load_as(&weights.join("mnist-3x3.safetensors"), &given).unwrap();
    let two = Network::load(&weights.join("lenet-mnist-2.safetensors"), None).unwrap();
    let lenet = Network::embedded_lenet(None).unwrap();
    let network = Arc::new(Network::together(vec![lenet, three, two], Combine::Min).unwrap());
    let together = Job { network, ..job(&cppn, &[1, 2]) };
    vec![
        (together, 34),
        (Job { lineage: true, ..job(&few, &[1, 2, 3]) }, 30),
        (job(&direct, &[1]), 50),
        (job(&direct, &[1, 2, 3]), 34),
        (job(&few, &[1, 2]), 2),
        (job(&cppn, &[1]), 30),
        (job(&small, &[1, 2]), 16),
        (job(&few, &[9]), 1000),
    ]
}

#[test]
fn planned_memory_is_taken_to_the_byte_and_no_more_later() {
    for (job, chunk) in jobs() {
        let Some(launcher) = harness::own_launcher() else { return };
        let launcher = Arc::new(launcher);
        let planned = memory::memory(&job).total(chunk.min(job.candidates()));
        let mut backend = CudaBackend::new(job, Arc::clone(&launcher), "a device".into(), chunk).unwrap();
        assert_eq!(launcher.allocated(), planned, "chunk {chunk}: {:#?}", memory::memory(&jobs()[0].0));
        (0..4).for_each(|_| backend.generation().unwrap());
        let archive = backend.archive(0).unwrap();
        backend.restore(0, archive, 0).unwrap();
        (0..2).for_each(|_| backend.generation().unwrap());
        backend.counters().unwrap();
        assert_eq!(launcher.allocated(), planned, "chunk {chunk}: more was taken while it ran");
    }
}
