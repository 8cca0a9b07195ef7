//! The GPUs of this machine, found without a CUDA library at build time or start.

use crate::backend::memory::bytes_text;
use crate::error::{Error, Result, driver_text};
use crate::kernels as built;
use cudarc::driver::DriverError;
use cudarc::driver::result::{self, device};
use cudarc::driver::sys::{self, CUdevice_attribute, CUresult};
use serde::Serialize;
use std::fmt;

/// A GPU as its driver describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Device {
    /// Its number: N of `--device cuda:N`.
    pub number: u32,
    pub name: String,
    /// Major and minor.
    pub compute_capability: (u32, u32),
    pub memory_bytes: u64,
    /// Its place: domain, bus, device, function, as `00000000:3b:00.0`.
    pub pci_bus_id: String,
    /// As `01234567-89ab-cdef-0123-456789abcdef`; of a part of a GPU (MIG), its own.
    pub uuid: Option<String>,
    /// The newest CUDA that its driver knows, major and minor.
    pub driver_cuda: (u32, u32),
}

impl Device {
    /// What `--device` calls it.
    pub fn id(&self) -> String {
        format!("cuda:{}", self.number)
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Device { number, name, compute_capability: (major, minor), memory_bytes, driver_cuda, .. } = self;
        let (memory, (cuda, minor_cuda)) = (bytes_text(*memory_bytes), driver_cuda);
        write!(
            f,
            "cuda:{number}, {name}, compute capability {major}.{minor}, {memory}, driver of CUDA {cuda}.{minor_cuda}"
        )
    }
}

/// All GPUs, at least one.
///
/// # Errors
/// [`Error::NoDevice`] with the reason why there is none, in a line.
pub fn list() -> Result<Vec<Device>> {
    // cudarc panics where the library is missing. Looking for it loads and unloads it, which runs its initialisers: those of a
    // driver are made for that.
    // SAFETY: it is loaded by its well-known name alone.
    if !unsafe { sys::is_culib_present() } {
        return none("no NVIDIA driver: libcuda is not installed");
    }
    let version = driver_version()?;
    if version < built::DRIVER_VERSION {
        let (major, minor) = cuda_version(version);
        let release = built::DRIVER_RELEASE;
        return none(&format!(
            "the NVIDIA driver is too old: it is of CUDA {major}.{minor}; wanted release {release} or later"
        ));
    }
    let refused = |error: DriverError| match error.0 {
        CUresult::CUDA_ERROR_NO_DEVICE => {
            Error::NoDevice { reason: "an NVIDIA driver, but no GPU that it may use".into() }
        }
        _ => Error::NoDevice { reason: format!("the NVIDIA driver does not start: {}", driver_text(&error)) },
    };
    result::init().map_err(refused)?;
    match device::get_count().map_err(refused)? {
        0 => Err(refused(DriverError(CUresult::CUDA_ERROR_NO_DEVICE))),
        count => (0..count as u32).map(|number| describe(number, version).map_err(refused)).collect(),
    }
}

fn none<T>(reason: &str) -> Result<T> {
    Err(Error::NoDevice { reason: reason.to_string() })
}

/// Its newest CUDA, `1000 * major + 10 * minor`.
fn driver_version() -> Result<i32> {
    let mut version = 0;
    // SAFETY: it writes the one number, and may be called before everything else.
    let answer = unsafe { sys::cuDriverGetVersion(&mut version) };
    answer.result().map_err(Error::driver("ask for the version of the driver"))?;
    Ok(version)
}

fn cuda_version(version: i32) -> (u32, u32) {
    ((version / 1000) as u32, (version % 1000 / 10) as u32)
}

fn describe(number: u32, driver_version: i32) -> Result<Device, DriverError> {
    let device = device::get(number as i32)?;
    let attribute = |attribute| {
        // SAFETY: the device was just looked up.
        unsafe { device::get_attribute(device, attribute) }.map(|value| value as u32)
    };
    let major = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    let domain = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID)?;
    let bus = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_PCI_BUS_ID)?;
    let place = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID)?;
    Ok(Device {
        number,
        name: device::get_name(device)?,
        compute_capability: (major, minor),
        // SAFETY: as above.
        memory_bytes: unsafe { device::total_mem(device) }? as u64,
        pci_bus_id: format!("{domain:08x}:{bus:02x}:{place:02x}.0"),
        uuid: device::get_uuid(device).ok().map(|uuid| uuid_text(&uuid.bytes.map(|byte| byte as u8))),
        driver_cuda: cuda_version(driver_version),
    })
}

/// A UUID as it is written.
fn uuid_text(bytes: &[u8; 16]) -> String {
    let hex = |part: &[u8]| part.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    [&bytes[..4], &bytes[4..6], &bytes[6..8], &bytes[8..10], &bytes[10..]].map(hex).join("-")
}
