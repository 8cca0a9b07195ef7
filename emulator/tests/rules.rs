//! What the driver refuses, as a real one does.

mod common;

use common::{device, emulator, fixture, kernel};
use cudarc::driver::result::{self, memset_d8_async};
use cudarc::driver::sys::{
    self, CUfunction_attribute, CUgraphInstantiate_flags, CUresult, CUstreamCaptureMode, CUstreamCaptureStatus,
};
use cudarc::driver::{CudaContext, CudaStream, DevicePtr, DriverError, LaunchConfig, PushKernelArg};
use pareidolia_emulator::compile::Build;
use std::sync::{Arc, Mutex, MutexGuard};

const MODE: CUstreamCaptureMode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;

/// A capture in global mode is the whole process's business: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|poison| poison.into_inner())
}

fn end(stream: &Arc<CudaStream>) -> Result<(), CUresult> {
    stream.end_capture(CUgraphInstantiate_flags(0)).map(drop).map_err(|error| error.0)
}

/// Inside a capture `fault` is refused with `code`, and the capture is lost; the device is not.
#[track_caller]
fn refused_in_capture(
    code: CUresult,
    fault: impl FnOnce(&Arc<CudaContext>, &Arc<CudaStream>) -> Result<(), DriverError>,
) {
    let _alone = alone();
    if emulator().is_none() {
        return;
    }
    let (context, stream) = device();
    stream.begin_capture(MODE).unwrap();
    assert_eq!(fault(&context, &stream).map_err(|error| error.0), Err(code));
    assert_eq!(stream.capture_status().unwrap(), CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_INVALIDATED);
    assert_eq!(end(&stream), Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED));
    assert_eq!(stream.clone_dtoh(&stream.clone_htod(&[1u32, 2]).unwrap()).unwrap(), [1, 2]);
}

#[test]
fn allocation_in_a_capture_is_refused() {
    // SAFETY: nothing is allocated.
    refused_in_capture(CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, |_, stream| {
        unsafe { stream.alloc::<u8>(16) }.map(drop)
    });
    // SAFETY: as above.
    refused_in_capture(CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, |_, _| {
        unsafe { result::malloc_sync(16) }.map(drop)
    });
}

#[test]
fn synchronisation_in_a_capture_is_refused() {
    refused_in_capture(CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, |_, stream| stream.synchronize());
    refused_in_capture(CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, |context, _| context.synchronize());
}

#[test]
fn synchronous_copy_in_a_capture_is_refused() {
    let _ = emulator();
    let copy = |context: &Arc<CudaContext>, _: &Arc<CudaStream>| {
        context.bind_to_thread()?;
        // SAFETY: refused before it looks at the address.
        unsafe { result::memcpy_htod_sync(4096, &[1u8; 16]) }
    };
    refused_in_capture(CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, copy);
}

#[test]
fn wait_for_a_foreign_event_in_a_capture_is_refused() {
    let foreign = |context: &Arc<CudaContext>, stream: &Arc<CudaStream>| {
        let event = context.new_stream()?.record_event(None)?;
        stream.wait(&event)
    };
    refused_in_capture(CUresult::CUDA_ERROR_STREAM_CAPTURE_ISOLATION, foreign);
}

#[test]
fn event_tracking_in_a_capture_is_refused() {
    let _alone = alone();
    if emulator().is_none() {
        return;
    }
    // cudarc as it comes: each buffer has events, which a launch waits for once there are two streams.
    let context = CudaContext::new(50).unwrap();
    let stream = context.new_stream().unwrap();
    let kernel = kernel(&context, &fixture("collectives.cu"), &[], Build::Fast, "collectives_u32");
    let mut out = stream.alloc_zeros::<u32>(32 * 11).unwrap();
    stream.begin_capture(MODE).unwrap();
    let mut launch = stream.launch_builder(&kernel);
    launch.arg(&mut out).arg(&7u32);
    // SAFETY: the arguments are the kernel's.
    let launched =
        unsafe { launch.launch(LaunchConfig { grid_dim: (1, 1, 1), block_dim: (32, 1, 1), shared_mem_bytes: 128 }) };
    assert_eq!(launched.map(drop).map_err(|error| error.0), Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_ISOLATION));
    assert_eq!(end(&stream), Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED));
}

#[test]
fn legacy_stream_beside_a_capture_is_refused() {
    let _alone = alone();
    if emulator().is_none() {
        return;
    }
    let (context, stream) = device();
    let buffer = stream.alloc_zeros::<u8>(16).unwrap();
    stream.synchronize().unwrap();
    let (address, _order) = buffer.device_ptr(&stream);
    // A stream that the legacy one waits for.
    let blocking = result::stream::create(result::stream::StreamKind::Default).unwrap();
    context.bind_to_thread().unwrap();
    // SAFETY: the stream and the buffer are there.
    unsafe {
        result::stream::begin_capture(blocking, CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED).unwrap();
        let answer = memset_d8_async(address, 1, 16, std::ptr::null_mut());
        assert_eq!(answer.map_err(|error| error.0), Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_IMPLICIT));
        assert_eq!(
            result::stream::end_capture(blocking).map(drop).map_err(|error| error.0),
            Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED)
        );
        // One that does not is left alone.
        result::stream::begin_capture(stream.cu_stream(), CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED).unwrap();
        memset_d8_async(address, 1, 16, std::ptr::null_mut()).unwrap();
    }
    assert_eq!(end(&stream), Ok(()));
}

#[test]
fn graph_replays_with_the_arguments_of_its_capture() {
    let _alone = alone();
    if emulator().is_none() {
        return;
    }
    let (context, stream) = device();
    let kernel = kernel(&context, &fixture("collectives.cu"), &[], Build::Fast, "collectives_u32");
    let mut out = stream.alloc_zeros::<u32>(32 * 11).unwrap();
    let mut argument = 7u32;
    stream.begin_capture(MODE).unwrap();
    let mut launch = stream.launch_builder(&kernel);
    launch.arg(&mut out).arg(&argument);
    // SAFETY: the arguments are the kernel's.
    unsafe { launch.launch(LaunchConfig { grid_dim: (1, 1, 1), block_dim: (32, 1, 1), shared_mem_bytes: 128 }) }
        .unwrap();
    let graph = stream.end_capture(CUgraphInstantiate_flags(0)).unwrap().expect("a graph");
    assert_eq!(stream.clone_dtoh(&out).unwrap(), [0; 32 * 11], "captured work is not done");
    // No thread has this number; the graph does not know.
    argument = 99;
    for _ in 0..2 {
        stream.memset_zeros(&mut out).unwrap();
        graph.launch().unwrap();
        assert_eq!(stream.clone_dtoh(&out).unwrap()[1], 1, "a graph cannot see that its argument is now {argument}");
    }
}

#[test]
fn work_waits_until_someone_waits_for_it() {
    let _alone = alone();
    if emulator().is_none() {
        return;
    }
    let (context, stream) = device();
    let device = stream.clone_htod(&[5u32; 64]).unwrap();
    // SAFETY: written by the copy.
    let mut pinned = unsafe { context.alloc_pinned::<u32>(64) }.unwrap();
    pinned.as_mut_slice().unwrap().fill(0);
    let address = pinned.as_ptr().unwrap();
    stream.memcpy_dtoh(&device, &mut pinned).unwrap();
    // SAFETY: pinned memory is there; a real device might be writing it.
    assert_eq!(unsafe { address.read_volatile() }, 0, "pinned memory is not written before anybody waits");
    stream.synchronize().unwrap();
    assert_eq!(pinned.as_slice().unwrap(), [5; 64]);
}

#[test]
fn launches_are_held_to_their_limits() {
    let _alone = alone();
    if emulator().is_none() {
        return;
    }
    let (context, stream) = device();
    let row_best = kernel(&context, &fixture("row_best.cu"), &[], Build::Fast, "row_best_f32");
    let collectives = kernel(&context, &fixture("collectives.cu"), &[], Build::Fast, "collectives_u32");
    let mut out = stream.alloc_zeros::<u32>(1024 * 11).unwrap();
    let mut launch = |grid: (u32, u32, u32), block: (u32, u32, u32), shared: u32| {
        let mut launch = stream.launch_builder(&collectives);
        launch.arg(&mut out).arg(&7u32);
        // SAFETY: the arguments are the kernel's.
        let launched =
            unsafe { launch.launch(LaunchConfig { grid_dim: grid, block_dim: block, shared_mem_bytes: shared }) };
        launched.map(drop).map_err(|error| error.0)
    };
    let invalid = Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    assert_eq!(launch((0, 1, 1), (32, 1, 1), 128), invalid);
    assert_eq!(launch((1, 65536, 1), (32, 1, 1), 128), invalid);
    assert_eq!(launch((1, 1, 1), (1056, 1, 1), 8192), invalid);
    assert_eq!(launch((1, 1, 1), (1, 1, 65), 8192), invalid);
    assert_eq!(launch((1, 1, 1), (1024, 1, 1), (48 << 10) + 4), invalid);
    assert_eq!(launch((1, 1, 1), (1024, 1, 1), 48 << 10), Ok(()));
    let shared = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    assert_eq!(collectives.set_attribute(shared, (227 << 10) + 1).map_err(|error| error.0), invalid);
    collectives.set_attribute(shared, 227 << 10).unwrap();
    assert_eq!(launch((1, 1, 1), (1024, 1, 1), 227 << 10), Ok(()));
    // 4 * 8 + 4 bytes of its own.
    assert_eq!(row_best.get_attribute(CUfunction_attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES).unwrap(), 36);
    assert_eq!(row_best.get_attribute(CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK).unwrap(), 128);
    assert!(
        context
            .load_module(cudarc::nvrtc::Ptx::from_src("any image"))
            .unwrap()
            .load_function("no_such_kernel")
            .is_err()
    );
    stream.synchronize().unwrap();
}

#[test]
fn memory_is_what_the_device_has() {
    let _alone = alone();
    if emulator().is_none() {
        return;
    }
    let (context, stream) = device();
    let (free, total) = context.mem_get_info().unwrap();
    assert_eq!(free, total);
    // SAFETY: nothing is read.
    let most = unsafe { stream.alloc::<u8>(total) }.unwrap();
    assert_eq!(context.mem_get_info().unwrap().0, 0);
    // SAFETY: as above.
    assert_eq!(
        unsafe { stream.alloc::<u8>(1) }.map(drop).map_err(|error| error.0),
        Err(CUresult::CUDA_ERROR_OUT_OF_MEMORY)
    );
    drop(most);
    assert_eq!(context.mem_get_info().unwrap().0, total);
    // SAFETY: the address is no allocation's.
    unsafe {
        let address = result::malloc_sync(16).unwrap();
        result::free_sync(address).unwrap();
        assert_eq!(
            result::free_sync(address).map_err(|error| error.0),
            Err(CUresult::CUDA_ERROR_INVALID_VALUE),
            "freed twice"
        );
        assert!(result::memset_d8_sync(address, 0, 16).is_err());
    }
    let mut small = stream.alloc_zeros::<u8>(16).unwrap();
    let (address, _order) = cudarc::driver::DevicePtrMut::device_ptr_mut(&mut small, &stream);
    // SAFETY: refused: it reaches beyond the end.
    assert!(unsafe { result::memset_d8_sync(address, 0, 17) }.is_err());
}

/// The test below, in a process of its own whose environment says what is emulated.
const CHILD: &str = "PAREIDOLIA_EMULATOR_TEST_CHILD";

#[test]
fn environment_says_what_is_emulated() {
    if emulator().is_none() {
        return;
    }
    let cases = [
        ("no device", "DEVICES", "0"),
        ("old driver", "DRIVER_VERSION", "11040"),
        ("capability", "COMPUTE_CAPABILITY", "7.5"),
        ("memory", "MEMORY", "1000000"),
        ("no image", "NO_IMAGE", "1"),
        ("lost", "LOST_AFTER", "2"),
        ("unavailable", "LOST_AFTER", "0:46"),
    ];
    for (case, name, value) in cases {
        let program = std::env::current_exe().unwrap();
        let mut child = std::process::Command::new(program);
        child
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env(CHILD, case)
            .env(format!("PAREIDOLIA_EMULATOR_{name}"), value);
        let output = child.output().unwrap();
        assert!(
            output.status.success(),
            "{case}:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
#[ignore = "run by environment_says_what_is_emulated"]
fn child() {
    let case = std::env::var(CHILD).expect("run by its parent");
    pareidolia_emulator::load().unwrap();
    if case == "no device" {
        assert_eq!(result::init().unwrap_err().0, CUresult::CUDA_ERROR_NO_DEVICE);
        return;
    }
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    match case.as_str() {
        "old driver" => {
            let mut version = 0;
            // SAFETY: it writes a number.
            unsafe { sys::cuDriverGetVersion(&mut version) }.result().unwrap();
            assert_eq!(version, 11040);
        }
        "capability" => assert_eq!(context.compute_capability().unwrap(), (7, 5)),
        "memory" => assert_eq!(stream.alloc_zeros::<u8>(1 << 20).unwrap_err().0, CUresult::CUDA_ERROR_OUT_OF_MEMORY),
        "no image" => {
            let refused = context.load_module(cudarc::nvrtc::Ptx::from_src("any")).unwrap_err();
            assert_eq!(refused.0, CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU);
        }
        _ => {
            let kernel = kernel(&context, &fixture("collectives.cu"), &[], Build::Fast, "collectives_u32");
            let mut out = stream.alloc_zeros::<u32>(32 * 11).unwrap();
            let code = if case == "lost" {
                CUresult::CUDA_ERROR_ECC_UNCORRECTABLE
            } else {
                CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE
            };
            for launches in 0..3 {
                let mut launch = stream.launch_builder(&kernel);
                launch.arg(&mut out).arg(&7u32);
                let config = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (32, 1, 1), shared_mem_bytes: 128 };
                // SAFETY: the arguments are the kernel's.
                let launched = unsafe { launch.launch(config) }.map(drop);
                let answer = launched.and_then(|()| stream.synchronize()).map_err(|error| error.0);
                let fine = case == "lost" && launches < 2;
                assert_eq!(answer, if fine { Ok(()) } else { Err(code) });
            }
            assert_eq!(stream.synchronize().unwrap_err().0, code, "a lost device stays lost");
        }
    }
}
