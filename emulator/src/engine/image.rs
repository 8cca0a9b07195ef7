//! A library of kernels, as `compile.rs` makes it: loaded once and kept.

use super::abi::{Engine, KernelEntry, Thread};
use super::block::ENGINE;
use object::{Object, ObjectSymbol, SymbolFlags};
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A kernel that can be launched.
pub struct Kernel {
    pub name: String,
    pub call: unsafe extern "C" fn(*mut *mut c_void),
    pub slot: unsafe extern "C" fn() -> *mut *mut Thread,
    pub arguments: Vec<Argument>,
    /// Of `__launch_bounds__`; 1024 without.
    pub max_threads: u32,
    /// Bytes of its `__shared__` variables.
    pub static_shared: usize,
    pub image: Arc<Image>,
}

pub struct Argument {
    pub size: usize,
    pub is_pointer: bool,
}

/// The kernels of a library, by name.
pub type Kernels = Arc<HashMap<String, Arc<Kernel>>>;

/// What kernels of one library share.
pub struct Image {
    pub path: PathBuf,
    pub checked: bool,
    /// Its `__shared__` variables.
    pub shared: Vec<SharedVariable>,
    /// What gives the address of its thread-local variables: the system thread's copy of the first of them.
    pub slot: unsafe extern "C" fn() -> *mut *mut Thread,
    /// Where the variable that `slot` points to lies among the thread-local ones.
    pub slot_offset: usize,
    /// Of its thread-local variables, all together.
    pub thread_local_bytes: usize,
    /// Where the file lies in memory: its constants are read from there.
    pub span: std::ops::Range<usize>,
}

/// A `__shared__` variable, which the host's compiler sees as a thread-local one.
pub struct SharedVariable {
    pub name: String,
    pub symbol: String,
    pub offset: usize,
    pub size: usize,
}

impl Image {
    /// The kernels of the library at `path`, by name.
    ///
    /// # Errors
    /// Why it cannot be loaded.
    pub fn load(path: &Path) -> Result<Kernels, String> {
        static LOADED: Mutex<Vec<(PathBuf, Kernels)>> = Mutex::new(Vec::new());
        let mut loaded = LOADED.lock().unwrap_or_else(|poison| poison.into_inner());
        if let Some((_, kernels)) = loaded.iter().find(|(known, _)| known == path) {
            return Ok(kernels.clone());
        }
        let kernels = Arc::new(load(path)?);
        loaded.push((path.to_path_buf(), kernels.clone()));
        Ok(kernels)
    }
}

fn load(path: &Path) -> Result<HashMap<String, Arc<Kernel>>, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let (variables, slot_offset) = thread_locals(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    let name = CString::new(path.as_os_str().as_encoded_bytes()).map_err(|error| error.to_string())?;
    // SAFETY: the library is one of compile.rs: what it runs when it is loaded is the list of its kernels.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if handle.is_null() {
        // SAFETY: dlerror gives a string after a failure.
        return Err(unsafe { CStr::from_ptr(libc::dlerror()) }.to_string_lossy().into_owned());
    }
    let symbol = |name: &CStr| {
        // SAFETY: the handle is open.
        let address = unsafe { libc::dlsym(handle, name.as_ptr()) };
        if address.is_null() { Err(format!("{} lacks {name:?}", path.display())) } else { Ok(address) }
    };
    // SAFETY: the types are those of include/runtime.cpp.
    let (attach, slot) = unsafe {
        (
            std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*const Engine) -> *const KernelEntry>(symbol(
                c"emulator_attach",
            )?),
            std::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> *mut *mut Thread>(symbol(c"emulator_slot")?),
        )
    };
    // Its own marker says that it is instrumented.
    let checked = object::File::parse(bytes.as_slice())
        .is_ok_and(|file| file.symbols().any(|symbol| symbol.name() == Ok("__tsan_init")));
    let image = Arc::new(Image {
        path: path.to_path_buf(),
        checked,
        shared: variables,
        slot,
        slot_offset,
        thread_local_bytes: thread_local_bytes(&bytes),
        span: span(slot as usize, &bytes),
    });
    let mut kernels = HashMap::new();
    // SAFETY: the list ends with null; names are literals, and the arrays have `n_arguments` elements.
    unsafe {
        let mut next = attach(&raw const ENGINE);
        while let Some(entry) = next.as_ref() {
            let name = CStr::from_ptr(entry.name).to_string_lossy().into_owned();
            let n = entry.n_arguments as usize;
            let sizes = std::slice::from_raw_parts(entry.argument_sizes, n);
            let kinds = std::slice::from_raw_parts(entry.argument_kinds, n);
            let arguments =
                sizes.iter().zip(kinds).map(|(&size, &kind)| Argument { size: size as usize, is_pointer: kind != 0 });
            let own = format!("{}{name}E", name.len());
            let static_shared = image
                .shared
                .iter()
                .filter(|variable| variable.symbol.contains(&own))
                .map(|variable| variable.size)
                .sum();
            let kernel = Kernel {
                call: entry.call,
                slot,
                arguments: arguments.collect(),
                max_threads: if entry.max_threads == 0 { 1024 } else { entry.max_threads },
                static_shared,
                image: image.clone(),
                name: name.clone(),
            };
            if kernels.insert(name.clone(), Arc::new(kernel)).is_some() {
                return Err(format!("{}: two kernels are named {name}", path.display()));
            }
            next = entry.next;
        }
    }
    Ok(kernels)
}

/// The `__shared__` variables among the thread-local ones, and where `emulator_thread` lies.
fn thread_locals(bytes: &[u8]) -> Result<(Vec<SharedVariable>, usize), String> {
    let file = object::File::parse(bytes).map_err(|error| error.to_string())?;
    let mut variables = Vec::new();
    let mut slot = None;
    for symbol in file.symbols() {
        let SymbolFlags::Elf { st_info, .. } = symbol.flags() else { continue };
        let Ok(name) = symbol.name() else { continue };
        if st_info.0 & 0xf != object::elf::STT_TLS.0 || symbol.size() == 0 {
            continue;
        }
        let (offset, size) = (symbol.address() as usize, symbol.size() as usize);
        if name == "emulator_thread" {
            slot = Some(offset);
        } else if !name.contains("emulator_gap_") {
            variables.push(SharedVariable { name: plain_name(name), symbol: name.to_string(), offset, size });
        }
    }
    variables.sort_by_key(|variable| variable.offset);
    Ok((variables, slot.ok_or("it has no emulator_thread")?))
}

/// The size of a thread's copy of the thread-local variables.
fn thread_local_bytes(bytes: &[u8]) -> usize {
    use object::read::elf::{FileHeader, ProgramHeader};
    let Ok(header) = object::elf::FileHeader64::<object::Endianness>::parse(bytes) else { return 0 };
    let Ok(endian) = header.endian() else { return 0 };
    let segments = header.program_headers(endian, bytes).unwrap_or_default();
    segments
        .iter()
        .filter(|segment| segment.p_type(endian) == object::elf::PT_TLS)
        .map(|segment| segment.p_memsz(endian) as usize)
        .sum()
}

/// The last identifier of a mangled name: `smem_best` of `_ZZ12niche_argmaxE9smem_best`.
fn plain_name(symbol: &str) -> String {
    let tail = symbol.rsplit('E').next().unwrap_or(symbol);
    let name = tail.trim_start_matches(|c: char| c.is_ascii_digit());
    // A variable that has namesakes ends with which of them it is.
    let length = tail[..tail.len() - name.len()].parse().unwrap_or(name.len());
    name.get(..length).unwrap_or(name).to_string()
}

/// The addresses at which the library whose code has `address` lies.
fn span(address: usize, bytes: &[u8]) -> std::ops::Range<usize> {
    let mut info = libc::Dl_info {
        dli_fname: std::ptr::null(),
        dli_fbase: std::ptr::null_mut(),
        dli_sname: std::ptr::null(),
        dli_saddr: std::ptr::null_mut(),
    };
    // SAFETY: dladdr only looks the address up.
    if unsafe { libc::dladdr(address as *const c_void, &mut info) } == 0 {
        return 0..0;
    }
    let base = info.dli_fbase as usize;
    use object::ObjectSegment;
    let end = object::File::parse(bytes)
        .map_or(0, |file| file.segments().map(|segment| segment.address() + segment.size()).max().unwrap_or(0));
    base..base + end as usize
}
