//! The functions of NVML that pareidolia calls, for the same devices: fixed figures, and an energy counter that grows with each launch.
//! They share no lock with the driver: whoever asks NVML does not wait for a kernel.

use crate::driver::{N_HIDDEN, uuid};
use std::ffi::{CStr, c_char, c_uint, c_ulonglong};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What a function says: 0, or one of these.
type Status = u32;
const INVALID_ARGUMENT: Status = 2;
const NOT_SUPPORTED: Status = 3;
const NOT_FOUND: Status = 6;
const INSUFFICIENT_SIZE: Status = 7;
const ARGUMENT_VERSION_MISMATCH: Status = 25;

/// A device in the hands of the caller: 1 and its physical number, and this bit for a part (MIG).
type Handle = usize;
const PART: Handle = 1 << 20;

/// Of an H100.
const SM_CLOCK: [c_uint; 2] = [1755, 1980]; // while something keeps it down, and at most; MHz
const MEMORY_CLOCK: c_uint = 2619;
const POWER: c_uint = 312_500; // mW
const POWER_LIMIT: c_uint = 700_000;
/// Of every launch, in mJ.
const ENERGY_OF_A_LAUNCH: u64 = 50;
/// Launches on all devices so far.
static LAUNCHES: AtomicU64 = AtomicU64::new(0);

/// See README.md for the variables.
struct Config {
    n_devices: usize,
    memory: u64,
    is_part: bool,
    throttle: u64,
    delay: Duration,
    /// Functions that refuse, and what they say.
    refused: Vec<(String, Status)>,
}

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let text = |name: &str| std::env::var(format!("PAREIDOLIA_EMULATOR_{name}")).unwrap_or_default();
    let number = |name: &str| text(name).parse::<u64>().ok();
    let refused = text("NVML_REFUSES");
    let refused = refused.split(',').filter_map(|one| one.split_once(':'));
    Config {
        n_devices: number("DEVICES").unwrap_or(1) as usize,
        memory: number("MEMORY").unwrap_or(8 << 30),
        is_part: number("MIG") == Some(1),
        throttle: u64::from_str_radix(text("THROTTLE").trim_start_matches("0x"), 16).unwrap_or(0),
        delay: Duration::from_millis(number("NVML_DELAY").unwrap_or(0)),
        refused: refused.filter_map(|(name, code)| Some((name.to_string(), code.parse().ok()?))).collect(),
    }
});

/// Counts a launch.
pub fn launched() {
    LAUNCHES.fetch_add(1, Relaxed);
}

/// Runs a function, unless it is one that refuses.
fn call(name: &str, body: impl FnOnce() -> Result<(), Status>) -> Status {
    let refused = CONFIG.refused.iter().find(|(refused, _)| refused == name);
    match refused.map_or_else(body, |&(_, code)| Err(code)) {
        Ok(()) => 0,
        Err(code) => code,
    }
}

/// As [`call`], of a device's present state, which a part does not have: with the device's physical number.
fn ask(name: &str, device: Handle, body: impl FnOnce(usize) -> Result<(), Status>) -> Status {
    call(name, || {
        std::thread::sleep(CONFIG.delay);
        let number = number(device)?;
        if device & PART != 0 { Err(NOT_SUPPORTED) } else { body(number) }
    })
}

/// The physical number of a device.
fn number(device: Handle) -> Result<usize, Status> {
    let number = (device & !PART).checked_sub(1).ok_or(INVALID_ARGUMENT)?;
    if number < *N_HIDDEN + CONFIG.n_devices { Ok(number) } else { Err(INVALID_ARGUMENT) }
}

unsafe fn give<T>(to: *mut T, value: T) -> Result<(), Status> {
    if to.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    // SAFETY: it is not null, so it may be written.
    unsafe { to.write(value) };
    Ok(())
}

unsafe fn give_text(to: *mut c_char, length: c_uint, text: &str) -> Result<(), Status> {
    if to.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    if text.len() >= length as usize {
        return Err(INSUFFICIENT_SIZE);
    }
    // SAFETY: the caller gives so much room.
    unsafe {
        to.cast::<u8>().copy_from(text.as_ptr(), text.len());
        to.add(text.len()).write(0);
    }
    Ok(())
}

fn uuid_text(number: usize, is_part: bool) -> String {
    let hex: String = uuid(number, is_part).iter().map(|byte| format!("{byte:02x}")).collect();
    let kind = if is_part { "MIG" } else { "GPU" };
    format!("{kind}-{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlInit_v2() -> Status {
    call("nvmlInit_v2", || Ok(()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlShutdown() -> Status {
    call("nvmlShutdown", || Ok(()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetDriverVersion(to: *mut c_char, length: c_uint) -> Status {
    call("nvmlSystemGetDriverVersion", || unsafe { give_text(to, length, "580.65.06") })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetNVMLVersion(to: *mut c_char, length: c_uint) -> Status {
    call("nvmlSystemGetNVMLVersion", || unsafe { give_text(to, length, "13.580.65.06") })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByUUID(text: *const c_char, to: *mut Handle) -> Status {
    call("nvmlDeviceGetHandleByUUID", || {
        if text.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        // SAFETY: the caller gives a string.
        let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
        let all = (0..*N_HIDDEN + CONFIG.n_devices).flat_map(|number| [(number, false), (number, true)]);
        let found = all.filter(|&(_, is_part)| !is_part || CONFIG.is_part);
        let found = found.into_iter().find(|&(number, is_part)| uuid_text(number, is_part) == text);
        let (number, is_part) = found.ok_or(NOT_FOUND)?;
        unsafe { give(to, (number + 1) | if is_part { PART } else { 0 }) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByPciBusId_v2(text: *const c_char, to: *mut Handle) -> Status {
    call("nvmlDeviceGetHandleByPciBusId_v2", || {
        if text.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        // SAFETY: the caller gives a string.
        let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
        let mut all = 0..*N_HIDDEN + CONFIG.n_devices;
        let number = all.find(|number| format!("00000000:{number:02x}:00.0") == text).ok_or(NOT_FOUND)?;
        unsafe { give(to, number + 1) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceIsMigDeviceHandle(device: Handle, to: *mut c_uint) -> Status {
    call("nvmlDeviceIsMigDeviceHandle", || {
        number(device)?;
        unsafe { give(to, (device & PART != 0).into()) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetDeviceHandleFromMigDeviceHandle(part: Handle, to: *mut Handle) -> Status {
    call("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", || {
        number(part)?;
        if part & PART == 0 { Err(INVALID_ARGUMENT) } else { unsafe { give(to, part & !PART) } }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetName(device: Handle, to: *mut c_char, length: c_uint) -> Status {
    call("nvmlDeviceGetName", || {
        number(device)?;
        let part = if device & PART != 0 { " MIG 1g.10gb" } else { "" };
        unsafe { give_text(to, length, &format!("NVIDIA H100 (emulated){part}")) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetUUID(device: Handle, to: *mut c_char, length: c_uint) -> Status {
    call("nvmlDeviceGetUUID", || unsafe { give_text(to, length, &uuid_text(number(device)?, device & PART != 0)) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetPowerUsage(device: Handle, to: *mut c_uint) -> Status {
    ask("nvmlDeviceGetPowerUsage", device, |_| unsafe { give(to, POWER) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetEnforcedPowerLimit(device: Handle, to: *mut c_uint) -> Status {
    ask("nvmlDeviceGetEnforcedPowerLimit", device, |_| unsafe { give(to, POWER_LIMIT) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetClockInfo(device: Handle, kind: c_uint, to: *mut c_uint) -> Status {
    ask("nvmlDeviceGetClockInfo", device, |_| {
        let is_down = CONFIG.throttle > 1; // 1: nothing runs
        let clock = match kind {
            0 | 1 => SM_CLOCK[usize::from(!is_down)],
            2 => MEMORY_CLOCK,
            _ => return Err(NOT_SUPPORTED),
        };
        unsafe { give(to, clock) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMaxClockInfo(device: Handle, kind: c_uint, to: *mut c_uint) -> Status {
    ask("nvmlDeviceGetMaxClockInfo", device, |_| {
        let clock = match kind {
            0 | 1 => SM_CLOCK[1],
            2 => MEMORY_CLOCK,
            _ => return Err(NOT_SUPPORTED),
        };
        unsafe { give(to, clock) }
    })
}

/// Each device has another temperature, by which it is known.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetTemperature(device: Handle, sensor: c_uint, to: *mut c_uint) -> Status {
    ask("nvmlDeviceGetTemperature", device, |number| {
        if sensor != 0 {
            return Err(INVALID_ARGUMENT);
        }
        unsafe { give(to, 41 + number as c_uint) }
    })
}

/// nvmlMemory_v2_t.
#[repr(C)]
pub struct Memory {
    version: c_uint,
    total: c_ulonglong,
    reserved: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

/// A third of a device is used, and a ninth of a part.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(device: Handle, to: *mut Memory) -> Status {
    const VERSION: c_uint = size_of::<Memory>() as c_uint | 2 << 24;
    call("nvmlDeviceGetMemoryInfo_v2", || {
        number(device)?;
        // SAFETY: the caller gives such a struct, or null.
        let memory = unsafe { to.as_mut() }.ok_or(INVALID_ARGUMENT)?;
        if memory.version != VERSION {
            return Err(ARGUMENT_VERSION_MISMATCH);
        }
        let total = CONFIG.memory;
        let used = if device & PART != 0 { total / 9 } else { total / 3 };
        *memory = Memory { version: VERSION, total, reserved: 0, free: total - used, used };
        Ok(())
    })
}

/// nvmlUtilization_t.
#[repr(C)]
pub struct Utilisation {
    gpu: c_uint,
    memory: c_uint,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetUtilizationRates(device: Handle, to: *mut Utilisation) -> Status {
    ask("nvmlDeviceGetUtilizationRates", device, |_| unsafe { give(to, Utilisation { gpu: 97, memory: 12 }) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCurrentClocksThrottleReasons(device: Handle, to: *mut c_ulonglong) -> Status {
    ask("nvmlDeviceGetCurrentClocksThrottleReasons", device, |_| unsafe { give(to, CONFIG.throttle) })
}

/// The kernels of all devices count for each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetTotalEnergyConsumption(device: Handle, to: *mut c_ulonglong) -> Status {
    let energy = || 1_000_000_000 + ENERGY_OF_A_LAUNCH * LAUNCHES.load(Relaxed);
    ask("nvmlDeviceGetTotalEnergyConsumption", device, |_| unsafe { give(to, energy()) })
}
