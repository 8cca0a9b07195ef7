//! Streams and events.

use super::execute::Op;
use super::{Driver, Event, Handle, Result, Status, Stream, errors, give, in_context};
use std::ffi::{c_int, c_void};

const NON_BLOCKING: u32 = 1;
const DISABLE_TIMING: u32 = 2;

/// The null stream, and its names.
pub fn is_legacy(stream: Handle) -> bool {
    stream <= 2
}

impl Driver {
    pub fn stream(&mut self, handle: Handle) -> Result<&mut Stream> {
        self.streams.get_mut(&handle).ok_or(errors::INVALID_HANDLE)
    }

    pub fn event(&mut self, handle: Handle) -> Result<&mut Event> {
        self.events.get_mut(&handle).ok_or(errors::INVALID_HANDLE)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreate(to: *mut Handle, flags: u32) -> Status {
    unsafe { cuStreamCreateWithPriority(to, flags, 0) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreateWithPriority(to: *mut Handle, flags: u32, priority: c_int) -> Status {
    in_context(|driver, context| {
        let handle = driver.handle();
        driver.streams.insert(handle, Stream { context, blocking: flags & NON_BLOCKING == 0, priority, capture: None });
        unsafe { give(to, handle) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamDestroy_v2(stream: Handle) -> Status {
    in_context(|driver, _| driver.streams.remove(&stream).map(drop).ok_or(errors::INVALID_HANDLE))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamGetPriority(stream: Handle, to: *mut c_int) -> Status {
    in_context(|driver, _| {
        let priority = if is_legacy(stream) { 0 } else { driver.stream(stream)?.priority };
        unsafe { give(to, priority) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamSynchronize(stream: Handle) -> Status {
    in_context(|driver, context| {
        driver.refuse_in_capture(context, stream)?;
        driver.drain(context)
    })
}

/// Says "not ready" once while work waits, as a device would that is still at it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamQuery(stream: Handle) -> Status {
    in_context(|driver, context| {
        driver.refuse_in_capture(context, stream)?;
        let waits = !driver.context(context)?.queue.is_empty();
        driver.drain(context)?;
        if waits { Err(errors::NOT_READY) } else { Ok(()) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamWaitEvent(stream: Handle, event: Handle, _flags: u32) -> Status {
    in_context(|driver, context| {
        if !is_legacy(stream) {
            driver.stream(stream)?;
        }
        // The queue's one order is every stream's.
        driver.capture_wait(context, stream, event).map(drop)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamAttachMemAsync(_stream: Handle, _address: u64, _length: usize, _flags: u32) -> Status {
    errors::NOT_SUPPORTED
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchHostFunc(
    stream: Handle,
    function: Option<unsafe extern "C" fn(*mut c_void)>,
    data: *mut c_void,
) -> Status {
    in_context(|driver, context| {
        let function = function.ok_or(errors::INVALID_VALUE)?;
        driver.enqueue(context, stream, Op::Host { function, data: data as usize })
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventCreate(to: *mut Handle, flags: u32) -> Status {
    in_context(|driver, context| {
        let handle = driver.handle();
        driver.events.insert(handle, Event { context, timed: flags & DISABLE_TIMING == 0, ..Event::default() });
        unsafe { give(to, handle) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventDestroy_v2(event: Handle) -> Status {
    in_context(|driver, _| driver.events.remove(&event).map(drop).ok_or(errors::INVALID_HANDLE))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventRecord(event: Handle, stream: Handle) -> Status {
    in_context(|driver, context| {
        driver.event(event)?;
        if driver.capture_record(context, stream, event)? {
            return Ok(());
        }
        driver.sequence += 1;
        let sequence = driver.sequence;
        driver.enqueue(context, stream, Op::Record { event, sequence })?;
        let event = driver.event(event)?;
        (event.recorded, event.captured) = (Some(sequence), None);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventQuery(event: Handle) -> Status {
    in_context(|driver, context| {
        driver.refuse_captured(event)?;
        driver.forbid_unsafe()?;
        let event = driver.event(event)?;
        let waits = event.recorded.is_some() && event.finished.map(|(sequence, _)| sequence) != event.recorded;
        driver.drain(context)?;
        if waits { Err(errors::NOT_READY) } else { Ok(()) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventSynchronize(event: Handle) -> Status {
    in_context(|driver, context| {
        driver.refuse_captured(event)?;
        driver.forbid_unsafe()?;
        driver.drain(context)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime(to: *mut f32, start: Handle, end: Handle) -> Status {
    in_context(|driver, _| {
        let mut times = [None; 2];
        for (event, time) in [start, end].into_iter().zip(&mut times) {
            driver.refuse_captured(event)?;
            let event = driver.event(event)?;
            if !event.timed || event.recorded.is_none() {
                return Err(errors::INVALID_HANDLE);
            }
            *time = event.finished.filter(|(sequence, _)| Some(*sequence) == event.recorded).map(|(_, time)| time);
        }
        let [Some(start), Some(end)] = times else { return Err(errors::NOT_READY) };
        let milliseconds = if end >= start { (end - start).as_secs_f32() } else { -(start - end).as_secs_f32() } * 1e3;
        unsafe { give(to, milliseconds) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime_v2(to: *mut f32, start: Handle, end: Handle) -> Status {
    unsafe { cuEventElapsedTime(to, start, end) }
}
