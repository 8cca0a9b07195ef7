//! Capture and graphs. Captured work is not done, and holds copies of its arguments. What a real driver refuses inside a
//! capture is refused, and invalidates it: cuStreamEndCapture then says so.

use super::execute::Op;
use super::stream::is_legacy;
use super::{Driver, Handle, Result, Status, errors, give, in_context};
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::thread::ThreadId;

/// Modes of cuStreamBeginCapture: global, thread-local, relaxed.
const GLOBAL: c_int = 0;
const RELAXED: c_int = 2;

/// A capture that has begun and not ended.
pub struct Capture {
    pub context: Handle,
    origin: Handle,
    mode: c_int,
    thread: ThreadId,
    pub nodes: Vec<Op>,
    pub invalid: bool,
    /// Streams that joined, and how much they had captured when the origin last waited for them.
    forks: HashMap<Handle, Fork>,
}

#[derive(Default)]
struct Fork {
    operations: u64,
    joined: Option<u64>,
}

/// What a capture leaves: work, in order.
#[derive(Clone)]
pub struct Graph {
    pub context: Handle,
    pub nodes: Vec<Op>,
}

impl Driver {
    /// The capture that a stream takes part in.
    pub fn capture_of(&self, stream: Handle) -> Option<Handle> {
        self.streams.get(&stream)?.capture.filter(|capture| self.captures.contains_key(capture))
    }

    /// The capture to add to, if the stream captures.
    pub fn capturing(&mut self, context: Handle, stream: Handle) -> Result<Option<&mut Capture>> {
        if is_legacy(stream) {
            self.touch_legacy(context)?;
            return Ok(None);
        }
        self.stream(stream)?;
        let Some(handle) = self.capture_of(stream) else { return Ok(None) };
        let capture = self.captures.get_mut(&handle).ok_or(errors::INVALID_HANDLE)?;
        if capture.invalid {
            return Err(errors::STREAM_CAPTURE_INVALIDATED);
        }
        if let Some(fork) = capture.forks.get_mut(&stream) {
            fork.operations += 1;
        }
        Ok(Some(capture))
    }

    fn invalidate(&mut self, capture: Handle) {
        if let Some(capture) = self.captures.get_mut(&capture) {
            capture.invalid = true;
            capture.nodes.clear();
        }
    }

    /// For what no stream that captures may be asked: waits, queries, allocations.
    pub fn refuse_in_capture(&mut self, context: Handle, stream: Handle) -> Result<()> {
        if is_legacy(stream) {
            return self.touch_legacy(context);
        }
        self.stream(stream)?;
        let Some(capture) = self.capture_of(stream) else { return Ok(()) };
        self.invalidate(capture);
        Err(errors::STREAM_CAPTURE_UNSUPPORTED)
    }

    /// For what waits for a whole context.
    pub fn refuse_in_any_capture(&mut self, context: Handle) -> Result<()> {
        let open: Vec<Handle> =
            self.captures.iter().filter(|(_, capture)| capture.context == context).map(|(&handle, _)| handle).collect();
        if open.is_empty() {
            return Ok(());
        }
        open.into_iter().for_each(|capture| self.invalidate(capture));
        Err(errors::STREAM_CAPTURE_UNSUPPORTED)
    }

    /// For what CUDA calls potentially unsafe: not while this thread captures, nor while any does in global mode.
    pub fn forbid_unsafe(&mut self) -> Result<()> {
        let own = std::thread::current().id();
        let forbids = |capture: &Capture| capture.mode == GLOBAL || capture.mode != RELAXED && capture.thread == own;
        let open: Vec<Handle> =
            self.captures.iter().filter(|(_, capture)| forbids(capture)).map(|(&handle, _)| handle).collect();
        if open.is_empty() {
            return Ok(());
        }
        open.into_iter().for_each(|capture| self.invalidate(capture));
        Err(errors::STREAM_CAPTURE_UNSUPPORTED)
    }

    /// For what goes through the legacy stream: it would wait for streams that capture, unless they were made not to.
    pub fn touch_legacy(&mut self, context: Handle) -> Result<()> {
        let waits = |stream: &super::Stream| stream.context == context && stream.blocking && stream.capture.is_some();
        let open: Vec<Handle> =
            self.streams.values().filter(|stream| waits(stream)).filter_map(|stream| stream.capture).collect();
        if open.is_empty() {
            return Ok(());
        }
        open.into_iter().for_each(|capture| self.invalidate(capture));
        Err(errors::STREAM_CAPTURE_IMPLICIT)
    }

    /// Records an event in a stream that captures. Returns whether it does.
    pub fn capture_record(&mut self, context: Handle, stream: Handle, event: Handle) -> Result<bool> {
        let Some(handle) = (if is_legacy(stream) { None } else { self.capture_of(stream) }) else { return Ok(false) };
        let operations = match self.capturing(context, stream)? {
            Some(capture) => capture.forks.get(&stream).map_or(0, |fork| fork.operations),
            None => return Ok(false),
        };
        self.event(event)?.captured = Some((handle, stream, operations));
        Ok(true)
    }

    /// Lets a stream wait for an event where either is captured. Returns whether one is.
    pub fn capture_wait(&mut self, context: Handle, stream: Handle, event: Handle) -> Result<bool> {
        let own = if is_legacy(stream) { None } else { self.capture_of(stream) };
        let captured = self.event(event)?.captured;
        match (own, captured) {
            (None, None) => Ok(false),
            (Some(own), Some((other, from, operations))) if own == other => {
                let capture = self.captures.get_mut(&own).ok_or(errors::INVALID_HANDLE)?;
                if capture.invalid {
                    return Err(errors::STREAM_CAPTURE_INVALIDATED);
                }
                if let Some(fork) = capture.forks.get_mut(&from) {
                    fork.joined = Some(operations);
                }
                Ok(true)
            }
            (Some(own), Some((other, ..))) => {
                self.invalidate(own);
                self.invalidate(other);
                Err(errors::STREAM_CAPTURE_MERGE)
            }
            // The wait would tie the graph to work outside of it.
            (Some(own), None) => {
                self.invalidate(own);
                Err(errors::STREAM_CAPTURE_ISOLATION)
            }
            (None, Some((other, ..))) => {
                if is_legacy(stream) {
                    self.touch_legacy(context)?;
                    return Err(errors::STREAM_CAPTURE_IMPLICIT);
                }
                let capture = self.captures.get_mut(&other).ok_or(errors::CAPTURED_EVENT)?;
                capture.forks.insert(stream, Fork::default());
                self.stream(stream)?.capture = Some(other);
                Ok(true)
            }
        }
    }

    /// For what cannot be asked of an event that stands in a capture.
    pub fn refuse_captured(&mut self, event: Handle) -> Result<()> {
        let Some((capture, ..)) = self.event(event)?.captured else { return Ok(()) };
        self.invalidate(capture);
        Err(errors::CAPTURED_EVENT)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamBeginCapture_v2(stream: Handle, mode: c_int) -> Status {
    in_context(|driver, context| {
        if is_legacy(stream) {
            return Err(errors::STREAM_CAPTURE_UNSUPPORTED);
        }
        if !(GLOBAL..=RELAXED).contains(&mode) {
            return Err(errors::INVALID_VALUE);
        }
        if driver.stream(stream)?.capture.is_some() {
            return Err(errors::ILLEGAL_STATE);
        }
        let handle = driver.handle();
        let thread = std::thread::current().id();
        let capture =
            Capture { context, origin: stream, mode, thread, nodes: Vec::new(), invalid: false, forks: HashMap::new() };
        driver.captures.insert(handle, capture);
        driver.stream(stream)?.capture = Some(handle);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamEndCapture(stream: Handle, to: *mut Handle) -> Status {
    in_context(|driver, context| {
        unsafe { give(to, 0)? };
        let handle = driver.stream(stream)?.capture.ok_or(errors::ILLEGAL_STATE)?;
        let capture = driver.captures.get(&handle).ok_or(errors::ILLEGAL_STATE)?;
        if capture.origin != stream {
            driver.invalidate(handle);
            return Err(errors::STREAM_CAPTURE_UNMATCHED);
        }
        if capture.mode != RELAXED && capture.thread != std::thread::current().id() {
            return Err(errors::STREAM_CAPTURE_WRONG_THREAD);
        }
        let capture = driver.captures.remove(&handle).ok_or(errors::ILLEGAL_STATE)?;
        driver
            .streams
            .values_mut()
            .filter(|stream| stream.capture == Some(handle))
            .for_each(|stream| stream.capture = None);
        if capture.invalid {
            return Err(errors::STREAM_CAPTURE_INVALIDATED);
        }
        if capture.forks.values().any(|fork| fork.joined.is_none_or(|joined| joined < fork.operations)) {
            return Err(errors::STREAM_CAPTURE_UNJOINED);
        }
        let graph = driver.handle();
        driver.graphs.insert(graph, Graph { context, nodes: capture.nodes });
        unsafe { give(to, graph) }
    })
}

fn status(driver: &mut Driver, context: Handle, stream: Handle) -> Result<(c_int, u64)> {
    if is_legacy(stream) {
        driver.touch_legacy(context)?;
        return Ok((0, 0));
    }
    driver.stream(stream)?;
    let capture = driver.capture_of(stream);
    let invalid = capture.and_then(|capture| driver.captures.get(&capture)).is_some_and(|capture| capture.invalid);
    Ok((if capture.is_none() { 0 } else { 1 + c_int::from(invalid) }, capture.unwrap_or(0) as u64))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamIsCapturing(stream: Handle, to: *mut c_int) -> Status {
    in_context(|driver, context| {
        let (status, _) = status(driver, context, stream)?;
        unsafe { give(to, status) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamGetCaptureInfo_v2(
    stream: Handle,
    to: *mut c_int,
    id: *mut u64,
    graph: *mut c_void,
    dependencies: *mut c_void,
    n_dependencies: *mut usize,
) -> Status {
    in_context(|driver, context| {
        if !(graph.is_null() && dependencies.is_null() && n_dependencies.is_null()) {
            return Err(errors::NOT_SUPPORTED);
        }
        let (status, number) = status(driver, context, stream)?;
        unsafe { give(to, status)? };
        if id.is_null() { Ok(()) } else { unsafe { give(id, number) } }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuThreadExchangeStreamCaptureMode(_mode: *mut c_int) -> Status {
    errors::NOT_SUPPORTED
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphInstantiateWithFlags(to: *mut Handle, graph: Handle, _flags: u64) -> Status {
    in_context(|driver, _| {
        let graph = driver.graphs.get(&graph).ok_or(errors::INVALID_VALUE)?.clone();
        let handle = driver.handle();
        driver.executables.insert(handle, graph);
        unsafe { give(to, handle) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphLaunch(executable: Handle, stream: Handle) -> Status {
    in_context(|driver, context| {
        let graph = driver.executables.get(&executable).ok_or(errors::INVALID_VALUE)?.clone();
        if driver.capture_of(stream).is_some() {
            return Err(errors::NOT_SUPPORTED); // it would be a graph within the graph
        }
        graph.nodes.into_iter().try_for_each(|op| driver.enqueue(context, stream, op))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphUpload(executable: Handle, stream: Handle) -> Status {
    in_context(|driver, context| {
        driver.executables.get(&executable).ok_or(errors::INVALID_VALUE)?;
        driver.refuse_in_capture(context, stream)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphExecDestroy(executable: Handle) -> Status {
    in_context(|driver, _| driver.executables.remove(&executable).map(drop).ok_or(errors::INVALID_VALUE))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphDestroy(graph: Handle) -> Status {
    in_context(|driver, _| driver.graphs.remove(&graph).map(drop).ok_or(errors::INVALID_VALUE))
}
