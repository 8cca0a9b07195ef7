//! What waits in a context's queue, and how it is done.

use super::{Code, Driver, Handle, Result, errors};
use crate::engine::abi::Dim3;
use crate::engine::block::{Finding, FindingKind, Launch};
use crate::engine::image::Kernel;
use crate::engine::{self, check};
use crate::nvml;
use std::ffi::c_void;
use std::sync::Arc;

/// Longer queues are worked off even if nobody waits.
const LONGEST_QUEUE: usize = 4096;

/// A piece of work.
#[derive(Clone)]
pub enum Op {
    Launch { kernel: Arc<Kernel>, grid: Dim3, block: Dim3, dynamic_shared: usize, arguments: Arc<[u128]> },
    ToDevice { to: usize, from: Bytes },
    ToHost { to: usize, from: usize, size: usize },
    OnDevice { to: usize, from: usize, size: usize },
    Fill { to: usize, value: u32, width: usize, count: usize },
    Record { event: Handle, sequence: u64 },
    Free { address: usize },
    Host { function: unsafe extern "C" fn(*mut c_void), data: usize },
}

/// Bytes of the host.
#[derive(Clone)]
pub enum Bytes {
    Here(Arc<[u8]>),
    There(usize, usize),
}

impl Bytes {
    pub fn len(&self) -> usize {
        match self {
            Bytes::Here(bytes) => bytes.len(),
            Bytes::There(_, size) => *size,
        }
    }

    pub fn address(&self) -> usize {
        match self {
            Bytes::Here(bytes) => bytes.as_ptr() as usize,
            Bytes::There(address, _) => *address,
        }
    }
}

impl Driver {
    /// Adds work to a stream, or to the graph that it is capturing.
    pub fn enqueue(&mut self, context: Handle, stream: Handle, op: Op) -> Result<()> {
        if let Some(capture) = self.capturing(context, stream)? {
            capture.nodes.push(op);
            return Ok(());
        }
        let queue = &mut self.context(context)?.queue;
        queue.push_back(op);
        if queue.len() > LONGEST_QUEUE { self.drain(context) } else { Ok(()) }
    }

    /// Does all the work of a context that waits.
    pub fn drain(&mut self, context: Handle) -> Result<()> {
        while let Some(op) = self.context(context)?.queue.pop_front() {
            let done = self.execute(context, op);
            if let Err(code) = done {
                let context = self.context(context)?;
                context.error = Some(code);
                context.queue.clear();
                return Err(code);
            }
        }
        Ok(())
    }

    /// Does a piece of work. Memory is looked at again: it may have been freed since the call.
    pub fn execute(&mut self, _context: Handle, op: Op) -> Result<()> {
        match op {
            Op::Launch { kernel, grid, block, dynamic_shared, arguments } => {
                self.launch(&kernel, grid, block, dynamic_shared, &arguments)?
            }
            Op::ToDevice { to, from } => {
                self.there(to, from.len())?;
                // SAFETY: the device's bytes are there; the host's are the caller's word.
                unsafe { std::ptr::copy(from.address() as *const u8, to as *mut u8, from.len()) };
                check::written(to, from.len());
            }
            Op::ToHost { to, from, size } => {
                self.there(from, size)?;
                // SAFETY: as above.
                unsafe { std::ptr::copy(from as *const u8, to as *mut u8, size) };
            }
            Op::OnDevice { to, from, size } => {
                self.there(to, size)?;
                self.there(from, size)?;
                // SAFETY: both are there.
                unsafe { std::ptr::copy(from as *const u8, to as *mut u8, size) };
                check::copied(to, from, size);
            }
            Op::Fill { to, value, width, count } => {
                self.there(to, width * count)?;
                // SAFETY: the bytes are there, and aligned to the width.
                unsafe {
                    match width {
                        1 => std::ptr::write_bytes(to as *mut u8, value as u8, count),
                        2 => std::slice::from_raw_parts_mut(to as *mut u16, count).fill(value as u16),
                        _ => std::slice::from_raw_parts_mut(to as *mut u32, count).fill(value),
                    }
                }
                check::written(to, width * count);
            }
            Op::Record { event, sequence } => {
                if let Some(event) = self.events.get_mut(&event) {
                    event.finished = Some((sequence, std::time::Instant::now()));
                }
            }
            Op::Free { address } => self.memory.free(address)?,
            // SAFETY: the caller's word. It must not call the driver, which is locked.
            Op::Host { function, data } => unsafe { function(data as *mut c_void) },
        }
        Ok(())
    }

    fn there(&self, address: usize, size: usize) -> Result<()> {
        if self.memory.holds(address, size) { Ok(()) } else { Err(errors::ILLEGAL_ADDRESS) }
    }

    fn launch(
        &mut self,
        kernel: &Arc<Kernel>,
        grid: Dim3,
        block: Dim3,
        dynamic_shared: usize,
        arguments: &[u128],
    ) -> Result<()> {
        self.launches += 1;
        nvml::launched();
        if let Some((after, code)) = self.config.lost
            && self.launches > after
        {
            self.lost = Some(code);
            return Err(code);
        }
        let mut addresses = Vec::with_capacity(arguments.len());
        let mut at = arguments.as_ptr();
        for argument in &kernel.arguments {
            addresses.push(at.cast_mut().cast::<c_void>());
            // SAFETY: `pack` of launch.rs lays them out so.
            at = unsafe { at.add(slots(argument.size)) };
        }
        if kernel.image.checked {
            check::enable(self.memory.allocations());
            self.check_pointers(kernel, &addresses)?;
        }
        let launch = Launch {
            kernel,
            grid,
            block,
            dynamic_shared,
            arguments: &addresses,
            words: arguments,
            checked: kernel.image.checked,
        };
        // SAFETY: the arguments were packed by the kernel's own list; the driver's lock lets one launch at a time run.
        let findings = unsafe { engine::run(&launch) };
        if !kernel.image.checked && check::is_enabled() {
            // Nobody saw what it wrote.
            self.memory.allocations().for_each(|(address, size)| check::written(address, size));
        }
        self.report(kernel, findings)
    }

    /// A pointer is null, or points to memory that is there: an argument out of its place rarely is.
    fn check_pointers(&mut self, kernel: &Kernel, addresses: &[*mut c_void]) -> Result<()> {
        let mut findings = Vec::new();
        for (index, _) in kernel.arguments.iter().enumerate().filter(|(_, argument)| argument.is_pointer) {
            // SAFETY: the argument is there, and a pointer.
            let pointer = unsafe { addresses[index].cast::<usize>().read() };
            if pointer != 0 && !self.memory.holds(pointer, 0) {
                let text = format!("argument {index} is a pointer, {pointer:#x}");
                findings.push(Finding { kind: FindingKind::Bounds, text, address: Some(pointer) });
            }
        }
        self.report(kernel, findings)
    }

    fn report(&mut self, kernel: &Kernel, findings: Vec<Finding>) -> Result<()> {
        let Some(first) = findings.first() else { return Ok(()) };
        let code: Code =
            if first.kind == FindingKind::Bounds { errors::ILLEGAL_ADDRESS } else { errors::LAUNCH_FAILED };
        for finding in findings {
            let text = format!("kernel {}: {}", kernel.name, finding.text);
            let text = match finding.address {
                Some(address) => format!("{text}: {}", self.memory.describe(address)),
                None => text,
            };
            if !self.config.quiet {
                eprintln!("emulated CUDA driver: {text}");
            }
            self.findings.push(text);
        }
        Err(code)
    }
}

/// How many words of 16 bytes, the widest alignment, an argument takes.
pub fn slots(size: usize) -> usize {
    size.div_ceil(16)
}
