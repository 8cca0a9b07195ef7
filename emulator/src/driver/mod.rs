//! The functions of the driver, and what they share. Everything asynchronous is kept in its context's queue until something
//! waits for it, so that a host which reads too early reads nothing new. The queue runs in the order of the calls, which
//! every order that streams and events ask for agrees with.

mod capture;
mod device;
mod errors;
mod execute;
mod graph;
mod launch;
mod memory;
mod stream;

use crate::engine::image::{Kernel, Kernels};
use capture::{Capture, Graph};
use execute::Op;
use memory::Memory;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};

pub use device::uuid;
pub use errors::Code;

/// What a driver function says: 0, or one of `errors`.
pub type Status = u32;
type Result<T, E = Code> = std::result::Result<T, E>;
/// What stands for an object in the hands of the caller. Never an address.
type Handle = usize;

static DRIVER: LazyLock<Mutex<Driver>> = LazyLock::new(|| Mutex::new(Driver::new(Config::from_environment())));

/// Devices that the machine has and this driver does not show (as with `CUDA_VISIBLE_DEVICES`): the first ones.
pub static N_HIDDEN: LazyLock<usize> = LazyLock::new(|| {
    let text = std::env::var("PAREIDOLIA_EMULATOR_HIDDEN").unwrap_or_default();
    text.parse().unwrap_or(0)
});

thread_local! {
    /// The contexts of the calling thread, the current one last.
    static CURRENT: RefCell<Vec<Handle>> = const { RefCell::new(Vec::new()) };
}

/// What is emulated: see README.md for the variables.
struct Config {
    n_devices: usize,
    /// Whether each device is a part of a GPU (MIG).
    is_part: bool,
    driver_version: i32,
    compute_capability: (i32, i32),
    memory: usize,
    no_image: bool,
    kernels: Option<PathBuf>,
    lost: Option<(u64, Code)>,
    checked: bool,
    quiet: bool,
}

impl Config {
    fn from_environment() -> Config {
        let text = |name: &str| std::env::var(format!("PAREIDOLIA_EMULATOR_{name}")).ok();
        let number = |name: &str| text(name).and_then(|text| text.parse::<u64>().ok());
        let capability = text("COMPUTE_CAPABILITY").and_then(|text| {
            let (major, minor) = text.split_once('.')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        });
        let lost = text("LOST_AFTER").and_then(|text| {
            let (launches, code) = text.split_once(':').unwrap_or((&text, "214"));
            Some((launches.parse().ok()?, code.parse().ok()?))
        });
        Config {
            n_devices: number("DEVICES").unwrap_or(1) as usize,
            is_part: number("MIG") == Some(1),
            driver_version: number("DRIVER_VERSION").unwrap_or(13000) as i32,
            compute_capability: capability.unwrap_or((9, 0)),
            memory: number("MEMORY").unwrap_or(8 << 30) as usize,
            no_image: text("NO_IMAGE").is_some_and(|text| text != "0"),
            kernels: text("KERNELS").map(PathBuf::from),
            lost,
            checked: text("CHECKED").is_some_and(|text| text != "0"),
            quiet: text("QUIET").is_some_and(|text| text != "0"),
        }
    }
}

struct Driver {
    config: Config,
    initialised: bool,
    last_handle: Handle,
    /// Counts calls that order work.
    sequence: u64,
    devices: Vec<Device>,
    contexts: HashMap<Handle, Context>,
    streams: HashMap<Handle, Stream>,
    events: HashMap<Handle, Event>,
    modules: HashMap<Handle, Module>,
    functions: HashMap<Handle, Function>,
    captures: HashMap<Handle, Capture>,
    graphs: HashMap<Handle, Graph>,
    executables: HashMap<Handle, Graph>,
    memory: Memory,
    launches: u64,
    lost: Option<Code>,
    findings: Vec<String>,
}

#[derive(Default)]
struct Device {
    primary: Option<Handle>,
    retains: u32,
    pool_threshold: u64,
}

struct Context {
    device: usize,
    /// What went wrong on the device: every later call says it too.
    error: Option<Code>,
    queue: VecDeque<Op>,
}

struct Stream {
    context: Handle,
    /// Whether the legacy stream orders it.
    blocking: bool,
    priority: i32,
    capture: Option<Handle>,
}

#[derive(Default)]
struct Event {
    context: Handle,
    timed: bool,
    recorded: Option<u64>,
    finished: Option<(u64, std::time::Instant)>,
    /// The capture that it was recorded in, the stream, and after how many of its operations.
    captured: Option<(Handle, Handle, u64)>,
}

struct Module {
    context: Handle,
    kernels: Kernels,
}

#[derive(Clone)]
struct Function {
    module: Handle,
    kernel: Arc<Kernel>,
    max_dynamic_shared: usize,
}

impl Driver {
    fn new(config: Config) -> Driver {
        let devices = (0..config.n_devices).map(|_| Device::default()).collect();
        Driver {
            config,
            initialised: false,
            last_handle: 0x1000,
            sequence: 0,
            devices,
            contexts: HashMap::new(),
            streams: HashMap::new(),
            events: HashMap::new(),
            modules: HashMap::new(),
            functions: HashMap::new(),
            captures: HashMap::new(),
            graphs: HashMap::new(),
            executables: HashMap::new(),
            memory: Memory::new(),
            launches: 0,
            lost: None,
            findings: Vec::new(),
        }
    }

    fn handle(&mut self) -> Handle {
        self.last_handle += 16;
        self.last_handle
    }

    fn context(&mut self, handle: Handle) -> Result<&mut Context> {
        self.contexts.get_mut(&handle).ok_or(errors::INVALID_CONTEXT)
    }

    fn device(&mut self, ordinal: i32) -> Result<usize> {
        let index = usize::try_from(ordinal).map_err(|_| errors::INVALID_DEVICE)?;
        if index < self.devices.len() { Ok(index) } else { Err(errors::INVALID_DEVICE) }
    }

    /// Destroys a context and all that was made in it.
    fn destroy_context(&mut self, handle: Handle) {
        self.contexts.remove(&handle);
        self.streams.retain(|_, stream| stream.context != handle);
        self.events.retain(|_, event| event.context != handle);
        let modules: Vec<Handle> =
            self.modules.iter().filter(|(_, module)| module.context == handle).map(|(&module, _)| module).collect();
        self.functions.retain(|_, function| !modules.contains(&function.module));
        self.modules.retain(|_, module| module.context != handle);
        self.graphs.retain(|_, graph| graph.context != handle);
        self.executables.retain(|_, graph| graph.context != handle);
        self.captures.retain(|_, capture| capture.context != handle);
        self.memory.forget(handle);
    }
}

/// Runs a function of the driver that needs nothing to be there.
fn always(body: impl FnOnce(&mut Driver) -> Result<()>) -> Status {
    let mut driver = DRIVER.lock().unwrap_or_else(|poison| poison.into_inner());
    match body(&mut driver) {
        Ok(()) => 0,
        Err(code) => code,
    }
}

/// Runs a function of the driver that needs cuInit.
fn call(body: impl FnOnce(&mut Driver) -> Result<()>) -> Status {
    always(|driver| if driver.initialised { body(driver) } else { Err(errors::NOT_INITIALIZED) })
}

/// Runs a function of the driver that works in the current context, unless something has gone wrong in it.
fn in_context(body: impl FnOnce(&mut Driver, Handle) -> Result<()>) -> Status {
    call(|driver| {
        let current = CURRENT.with_borrow(|stack| stack.last().copied()).ok_or(errors::INVALID_CONTEXT)?;
        let error = driver.context(current)?.error.or(driver.lost);
        error.map_or(Ok(()), Err)?;
        body(driver, current)
    })
}

/// Writes what a function returns through a pointer.
///
/// # Safety
/// `to` is null or may be written.
unsafe fn give<T>(to: *mut T, value: T) -> Result<()> {
    if to.is_null() {
        return Err(errors::INVALID_VALUE);
    }
    // SAFETY: as above.
    unsafe { to.write(value) };
    Ok(())
}

/// Takes what the checker has found since the last call: writes up to `size` bytes of text, one finding a line, and returns
/// how many there are. For tests.
///
/// # Safety
/// `size` bytes at `to` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pareidolia_emulator_findings(to: *mut u8, size: usize) -> usize {
    let mut driver = DRIVER.lock().unwrap_or_else(|poison| poison.into_inner());
    let text = std::mem::take(&mut driver.findings).join("\n");
    // SAFETY: as above.
    unsafe { to.copy_from(text.as_ptr(), text.len().min(size)) };
    text.len().min(size)
}
