//! Memory of the device, and pinned memory of the host. The device's is a range of the host's addresses; none is used
//! twice, so that what points to freed memory stays found out.

use super::execute::{Bytes, Op};
use super::{Driver, Handle, Result, Status, errors, give, in_context};
use crate::engine::check;
use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};

/// Between two allocations, and the alignment of each.
const GAP: usize = 512;

pub struct Memory {
    allocations: BTreeMap<usize, Allocation>,
    pinned: BTreeMap<usize, Allocation>,
    next: usize,
    end: usize,
}

struct Allocation {
    size: usize,
    context: Handle,
    device: usize,
    layout: Option<std::alloc::Layout>,
}

impl Memory {
    pub fn new() -> Memory {
        Memory { allocations: BTreeMap::new(), pinned: BTreeMap::new(), next: 0, end: 0 }
    }

    /// The bytes that allocations of a device hold.
    fn used(&self, device: usize) -> usize {
        self.allocations
            .values()
            .filter(|allocation| allocation.device == device)
            .map(|allocation| allocation.size.next_multiple_of(GAP))
            .sum()
    }

    fn allocate(&mut self, size: usize, context: Handle, device: usize, limit: usize) -> Result<usize> {
        if size == 0 {
            return Err(errors::INVALID_VALUE);
        }
        if self.used(device).saturating_add(size) > limit {
            return Err(errors::OUT_OF_MEMORY);
        }
        if self.end == 0 {
            let arena = check::arena().ok_or(errors::OUT_OF_MEMORY)?;
            (self.next, self.end) = (arena.start + GAP, arena.end);
        }
        let room =
            size.checked_next_multiple_of(GAP).and_then(|size| size.checked_add(GAP)).ok_or(errors::OUT_OF_MEMORY)?;
        if self.end - self.next < room {
            return Err(errors::OUT_OF_MEMORY);
        }
        let address = self.next;
        self.next += room;
        self.allocations.insert(address, Allocation { size, context, device, layout: None });
        check::allocated(address, size);
        Ok(address)
    }

    /// Frees what was allocated at `address`.
    pub fn free(&mut self, address: usize) -> Result<()> {
        let allocation = self.allocations.remove(&address).ok_or(errors::INVALID_VALUE)?;
        check::freed(address, allocation.size);
        Ok(())
    }

    /// Frees all that belongs to a context.
    pub fn forget(&mut self, context: Handle) {
        let own = |(&address, allocation): (&usize, &Allocation)| (allocation.context == context).then_some(address);
        let addresses: Vec<usize> = self.allocations.iter().filter_map(own).collect();
        for address in addresses {
            let _ = self.free(address); // it is there
        }
        let pinned: Vec<usize> = self.pinned.iter().filter_map(own).collect();
        for address in pinned {
            let _ = self.free_pinned(address);
        }
    }

    fn free_pinned(&mut self, address: usize) -> Result<()> {
        let allocation = self.pinned.remove(&address).ok_or(errors::INVALID_VALUE)?;
        if let Some(layout) = allocation.layout {
            // SAFETY: it was allocated with this layout.
            unsafe { std::alloc::dealloc(address as *mut u8, layout) };
        }
        Ok(())
    }

    /// Address and size of each allocation.
    pub fn allocations(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.allocations.iter().map(|(&address, allocation)| (address, allocation.size))
    }

    /// Whether all bytes are of one living allocation of the device.
    pub fn holds(&self, address: usize, size: usize) -> bool {
        let below = self.allocations.range(..=address).next_back();
        below.is_some_and(|(&start, allocation)| {
            address - start <= allocation.size && size <= allocation.size - (address - start)
        })
    }

    /// Whether this is pinned memory of the host: copies with it wait for their turn.
    pub fn is_pinned(&self, address: usize) -> bool {
        self.pinned.range(..=address).next_back().is_some_and(|(&start, allocation)| address - start < allocation.size)
    }

    /// "12 bytes past the end of an allocation of 400 bytes", for a finding.
    pub fn describe(&self, address: usize) -> String {
        let below = self.allocations.range(..=address).next_back();
        let above = self.allocations.range(address..).next();
        match (below, above) {
            (Some((&start, allocation)), _) if address - start < allocation.size => {
                format!("byte {} of an allocation of {} bytes", address - start, allocation.size)
            }
            (Some((&start, allocation)), _) if address - start - allocation.size < GAP => {
                format!(
                    "{} bytes past the end of an allocation of {} bytes",
                    address - start - allocation.size,
                    allocation.size
                )
            }
            (_, Some((&start, allocation))) if start - address <= GAP => {
                format!("{} bytes before an allocation of {} bytes", start - address, allocation.size)
            }
            _ => "no allocation, or one that was freed".into(),
        }
    }
}

impl Driver {
    fn allocate(&mut self, context: Handle, size: usize) -> Result<usize> {
        let device = self.context(context)?.device;
        let limit = self.config.memory;
        self.memory.allocate(size, context, device, limit).or_else(|_| {
            // What waits to be freed makes room.
            self.drain(context)?;
            self.memory.allocate(size, context, device, limit)
        })
    }

    fn copy_now(&mut self, context: Handle, op: Op) -> Result<()> {
        self.forbid_unsafe()?;
        self.touch_legacy(context)?;
        self.drain(context)?;
        self.validate(&op)?;
        self.execute(context, op)
    }

    fn copy_later(&mut self, context: Handle, stream: Handle, op: Op) -> Result<()> {
        self.validate(&op)?;
        self.enqueue(context, stream, op)
    }

    /// Copies name memory that is there.
    fn validate(&self, op: &Op) -> Result<()> {
        let fine = match op {
            Op::ToDevice { to, from } => self.memory.holds(*to, from.len()),
            Op::ToHost { from, size, .. } => self.memory.holds(*from, *size),
            Op::OnDevice { to, from, size } => self.memory.holds(*to, *size) && self.memory.holds(*from, *size),
            Op::Fill { to, width, count, .. } => self.memory.holds(*to, width * count) && to % width == 0,
            _ => true,
        };
        if fine { Ok(()) } else { Err(errors::INVALID_VALUE) }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAlloc_v2(to: *mut u64, size: usize) -> Status {
    in_context(|driver, context| {
        driver.forbid_unsafe()?;
        let address = driver.allocate(context, size)?;
        unsafe { give(to, address as u64) }
    })
}

/// On a real driver an allocation inside a capture becomes a node of the graph. Nothing here wants that: it is refused.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocAsync(to: *mut u64, size: usize, stream: Handle) -> Status {
    in_context(|driver, context| {
        driver.refuse_in_capture(context, stream)?;
        let address = driver.allocate(context, size)?;
        unsafe { give(to, address as u64) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocFromPoolAsync(to: *mut u64, size: usize, _pool: Handle, stream: Handle) -> Status {
    unsafe { cuMemAllocAsync(to, size, stream) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocManaged(_to: *mut u64, _size: usize, _flags: u32) -> Status {
    errors::NOT_SUPPORTED
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFree_v2(address: u64) -> Status {
    in_context(|driver, context| {
        if address == 0 {
            return Ok(());
        }
        driver.forbid_unsafe()?;
        driver.drain(context)?;
        driver.memory.free(address as usize)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFreeAsync(address: u64, stream: Handle) -> Status {
    in_context(|driver, context| {
        if !driver.memory.allocations.contains_key(&(address as usize)) {
            return if address == 0 { Ok(()) } else { Err(errors::INVALID_VALUE) };
        }
        driver.refuse_in_capture(context, stream)?;
        driver.enqueue(context, stream, Op::Free { address: address as usize })
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> Status {
    in_context(|driver, context| {
        driver.drain(context)?;
        let device = driver.context(context)?.device;
        let all = driver.config.memory;
        unsafe {
            give(free, all.saturating_sub(driver.memory.used(device)))?;
            give(total, all)
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostAlloc(to: *mut *mut c_void, size: usize, _flags: u32) -> Status {
    in_context(|driver, context| {
        driver.forbid_unsafe()?;
        if size == 0 {
            return Err(errors::INVALID_VALUE);
        }
        let layout = std::alloc::Layout::from_size_align(size, 4096).map_err(|_| errors::INVALID_VALUE)?;
        // SAFETY: the layout is not empty.
        let memory = unsafe { std::alloc::alloc(layout) };
        if memory.is_null() {
            return Err(errors::OUT_OF_MEMORY);
        }
        let device = driver.context(context)?.device;
        driver.memory.pinned.insert(memory as usize, Allocation { size, context, device, layout: Some(layout) });
        unsafe { give(to, memory.cast()) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocHost_v2(to: *mut *mut c_void, size: usize) -> Status {
    unsafe { cuMemHostAlloc(to, size, 0) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFreeHost(address: *mut c_void) -> Status {
    in_context(|driver, context| {
        driver.forbid_unsafe()?;
        driver.drain(context)?;
        driver.memory.free_pinned(address as usize)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostGetDevicePointer_v2(_to: *mut u64, _from: *mut c_void, _flags: u32) -> Status {
    errors::NOT_SUPPORTED
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, size: usize) -> Status {
    in_context(|driver, context| {
        driver.copy_now(context, Op::ToDevice { to: to as usize, from: Bytes::There(from as usize, size) })
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoH_v2(to: *mut c_void, from: u64, size: usize) -> Status {
    in_context(|driver, context| driver.copy_now(context, Op::ToHost { to: to as usize, from: from as usize, size }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoD_v2(to: u64, from: u64, size: usize) -> Status {
    in_context(|driver, context| driver.copy_now(context, Op::OnDevice { to: to as usize, from: from as usize, size }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, size: usize, stream: Handle) -> Status {
    in_context(|driver, context| {
        let there = driver.memory.is_pinned(from as usize) || driver.capture_of(stream).is_some();
        // Pageable memory is read before the call returns, but in a capture only its address is kept.
        let from = if there {
            Bytes::There(from as usize, size)
        } else {
            // SAFETY: the caller gives memory of this size.
            Bytes::Here(unsafe { std::slice::from_raw_parts(from.cast::<u8>(), size) }.into())
        };
        driver.copy_later(context, stream, Op::ToDevice { to: to as usize, from })
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, size: usize, stream: Handle) -> Status {
    in_context(|driver, context| {
        driver.copy_later(context, stream, Op::ToHost { to: to as usize, from: from as usize, size })?;
        // Pageable memory is written before the call returns.
        if !driver.memory.is_pinned(to as usize) && driver.capture_of(stream).is_none() {
            driver.drain(context)?;
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, size: usize, stream: Handle) -> Status {
    in_context(|driver, context| {
        driver.copy_later(context, stream, Op::OnDevice { to: to as usize, from: from as usize, size })
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyPeerAsync(
    to: u64,
    to_context: Handle,
    from: u64,
    from_context: Handle,
    size: usize,
    stream: Handle,
) -> Status {
    if to_context != from_context {
        return errors::NOT_SUPPORTED;
    }
    unsafe { cuMemcpyDtoDAsync_v2(to, from, size, stream) }
}

fn fill_now(to: u64, value: u32, width: usize, count: usize) -> Status {
    in_context(|driver, context| driver.copy_now(context, Op::Fill { to: to as usize, value, width, count }))
}

fn fill_later(to: u64, value: u32, width: usize, count: usize, stream: Handle) -> Status {
    in_context(|driver, context| driver.copy_later(context, stream, Op::Fill { to: to as usize, value, width, count }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemsetD8_v2(to: u64, value: u8, count: usize) -> Status {
    fill_now(to, value.into(), 1, count)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemsetD16_v2(to: u64, value: u16, count: usize) -> Status {
    fill_now(to, value.into(), 2, count)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemsetD32_v2(to: u64, value: u32, count: usize) -> Status {
    fill_now(to, value, 4, count)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemsetD8Async(to: u64, value: u8, count: usize, stream: Handle) -> Status {
    fill_later(to, value.into(), 1, count, stream)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemsetD16Async(to: u64, value: u16, count: usize, stream: Handle) -> Status {
    fill_later(to, value.into(), 2, count, stream)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemsetD32Async(to: u64, value: u32, count: usize, stream: Handle) -> Status {
    fill_later(to, value, 4, count, stream)
}

/// A device has one pool, whose handle is this.
const POOL: Handle = 0x900;
const RELEASE_THRESHOLD: c_int = 4;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetDefaultMemPool(to: *mut Handle, device: c_int) -> Status {
    super::call(|driver| {
        let device = driver.device(device)?;
        unsafe { give(to, POOL + device) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetMemPool(to: *mut Handle, device: c_int) -> Status {
    unsafe { cuDeviceGetDefaultMemPool(to, device) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceSetMemPool(device: c_int, pool: Handle) -> Status {
    super::call(|driver| if driver.device(device)? + POOL == pool { Ok(()) } else { Err(errors::INVALID_VALUE) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemPoolSetAttribute(pool: Handle, attribute: c_int, value: *mut c_void) -> Status {
    super::call(|driver| {
        let device = driver.devices.get_mut(pool.wrapping_sub(POOL)).ok_or(errors::INVALID_VALUE)?;
        if attribute == RELEASE_THRESHOLD && !value.is_null() {
            // SAFETY: this attribute is 64 bits wide.
            device.pool_threshold = unsafe { value.cast::<u64>().read() };
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemPoolGetAttribute(pool: Handle, attribute: c_int, value: *mut c_void) -> Status {
    super::call(|driver| {
        let device = driver.devices.get(pool.wrapping_sub(POOL)).ok_or(errors::INVALID_VALUE)?;
        if attribute != RELEASE_THRESHOLD {
            return Err(errors::NOT_SUPPORTED);
        }
        // SAFETY: this attribute is 64 bits wide.
        unsafe { give(value.cast(), device.pool_threshold) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemPoolTrimTo(pool: Handle, _keep: usize) -> Status {
    super::call(
        |driver| if pool.wrapping_sub(POOL) < driver.devices.len() { Ok(()) } else { Err(errors::INVALID_VALUE) },
    )
}
