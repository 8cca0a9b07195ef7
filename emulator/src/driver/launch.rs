//! Modules, functions and launches, with the limits of an H100.

use super::execute::{Op, slots};
use super::{Driver, Function, Handle, Module, Result, Status, errors, give, in_context};
use crate::engine::abi::Dim3;
use crate::engine::image::{Image, Kernel};
use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Shared memory of a block: without asking, and at most.
const SHARED: usize = 48 << 10;
const SHARED_OPTIN: usize = 227 << 10;
/// Shared memory of a multiprocessor, and what each block takes beside its own.
const SHARED_OF_SM: usize = 228 << 10;
const SHARED_RESERVED: usize = 1 << 10;
const THREADS_OF_SM: usize = 2048;
const BLOCKS_OF_SM: usize = 32;
const THREADS: u64 = 1024;

/// An image that begins so names a library of kernels; every other stands for the project's own.
const NAMED_IMAGE: &[u8] = b"pareidolia-emulator:";

thread_local! {
    /// Which build this thread's modules take, if it is not for the environment to say.
    static BUILD: RefCell<Option<bool>> = const { RefCell::new(None) };
}

/// Which build the calling thread's modules take from now on: 0 the fast one, 1 the checked one; any other lets the
/// environment say. For tests.
#[unsafe(no_mangle)]
pub extern "C" fn pareidolia_emulator_build(build: c_int) {
    BUILD.set(match build {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    });
}

/// The folder that the driver was loaded from, or the one that it was built for.
fn folder() -> PathBuf {
    let mut info = libc::Dl_info {
        dli_fname: std::ptr::null(),
        dli_fbase: std::ptr::null_mut(),
        dli_sname: std::ptr::null(),
        dli_saddr: std::ptr::null_mut(),
    };
    // SAFETY: dladdr only looks the address up.
    let found = unsafe { libc::dladdr(cuModuleLoadData as *const c_void, &mut info) } != 0;
    if found && !info.dli_fname.is_null() {
        // SAFETY: the name of a loaded library.
        let name = unsafe { CStr::from_ptr(info.dli_fname) }.to_string_lossy().into_owned();
        if let Some(folder) = Path::new(&name).parent().filter(|folder| folder.join("kernels.so").exists()) {
            return folder.to_path_buf();
        }
    }
    PathBuf::from(env!("PAREIDOLIA_EMULATOR_FOLDER"))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadData(to: *mut Handle, image: *const c_void) -> Status {
    in_context(|driver, context| {
        if image.is_null() {
            return Err(errors::INVALID_VALUE);
        }
        if driver.config.no_image {
            return Err(errors::NO_BINARY_FOR_GPU);
        }
        driver.forbid_unsafe()?;
        // SAFETY: an image is at least as long as its first bytes, and one that begins so is a string.
        let named = unsafe { (0..NAMED_IMAGE.len()).all(|at| image.cast::<u8>().add(at).read() == NAMED_IMAGE[at]) };
        let path = if named {
            // SAFETY: as above.
            let text = unsafe { CStr::from_ptr(image.cast()) }.to_string_lossy().into_owned();
            PathBuf::from(text[NAMED_IMAGE.len()..].trim())
        } else if let Some(kernels) = &driver.config.kernels {
            kernels.clone()
        } else {
            let checked = BUILD.take().inspect(|&build| BUILD.set(Some(build))).unwrap_or(driver.config.checked);
            folder().join(if checked { "kernels-checked.so" } else { "kernels.so" })
        };
        let kernels = Image::load(&path).map_err(|error| {
            eprintln!("emulated CUDA driver: {error}");
            errors::NO_BINARY_FOR_GPU
        })?;
        let handle = driver.handle();
        driver.modules.insert(handle, Module { context, kernels });
        unsafe { give(to, handle) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadDataEx(
    to: *mut Handle,
    image: *const c_void,
    _n: u32,
    _options: *mut c_int,
    _values: *mut *mut c_void,
) -> Status {
    unsafe { cuModuleLoadData(to, image) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadFatBinary(to: *mut Handle, image: *const c_void) -> Status {
    unsafe { cuModuleLoadData(to, image) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoad(to: *mut Handle, path: *const c_char) -> Status {
    // SAFETY: a string.
    if path.is_null() || !Path::new(unsafe { CStr::from_ptr(path) }.to_string_lossy().as_ref()).exists() {
        return errors::FILE_NOT_FOUND;
    }
    unsafe { cuModuleLoadData(to, c"a file".as_ptr().cast()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleUnload(module: Handle) -> Status {
    in_context(|driver, context| {
        driver.forbid_unsafe()?;
        driver.drain(context)?;
        driver.modules.remove(&module).ok_or(errors::INVALID_HANDLE)?;
        driver.functions.retain(|_, function| function.module != module);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetFunction(to: *mut Handle, module: Handle, name: *const c_char) -> Status {
    in_context(|driver, _| {
        if name.is_null() {
            return Err(errors::INVALID_VALUE);
        }
        let kernels = &driver.modules.get(&module).ok_or(errors::INVALID_HANDLE)?.kernels;
        // SAFETY: a string.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
        let kernel = kernels.get(name.as_ref()).ok_or(errors::NOT_FOUND)?.clone();
        let handle = driver.handle();
        driver.functions.insert(handle, Function { module, kernel, max_dynamic_shared: SHARED });
        unsafe { give(to, handle) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetGlobal_v2(
    _to: *mut u64,
    _size: *mut usize,
    _module: Handle,
    _name: *const c_char,
) -> Status {
    errors::NOT_FOUND
}

impl Driver {
    fn function(&self, handle: Handle) -> Result<&Function> {
        self.functions.get(&handle).ok_or(errors::INVALID_HANDLE)
    }
}

/// Numbers of CUfunction_attribute.
const MAX_THREADS_PER_BLOCK: c_int = 0;
const SHARED_SIZE_BYTES: c_int = 1;
const NUM_REGS: c_int = 4;
const PTX_VERSION: c_int = 5;
const BINARY_VERSION: c_int = 6;
const MAX_DYNAMIC_SHARED_SIZE_BYTES: c_int = 8;
const PREFERRED_SHARED_MEMORY_CARVEOUT: c_int = 9;
const LAST_ATTRIBUTE: c_int = 15;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncGetAttribute(to: *mut c_int, attribute: c_int, function: Handle) -> Status {
    in_context(|driver, _| {
        let function = driver.function(function)?;
        let (major, minor) = driver.config.compute_capability;
        let value = match attribute {
            MAX_THREADS_PER_BLOCK => function.kernel.max_threads as c_int,
            SHARED_SIZE_BYTES => function.kernel.static_shared as c_int,
            NUM_REGS => 32, // nobody has counted them
            PTX_VERSION | BINARY_VERSION => 10 * major + minor,
            MAX_DYNAMIC_SHARED_SIZE_BYTES => function.max_dynamic_shared as c_int,
            PREFERRED_SHARED_MEMORY_CARVEOUT => -1,
            2..=LAST_ATTRIBUTE => 0,
            _ => return Err(errors::INVALID_VALUE),
        };
        unsafe { give(to, value) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncSetAttribute(function: Handle, attribute: c_int, value: c_int) -> Status {
    in_context(|driver, _| {
        let function = driver.functions.get_mut(&function).ok_or(errors::INVALID_HANDLE)?;
        match attribute {
            MAX_DYNAMIC_SHARED_SIZE_BYTES => {
                let value = usize::try_from(value).map_err(|_| errors::INVALID_VALUE)?;
                if value + function.kernel.static_shared > SHARED_OPTIN {
                    return Err(errors::INVALID_VALUE);
                }
                function.max_dynamic_shared = value;
                Ok(())
            }
            PREFERRED_SHARED_MEMORY_CARVEOUT => {
                if (-1..=100).contains(&value) {
                    Ok(())
                } else {
                    Err(errors::INVALID_VALUE)
                }
            }
            _ => Err(errors::INVALID_VALUE),
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncSetCacheConfig(function: Handle, _config: c_int) -> Status {
    in_context(|driver, _| driver.function(function).map(drop))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncGetModule(to: *mut Handle, function: Handle) -> Status {
    in_context(|driver, _| unsafe { give(to, driver.function(function)?.module) })
}

/// Copies the arguments, each by the size that the kernel declares.
///
/// # Safety
/// `parameters` holds a pointer to each argument of the kernel.
unsafe fn pack(kernel: &Kernel, parameters: *mut *mut c_void) -> Result<Arc<[u128]>> {
    let mut words = vec![0u128; kernel.arguments.iter().map(|argument| slots(argument.size)).sum()];
    let mut at = 0;
    for (index, argument) in kernel.arguments.iter().enumerate() {
        // SAFETY: as above.
        let from = unsafe { parameters.add(index).read() };
        if from.is_null() {
            return Err(errors::INVALID_VALUE);
        }
        // SAFETY: as above; the words have room.
        unsafe { std::ptr::copy_nonoverlapping(from.cast::<u8>(), words.as_mut_ptr().add(at).cast(), argument.size) };
        at += slots(argument.size);
    }
    Ok(words.into())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernel(
    function: Handle,
    grid_x: u32,
    grid_y: u32,
    grid_z: u32,
    block_x: u32,
    block_y: u32,
    block_z: u32,
    dynamic_shared: u32,
    stream: Handle,
    parameters: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Status {
    in_context(|driver, context| {
        let function = driver.function(function)?.clone();
        let grid = Dim3 { x: grid_x, y: grid_y, z: grid_z };
        let block = Dim3 { x: block_x, y: block_y, z: block_z };
        let dynamic_shared = dynamic_shared as usize;
        let kernel = function.kernel;
        let fits = grid.volume() > 0
            && grid.x <= i32::MAX as u32
            && grid.y.max(grid.z) <= 65535
            && block.volume() > 0
            && block.x.max(block.y) <= 1024
            && block.z <= 64
            && block.volume() <= THREADS.min(kernel.max_threads.into())
            && dynamic_shared <= function.max_dynamic_shared
            && (dynamic_shared + kernel.static_shared <= SHARED || function.max_dynamic_shared > SHARED);
        if !fits || !extra.is_null() || parameters.is_null() && !kernel.arguments.is_empty() {
            return Err(errors::INVALID_VALUE);
        }
        let arguments = unsafe { pack(&kernel, parameters)? };
        driver.enqueue(context, stream, Op::Launch { kernel, grid, block, dynamic_shared, arguments })
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchCooperativeKernel() -> Status {
    errors::NOT_SUPPORTED
}

/// Blocks of a kernel that a multiprocessor holds at once, by threads and shared memory; nobody has counted registers.
fn blocks_of_sm(function: &Function, threads: usize, dynamic_shared: usize) -> usize {
    if threads == 0 || threads > function.kernel.max_threads as usize || dynamic_shared > function.max_dynamic_shared {
        return 0;
    }
    let shared = (dynamic_shared + function.kernel.static_shared).next_multiple_of(128) + SHARED_RESERVED;
    (THREADS_OF_SM / threads.next_multiple_of(32)).min(SHARED_OF_SM / shared).min(BLOCKS_OF_SM)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
    to: *mut c_int,
    function: Handle,
    threads: c_int,
    shared: usize,
) -> Status {
    in_context(|driver, _| unsafe {
        let function = driver.function(function)?;
        give(to, blocks_of_sm(function, threads.max(0) as usize, shared) as c_int)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    to: *mut c_int,
    function: Handle,
    threads: c_int,
    shared: usize,
    _flags: u32,
) -> Status {
    unsafe { cuOccupancyMaxActiveBlocksPerMultiprocessor(to, function, threads, shared) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxPotentialBlockSize(
    min_grid: *mut c_int,
    block: *mut c_int,
    function: Handle,
    shared_of: Option<unsafe extern "C" fn(c_int) -> usize>,
    shared: usize,
    limit: c_int,
) -> Status {
    in_context(|driver, _| {
        let function = driver.function(function)?;
        let most = function.kernel.max_threads as c_int;
        let most = if limit > 0 { most.min(limit) } else { most };
        let occupied = |threads: c_int| {
            // SAFETY: the caller's own function.
            let shared = shared_of.map_or(shared, |shared_of| unsafe { shared_of(threads) });
            blocks_of_sm(function, threads as usize, shared)
        };
        let best = (1..=most / 32)
            .map(|warps| warps * 32)
            .max_by_key(|&threads| (occupied(threads) * threads as usize, threads))
            .unwrap_or(most);
        unsafe {
            give(block, best)?;
            give(min_grid, (occupied(best) * super::device::MULTIPROCESSORS) as c_int)
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxPotentialBlockSizeWithFlags(
    min_grid: *mut c_int,
    block: *mut c_int,
    function: Handle,
    shared_of: Option<unsafe extern "C" fn(c_int) -> usize>,
    shared: usize,
    limit: c_int,
    _flags: u32,
) -> Status {
    unsafe { cuOccupancyMaxPotentialBlockSize(min_grid, block, function, shared_of, shared, limit) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyAvailableDynamicSMemPerBlock(
    to: *mut usize,
    function: Handle,
    blocks: c_int,
    _threads: c_int,
) -> Status {
    in_context(|driver, _| {
        let function = driver.function(function)?;
        let blocks = usize::try_from(blocks).ok().filter(|&blocks| blocks > 0).ok_or(errors::INVALID_VALUE)?;
        let each = (SHARED_OF_SM / blocks).saturating_sub(SHARED_RESERVED + function.kernel.static_shared);
        unsafe { give(to, each.min(SHARED_OPTIN - function.kernel.static_shared)) }
    })
}
