//! The driver itself, its devices and contexts.

use super::{CURRENT, Context, Device, Driver, Handle, N_HIDDEN, Status, always, call, errors, give, in_context};
use std::collections::VecDeque;
use std::ffi::{CStr, c_char, c_int};

/// Of an H100.
pub const MULTIPROCESSORS: usize = 132;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuInit(flags: u32) -> Status {
    always(|driver| {
        if flags != 0 {
            return Err(errors::INVALID_VALUE);
        }
        if driver.config.n_devices == 0 {
            return Err(errors::NO_DEVICE);
        }
        driver.initialised = true;
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDriverGetVersion(to: *mut c_int) -> Status {
    always(|driver| unsafe { give(to, driver.config.driver_version) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorName(code: u32, to: *mut *const c_char) -> Status {
    let known = errors::name(code);
    let status = always(|_| unsafe { give(to, known.map_or(std::ptr::null(), |(name, _)| name.as_ptr())) });
    if known.is_none() { errors::INVALID_VALUE } else { status }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorString(code: u32, to: *mut *const c_char) -> Status {
    let known = errors::name(code);
    let status = always(|_| unsafe { give(to, known.map_or(std::ptr::null(), |(_, words)| words.as_ptr())) });
    if known.is_none() { errors::INVALID_VALUE } else { status }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetCount(to: *mut c_int) -> Status {
    call(|driver| unsafe { give(to, driver.devices.len() as c_int) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGet(to: *mut c_int, ordinal: c_int) -> Status {
    call(|driver| {
        driver.device(ordinal)?;
        unsafe { give(to, ordinal) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetName(to: *mut c_char, length: c_int, device: c_int) -> Status {
    call(|driver| {
        driver.device(device)?;
        let name: &CStr = c"NVIDIA H100 (emulated)";
        let bytes = name.to_bytes_with_nul();
        let length =
            usize::try_from(length).ok().filter(|&length| length > 0 && !to.is_null()).ok_or(errors::INVALID_VALUE)?;
        let n = bytes.len().min(length);
        // SAFETY: the caller gives so much room.
        unsafe {
            to.cast::<u8>().copy_from(bytes.as_ptr(), n);
            to.add(n - 1).write(0);
        }
        Ok(())
    })
}

/// The UUID of the device with the physical number `number`, or of the part of it that is used.
pub fn uuid(number: usize, is_part: bool) -> [u8; 16] {
    let mut uuid = *b"pareidolia\0\0\0\0\0\0";
    (uuid[14], uuid[15]) = (is_part.into(), number as u8);
    uuid
}

/// Of a part, the first version gives the UUID of the whole.
fn give_uuid(to: *mut [u8; 16], device: c_int, of_part: bool) -> Status {
    call(|driver| {
        let device = driver.device(device)?;
        unsafe { give(to, uuid(*N_HIDDEN + device, of_part && driver.config.is_part)) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetUuid(to: *mut [u8; 16], device: c_int) -> Status {
    give_uuid(to, device, false)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetUuid_v2(to: *mut [u8; 16], device: c_int) -> Status {
    give_uuid(to, device, true)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceTotalMem_v2(to: *mut usize, device: c_int) -> Status {
    call(|driver| {
        driver.device(device)?;
        unsafe { give(to, driver.config.memory) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceComputeCapability(major: *mut c_int, minor: *mut c_int, device: c_int) -> Status {
    call(|driver| {
        driver.device(device)?;
        let capability = driver.config.compute_capability;
        unsafe {
            give(major, capability.0)?;
            give(minor, capability.1)
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetAttribute(to: *mut c_int, attribute: c_int, device: c_int) -> Status {
    call(|driver| {
        let device = driver.device(device)?;
        let value = attribute_of(driver, attribute, device).ok_or(errors::INVALID_VALUE)?;
        unsafe { give(to, value) }
    })
}

/// An attribute by its number in CUdevice_attribute, with an H100's value; 0 for what it need not have.
fn attribute_of(driver: &Driver, attribute: c_int, device: usize) -> Option<c_int> {
    Some(match attribute {
        1 => 1024,                                  // MAX_THREADS_PER_BLOCK
        2 | 3 => 1024,                              // MAX_BLOCK_DIM_X, Y
        4 => 64,                                    // MAX_BLOCK_DIM_Z
        5 => i32::MAX,                              // MAX_GRID_DIM_X
        6 | 7 => 65535,                             // MAX_GRID_DIM_Y, Z
        8 => 48 << 10,                              // MAX_SHARED_MEMORY_PER_BLOCK
        9 => 64 << 10,                              // TOTAL_CONSTANT_MEMORY
        10 => 32,                                   // WARP_SIZE
        11 => i32::MAX,                             // MAX_PITCH
        12 | 82 => 65536,                           // MAX_REGISTERS_PER_BLOCK, MULTIPROCESSOR
        13 => 1_980_000,                            // CLOCK_RATE, kHz
        14 => 512,                                  // TEXTURE_ALIGNMENT
        15 | 19 | 31 | 32 | 41 | 78 | 83 | 95 => 1, // GPU_OVERLAP, CAN_MAP_HOST_MEMORY, CONCURRENT_KERNELS, ECC_ENABLED, UNIFIED_ADDRESSING, STREAM_PRIORITIES, MANAGED_MEMORY, COOPERATIVE_LAUNCH
        16 => MULTIPROCESSORS as c_int,             // MULTIPROCESSOR_COUNT
        33 => (*N_HIDDEN + device) as c_int,        // PCI_BUS_ID
        36 => 2_619_000,                            // MEMORY_CLOCK_RATE, kHz
        37 => 5120,                                 // GLOBAL_MEMORY_BUS_WIDTH
        38 => 50 << 20,                             // L2_CACHE_SIZE
        39 => 2048,                                 // MAX_THREADS_PER_MULTIPROCESSOR
        40 => 3,                                    // ASYNC_ENGINE_COUNT
        75 => driver.config.compute_capability.0,   // COMPUTE_CAPABILITY_MAJOR
        76 => driver.config.compute_capability.1,   // COMPUTE_CAPABILITY_MINOR
        81 => 228 << 10,                            // MAX_SHARED_MEMORY_PER_MULTIPROCESSOR
        97 => 227 << 10,                            // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
        106 => 32,                                  // MAX_BLOCKS_PER_MULTIPROCESSOR
        111 => 1 << 10,                             // RESERVED_SHARED_MEMORY_PER_BLOCK
        115 => 1,                                   // MEMORY_POOLS_SUPPORTED
        17..=150 => 0,
        _ => return None,
    })
}

fn set_current(context: Option<Handle>) {
    CURRENT.with_borrow_mut(|stack| {
        stack.pop();
        stack.extend(context);
    });
}

impl Driver {
    fn primary(&mut self, device: usize) -> Handle {
        if let Some(context) = self.devices[device].primary {
            return context;
        }
        let handle = self.handle();
        self.contexts.insert(handle, Context { device, error: None, queue: VecDeque::new() });
        self.devices[device].primary = Some(handle);
        handle
    }

    fn reset(&mut self, device: usize) {
        let Device { primary, retains, .. } = &mut self.devices[device];
        *retains = 0;
        if let Some(context) = primary.take() {
            self.destroy_context(context);
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRetain(to: *mut Handle, device: c_int) -> Status {
    call(|driver| {
        driver.lost.map_or(Ok(()), Err)?;
        let device = driver.device(device)?;
        let context = driver.primary(device);
        driver.devices[device].retains += 1;
        unsafe { give(to, context) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRelease_v2(device: c_int) -> Status {
    call(|driver| {
        let device = driver.device(device)?;
        let retains = &mut driver.devices[device].retains;
        *retains = retains.checked_sub(1).ok_or(errors::INVALID_CONTEXT)?;
        if *retains == 0 {
            driver.reset(device);
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxReset_v2(device: c_int) -> Status {
    call(|driver| {
        let device = driver.device(device)?;
        driver.reset(device);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxGetState(device: c_int, flags: *mut u32, active: *mut c_int) -> Status {
    call(|driver| {
        let device = driver.device(device)?;
        unsafe {
            give(flags, 0)?;
            give(active, driver.devices[device].primary.is_some().into())
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxSetFlags_v2(device: c_int, _flags: u32) -> Status {
    call(|driver| driver.device(device).map(drop))
}

/// A context of its own: the same as the primary one but for its life.
fn create(to: *mut Handle, device: c_int) -> Status {
    call(|driver| {
        let device = driver.device(device)?;
        let handle = driver.handle();
        driver.contexts.insert(handle, Context { device, error: None, queue: VecDeque::new() });
        CURRENT.with_borrow_mut(|stack| stack.push(handle));
        unsafe { give(to, handle) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxCreate_v2(to: *mut Handle, _flags: u32, device: c_int) -> Status {
    create(to, device)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxCreate_v3(
    to: *mut Handle,
    _affinity: *mut u8,
    _n: c_int,
    _flags: u32,
    device: c_int,
) -> Status {
    create(to, device)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxCreate_v4(to: *mut Handle, _parameters: *mut u8, _flags: u32, device: c_int) -> Status {
    create(to, device)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxDestroy_v2(context: Handle) -> Status {
    call(|driver| {
        driver.context(context)?;
        driver.destroy_context(context);
        CURRENT.with_borrow_mut(|stack| stack.retain(|&other| other != context));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetCurrent(to: *mut Handle) -> Status {
    call(|_| unsafe { give(to, CURRENT.with_borrow(|stack| stack.last().copied().unwrap_or(0))) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSetCurrent(context: Handle) -> Status {
    call(|driver| {
        if context != 0 {
            driver.context(context)?;
        }
        set_current((context != 0).then_some(context));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxPushCurrent_v2(context: Handle) -> Status {
    call(|driver| {
        driver.context(context)?;
        CURRENT.with_borrow_mut(|stack| stack.push(context));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxPopCurrent_v2(to: *mut Handle) -> Status {
    call(|_| {
        let context = CURRENT.with_borrow_mut(Vec::pop).ok_or(errors::INVALID_CONTEXT)?;
        if to.is_null() { Ok(()) } else { unsafe { give(to, context) } }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetDevice(to: *mut c_int) -> Status {
    in_context(|driver, context| {
        let device = driver.context(context)?.device;
        unsafe { give(to, device as c_int) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSynchronize() -> Status {
    in_context(|driver, context| {
        driver.refuse_in_any_capture(context)?;
        driver.drain(context)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSetFlags(_flags: u32) -> Status {
    in_context(|_, _| Ok(()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetApiVersion(_context: Handle, to: *mut u32) -> Status {
    call(|_| unsafe { give(to, 3020) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int) -> Status {
    in_context(|_, _| unsafe {
        give(least, 0)?;
        give(greatest, -5)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetCacheConfig(to: *mut c_int) -> Status {
    in_context(|_, _| unsafe { give(to, 0) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSetCacheConfig(_config: c_int) -> Status {
    in_context(|_, _| Ok(()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetLimit(_to: *mut usize, _limit: c_int) -> Status {
    errors::NOT_SUPPORTED
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSetLimit(_limit: c_int, _value: usize) -> Status {
    errors::NOT_SUPPORTED
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuProfilerStart() -> Status {
    in_context(|_, _| Ok(()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuProfilerStop() -> Status {
    in_context(|_, _| Ok(()))
}
