//! What a graph says of itself: its nodes, their types, what its copies move.

use super::execute::Op;
use super::{Driver, Handle, Result, Status, errors, give, in_context};
use std::ffi::{c_int, c_void};

/// Numbers of CUgraphNodeType.
const KERNEL: u32 = 0;
const MEMCPY: u32 = 1;
const MEMSET: u32 = 2;
const HOST: u32 = 3;
const EVENT_RECORD: u32 = 7;
const MEM_FREE: u32 = 11;

/// Numbers of CUmemorytype.
const OF_HOST: u32 = 1;
const OF_DEVICE: u32 = 2;

/// CU_POINTER_ATTRIBUTE_MEMORY_TYPE.
const MEMORY_TYPE: c_int = 2;

/// A node's handle holds its graph's and its place among the nodes, from 1 on, in so many bits.
const PLACE_BITS: u32 = 24;

/// CUDA_MEMCPY3D.
#[repr(C)]
pub struct Copy3d {
    source: Side,
    target: Side,
    width: usize,
    height: usize,
    depth: usize,
}

/// Where it copies from, or to.
#[repr(C)]
struct Side {
    x: usize,
    y: usize,
    z: usize,
    level: usize,
    memory_type: u32,
    host: usize,
    device: u64,
    array: usize,
    reserved: usize,
    pitch: usize,
    height: usize,
}

impl Side {
    fn of(memory_type: u32, address: usize, size: usize) -> Side {
        let (host, device) = if memory_type == OF_HOST { (address, 0) } else { (0, address as u64) };
        Side { x: 0, y: 0, z: 0, level: 0, memory_type, host, device, array: 0, reserved: 0, pitch: size, height: 1 }
    }
}

impl Driver {
    fn node(&self, node: Handle) -> Result<&Op> {
        let place = (node & ((1 << PLACE_BITS) - 1)).checked_sub(1).ok_or(errors::INVALID_VALUE)?;
        let graph = self.graphs.get(&(node >> PLACE_BITS)).ok_or(errors::INVALID_VALUE)?;
        graph.nodes.get(place).ok_or(errors::INVALID_VALUE)
    }
}

/// Without `nodes`, says how many there are. With it, writes up to `n_nodes` of them, as many as that; nulls behind the last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphGetNodes(graph: Handle, nodes: *mut Handle, n_nodes: *mut usize) -> Status {
    in_context(|driver, _| {
        let n = driver.graphs.get(&graph).ok_or(errors::INVALID_VALUE)?.nodes.len();
        if nodes.is_null() {
            return unsafe { give(n_nodes, n) };
        }
        if n_nodes.is_null() {
            return Err(errors::INVALID_VALUE);
        }
        let room = unsafe { n_nodes.read() };
        for place in 0..room {
            let handle = if place < n { graph << PLACE_BITS | (place + 1) } else { 0 };
            unsafe { nodes.add(place).write(handle) };
        }
        unsafe { give(n_nodes, n.min(room)) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphNodeGetType(node: Handle, to: *mut u32) -> Status {
    in_context(|driver, _| {
        let kind = match driver.node(node)? {
            Op::Launch { .. } => KERNEL,
            Op::ToDevice { .. } | Op::ToHost { .. } | Op::OnDevice { .. } => MEMCPY,
            Op::Fill { .. } => MEMSET,
            Op::Host { .. } => HOST,
            Op::Record { .. } => EVENT_RECORD,
            Op::Free { .. } => MEM_FREE,
        };
        unsafe { give(to, kind) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphMemcpyNodeGetParams(node: Handle, to: *mut Copy3d) -> Status {
    in_context(|driver, _| {
        let (source, target, width) = match driver.node(node)? {
            Op::ToDevice { to, from } => ((OF_HOST, from.address()), (OF_DEVICE, *to), from.len()),
            Op::ToHost { to, from, size } => ((OF_DEVICE, *from), (OF_HOST, *to), *size),
            Op::OnDevice { to, from, size } => ((OF_DEVICE, *from), (OF_DEVICE, *to), *size),
            _ => return Err(errors::INVALID_VALUE),
        };
        let side = |(memory_type, address)| Side::of(memory_type, address, width);
        unsafe { give(to, Copy3d { source: side(source), target: side(target), width, height: 1, depth: 1 }) }
    })
}

/// Of memory that the driver made. Any other address is none that it knows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuPointerGetAttribute(to: *mut c_void, attribute: c_int, pointer: u64) -> Status {
    in_context(|driver, _| {
        if attribute != MEMORY_TYPE {
            return Err(errors::NOT_SUPPORTED);
        }
        let address = pointer as usize;
        let memory_type = match () {
            () if driver.memory.holds(address, 1) => OF_DEVICE,
            () if driver.memory.is_pinned(address) => OF_HOST,
            () => return Err(errors::INVALID_VALUE),
        };
        unsafe { give(to.cast::<u32>(), memory_type) }
    })
}
