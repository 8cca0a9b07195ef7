//! `pareidolia import`: weights from elsewhere.

use crate::error::{Error, Result};
use crate::import::{self, n_layers, n_parameters};
use crate::network::list::List;
use crate::network::weights::{MAX_FILE_BYTES, read_bounded, read_class_names};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use tracing::{info, warn};

/// Bring weights from Caffe, PyTorch or ONNX into a weights file
///
/// Takes a Caffe model (.caffemodel, of any version); torchvision's AlexNet, SqueezeNet 1.0 or GoogLeNet as a state dict (.pth of any
/// version, or .safetensors), batch normalisation folded into the convolutions; or an ONNX model as in the ONNX Model Zoo (bvlc_alexnet,
/// caffenet, googlenet, squeezenet). What kind a file is shows in its bytes; its name does not matter. Nothing in it is executed.
///
/// Each layer, name and shape is compared with the network's layer list, and what does not fit is said by name. weights/README.md says where
/// such files are.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to import, of at most a gibibyte
    #[arg(value_name = "SOURCE")]
    source: PathBuf,

    /// The weights file to write; it must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Layer list: one that the program has, or a TOML file [default: the one that fits]
    #[arg(long, value_name = "NAME|FILE")]
    network: Option<PathBuf>,

    /// Mean image to subtract from every image: Caffe's .binaryproto, or a safetensors file [default: the layer list's mean]
    #[arg(long, value_name = "FILE")]
    mean: Option<PathBuf>,

    /// Names of the classes, one a line [default: their numbers]
    #[arg(long, value_name = "FILE")]
    class_names: Option<PathBuf>,
}

impl Args {
    /// Imports.
    ///
    /// # Errors
    /// What is wrong with a file, or that the weights file could not be written.
    pub fn run(self) -> Result<()> {
        if self.out.exists() {
            return Err(Error::Usage(format!("{} exists; --out names a file that does not", self.out.display())));
        }
        let list = self.network.as_deref().map(List::find).transpose()?;
        let bytes = read_bounded(&self.source, MAX_FILE_BYTES)?;
        let mut imported = import::read(&self.source, &bytes, list.as_ref())?;
        let network = &mut imported.network;
        let mut notes = vec![
            ("source", self.source.file_name().unwrap_or_default().to_string_lossy().into_owned()),
            ("source_format", imported.format.name().to_string()),
            ("source_sha256", sha256(&bytes)),
        ];
        drop(bytes);
        if let Some(mean) = &self.mean {
            let bytes = read_bounded(mean, MAX_FILE_BYTES)?;
            import::read_mean(mean, &bytes, network)?;
            notes.push(("mean_source_sha256", sha256(&bytes)));
        }
        if let Some(names) = &self.class_names {
            network.classes = read_class_names(names, network.classes.len())?;
        }
        for note in &imported.notes {
            warn!("{note}");
        }
        if !imported.dropped.is_empty() {
            info!("left out, for training only: {}", imported.dropped.join(", "));
        }
        network.save(&self.out, &notes)?;
        super::print(&format!(
            "{}: {}, {} layers with {} parameters; {} classes, input {} {}\n{}\n",
            imported.format.name(),
            network.name,
            n_layers(network),
            n_parameters(network),
            network.classes.len(),
            network.preprocess.channel_order,
            network.input,
            self.out.display()
        ))
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
