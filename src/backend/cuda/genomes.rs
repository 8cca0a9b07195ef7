//! Genomes on the device, in slots of one size: those of a chunk, and those of the elites.

use super::launcher::{Launcher, Reader, check_len};
use super::params::{CppnEdge, CppnRules, CppnSize, node_stride};
use crate::backend::Job;
use crate::error::Result;
use crate::genome::cppn::{Activation, Graph};
use crate::genome::{Encoding, Genome};
use cudarc::driver::CudaSlice;

/// Genomes in slots.
#[derive(Debug)]
pub enum Genomes {
    Direct(DirectSlots),
    Cppn(CppnSlots),
}

/// Direct genomes.
#[derive(Debug)]
pub struct DirectSlots {
    pub n_genes: usize,
    /// `(slots, n_genes)`
    pub genes: CudaSlice<f32>,
}

/// CPPNs, each in a slot as large as the capacity.
#[derive(Debug)]
pub struct CppnSlots {
    pub max_nodes: u32,
    pub max_edges: u32,
    pub n_outputs: usize,
    /// `(slots)`
    pub sizes: CudaSlice<CppnSize>,
    /// Activation indices, `(slots, node_stride(max_nodes))`.
    pub activations: CudaSlice<u8>,
    /// `(slots, max_edges)`
    pub edges: CudaSlice<CppnEdge>,
}

impl Genomes {
    /// `slots` empty slots for genomes of `job`.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver) if there is no room.
    pub fn new(launcher: &Launcher, job: &Job, slots: usize) -> Result<Genomes> {
        Ok(match &job.encoding {
            Encoding::Direct(_) => Genomes::Direct(DirectSlots::new(launcher, job.canvas.len(), slots)?),
            Encoding::Cppn(rules) => {
                Genomes::Cppn(CppnSlots::new(launcher, &CppnRules::new(rules, job.canvas.channels), slots)?)
            }
        })
    }

    /// Bytes of a slot for a genome of `job`.
    pub fn slot_bytes(job: &Job) -> usize {
        match &job.encoding {
            Encoding::Direct(_) => job.canvas.len() * size_of::<f32>(),
            Encoding::Cppn(rules) => {
                let edges = rules.max_edges as usize * size_of::<CppnEdge>();
                size_of::<CppnSize>() + node_stride(rules.max_nodes) + edges
            }
        }
    }

    /// The genomes in the slots `at`, which ascend: all from the first to the last come over, in one copy a buffer.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver).
    pub fn get(&self, reader: Reader, at: &[usize]) -> Result<Vec<Genome>> {
        Ok(match self {
            Genomes::Direct(slots) => slots.get(reader, at)?.into_iter().map(Genome::Direct).collect(),
            Genomes::Cppn(slots) => slots.get(reader, at)?.into_iter().map(Genome::Cppn).collect(),
        })
    }

    /// Puts `genome` into slot `at`.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver).
    ///
    /// # Panics
    /// If it is of the other encoding, or does not fit.
    pub fn set(&mut self, launcher: &Launcher, at: usize, genome: &Genome) -> Result<()> {
        match (self, genome) {
            (Genomes::Direct(slots), Genome::Direct(genes)) => slots.set(launcher, at, genes),
            (Genomes::Cppn(slots), Genome::Cppn(graph)) => slots.set(launcher, at, graph),
            _ => unreachable!("an archive has one encoding"),
        }
    }
}

impl DirectSlots {
    /// `slots` slots of `n_genes` genes.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver) if there is no room.
    pub fn new(launcher: &Launcher, n_genes: usize, slots: usize) -> Result<DirectSlots> {
        Ok(DirectSlots { n_genes, genes: launcher.zeros(slots * n_genes)? })
    }

    /// The genes in the slots `at`, as [`Genomes::get`].
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver).
    pub fn get(&self, reader: Reader, at: &[usize]) -> Result<Vec<Vec<f32>>> {
        reader.slots(&self.genes, self.n_genes, at)
    }

    /// Puts `genes` into slot `at`.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver).
    ///
    /// # Panics
    /// If they do not fill it.
    pub fn set(&mut self, launcher: &Launcher, at: usize, genes: &[f32]) -> Result<()> {
        assert_eq!(genes.len(), self.n_genes);
        launcher.upload_part(&mut self.genes, at * self.n_genes, genes)
    }
}

impl CppnSlots {
    /// `slots` slots of the capacity of `rules`.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver) if there is no room.
    pub fn new(launcher: &Launcher, rules: &CppnRules, slots: usize) -> Result<CppnSlots> {
        Ok(CppnSlots {
            max_nodes: rules.max_nodes,
            max_edges: rules.max_edges,
            n_outputs: rules.n_outputs as usize,
            sizes: launcher.zeros(slots)?,
            activations: launcher.zeros(slots * node_stride(rules.max_nodes))?,
            edges: launcher.zeros(slots * rules.max_edges as usize)?,
        })
    }

    /// Checks that these, which `what` are, have at least `slots` slots.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::error::Error::Shape).
    ///
    /// # Panics
    /// If they are of another capacity than `rules`, or of other outputs.
    pub(super) fn check(&self, what: &'static str, slots: usize, rules: &CppnRules) -> Result<()> {
        let CppnRules { max_nodes, max_edges, n_outputs, .. } = *rules;
        assert_eq!(
            (self.max_nodes, self.max_edges, self.n_outputs),
            (max_nodes, max_edges, n_outputs as usize),
            "{what}"
        );
        check_len(what, &self.sizes, slots)?;
        check_len(what, &self.activations, slots * node_stride(max_nodes))?;
        check_len(what, &self.edges, slots * max_edges as usize)
    }

    /// The genomes in the slots `at`, as [`Genomes::get`].
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver).
    pub fn get(&self, reader: Reader, at: &[usize]) -> Result<Vec<Graph>> {
        let sizes = reader.slots(&self.sizes, 1, at)?;
        let activations = reader.slots(&self.activations, node_stride(self.max_nodes), at)?;
        let edges = reader.slots(&self.edges, self.max_edges as usize, at)?;
        let graph = |((size, activations), edges): ((Vec<CppnSize>, Vec<u8>), Vec<CppnEdge>)| {
            let activations = activations[..size[0].n_nodes as usize].iter();
            Graph {
                n_outputs: self.n_outputs,
                activations: activations.map(|&index| Activation::ALL[usize::from(index)]).collect(),
                edges: edges[..size[0].n_edges as usize].iter().map(|&edge| edge.into()).collect(),
            }
        };
        Ok(sizes.into_iter().zip(activations).zip(edges).map(graph).collect())
    }

    /// Puts `graph` into slot `at`.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver).
    ///
    /// # Panics
    /// If it is larger than the capacity.
    pub fn set(&mut self, launcher: &Launcher, at: usize, graph: &Graph) -> Result<()> {
        let (n_nodes, n_edges) = (graph.n_nodes() as u32, graph.edges.len() as u32);
        assert!(n_nodes <= self.max_nodes && n_edges <= self.max_edges, "{n_nodes} nodes, {n_edges} edges");
        let activations: Vec<u8> = graph.activations.iter().map(|&activation| activation as u8).collect();
        let edges: Vec<CppnEdge> = graph.edges.iter().map(|&edge| edge.into()).collect();
        launcher.upload_part(&mut self.sizes, at, &[CppnSize { n_nodes, n_edges }])?;
        launcher.upload_part(&mut self.activations, at * node_stride(self.max_nodes), &activations)?;
        launcher.upload_part(&mut self.edges, at * self.max_edges as usize, &edges)
    }
}
