//! What a recorded generation sets going and moves, as the driver's own graph of it says.

use crate::error::{Error, Result};
use cudarc::driver::CudaGraph;
use cudarc::driver::sys::{self, CUDA_MEMCPY3D, CUdeviceptr, CUgraphNode, CUgraphNodeType, CUmemorytype, CUresult};
use serde::{Deserialize, Serialize};
use std::mem::MaybeUninit;

/// All nodes of a graph, counted; bytes of its copies by where they go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Kernels.
    pub launches: u64,
    pub copies: u64,
    /// From the host to the device.
    pub to_device_bytes: u64,
    /// From the device to the host.
    pub to_host_bytes: u64,
    /// From the device to itself, or from the host to itself.
    pub inside_bytes: u64,
    /// Nodes of any other type.
    pub others: u64,
}

/// What this reads of the driver's numbers. They are read as integers: a newer driver may have others than the enums hold.
const KERNEL: u32 = CUgraphNodeType::CU_GRAPH_NODE_TYPE_KERNEL as u32;
const MEMCPY: u32 = CUgraphNodeType::CU_GRAPH_NODE_TYPE_MEMCPY as u32;
const OF_HOST: u32 = CUmemorytype::CU_MEMORYTYPE_HOST as u32;
const UNIFIED: u32 = CUmemorytype::CU_MEMORYTYPE_UNIFIED as u32;

impl Traffic {
    /// That of one replay of `graph`.
    ///
    /// # Errors
    /// [`Error::Driver`] if the driver does not say what it holds.
    pub fn of(graph: &CudaGraph) -> Result<Traffic> {
        let mut traffic = Traffic::default();
        for node in nodes(graph).map_err(refused)? {
            let mut kind = u32::MAX;
            // SAFETY: a node of a living graph; an enum of the driver is as large as a u32.
            unsafe { sys::cuGraphNodeGetType(node, (&raw mut kind).cast()) }.result().map_err(refused)?;
            match kind {
                KERNEL => traffic.launches += 1,
                MEMCPY => traffic.add_copy(node)?,
                _ => traffic.others += 1,
            }
        }
        Ok(traffic)
    }

    fn add_copy(&mut self, node: CUgraphNode) -> Result<()> {
        let mut copy = MaybeUninit::<CUDA_MEMCPY3D>::zeroed();
        let at = copy.as_mut_ptr();
        // SAFETY: a copy's node of a living graph; the driver fills the struct, whose enums are read as the integers they are.
        let (bytes, from, to) = unsafe {
            sys::cuGraphMemcpyNodeGetParams(node, at).result().map_err(refused)?;
            let size = |field: *const usize| field.read() as u64;
            let bytes =
                size(&raw const (*at).WidthInBytes) * size(&raw const (*at).Height) * size(&raw const (*at).Depth);
            let of_host = |kind: *const CUmemorytype, device: *const CUdeviceptr| match kind.cast::<u32>().read() {
                UNIFIED => is_of_host(device.read()),
                kind => Ok(kind == OF_HOST),
            };
            (
                bytes,
                of_host(&raw const (*at).srcMemoryType, &raw const (*at).srcDevice)?,
                of_host(&raw const (*at).dstMemoryType, &raw const (*at).dstDevice)?,
            )
        };
        self.copies += 1;
        match (from, to) {
            (true, false) => self.to_device_bytes += bytes,
            (false, true) => self.to_host_bytes += bytes,
            _ => self.inside_bytes += bytes,
        }
        Ok(())
    }
}

/// Whether the memory at an address that both sides know is the host's. What the driver has not made is.
///
/// # Errors
/// [`Error::Driver`].
pub fn is_of_host(address: CUdeviceptr) -> Result<bool> {
    let mut kind = 0_u32;
    let what = sys::CUpointer_attribute::CU_POINTER_ATTRIBUTE_MEMORY_TYPE;
    // SAFETY: it writes the one number; any address may be asked for.
    match unsafe { sys::cuPointerGetAttribute((&raw mut kind).cast(), what, address) } {
        CUresult::CUDA_ERROR_INVALID_VALUE => Ok(true),
        answer => answer.result().map(|()| kind == OF_HOST).map_err(refused),
    }
}

fn nodes(graph: &CudaGraph) -> std::result::Result<Vec<CUgraphNode>, cudarc::driver::DriverError> {
    let mut n = 0;
    // SAFETY: the graph lives as long as `graph`; without a list it writes the number alone, and then as many as there is room for.
    unsafe {
        sys::cuGraphGetNodes(graph.cu_graph(), std::ptr::null_mut(), &mut n).result()?;
        let mut nodes = vec![std::ptr::null_mut(); n];
        if n > 0 {
            sys::cuGraphGetNodes(graph.cu_graph(), nodes.as_mut_ptr(), &mut n).result()?;
        }
        nodes.truncate(n);
        Ok(nodes)
    }
}

fn refused(source: cudarc::driver::DriverError) -> Error {
    Error::driver("ask what a recorded generation holds")(source)
}
