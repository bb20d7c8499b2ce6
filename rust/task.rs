// SPDX-License-Identifier: GPL-2.0
//! The current task.
//!
//! ```
//! use kernel_ext::task::TaskRef;
//!
//! struct Request {
//!     submitter: TaskRef,
//! }
//!
//! // Whoever works on it gives up when nobody wants it any more.
//! fn is_wanted(request: &Request) -> bool {
//!     !request.submitter.fatal_signal_pending()
//! }
//! ```

use crate::bindings;
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use kernel::task::Task;

/// Length of a task's command name with its NUL.
const COMM_LEN: usize = bindings::TASK_COMM_LEN as usize;

/// Thread id of the current task in the initial pid namespace.
pub fn current_pid() -> i32 {
    // SAFETY: `current` is valid.
    unsafe { bindings::current_pid() }
}

/// Process id of the current task in the initial pid namespace.
pub fn current_tgid() -> i32 {
    // SAFETY: `current` is valid.
    unsafe { bindings::current_tgid() }
}

/// Whether the current task is being killed.
pub fn fatal_signal_pending() -> bool {
    // SAFETY: `current` is valid.
    unsafe { bindings::current_fatal_signal_pending() }
}

/// A counted reference to a task.
#[derive(Clone)]
pub struct TaskRef(ARef<Task>);

impl TaskRef {
    /// Of the current task.
    pub fn current() -> Self {
        Self(ARef::from(&**kernel::current!()))
    }

    /// Whether the task is being killed.
    pub fn fatal_signal_pending(&self) -> bool {
        // SAFETY: The task is valid as long as we have a reference.
        unsafe { bindings::task_fatal_signal_pending(self.0.as_ptr()) }
    }

    /// Whether all threads of the task's process have ended, or are about to. Killed ones
    /// that have come so far have no signal pending any more.
    pub fn process_has_ended(&self) -> bool {
        // SAFETY: The task is valid as long as we have a reference.
        unsafe { bindings::task_process_has_ended(self.0.as_ptr()) }
    }

    /// Its command name.
    pub fn comm(&self) -> Comm {
        Comm::of(&self.0)
    }
}

/// User and group that the current task has for file systems, in the initial user
/// namespace.
pub fn fs_ids() -> (u32, u32) {
    // SAFETY: `current` is valid.
    unsafe { (bindings::current_fs_uid(), bindings::current_fs_gid()) }
}

/// Supplementary groups of the current task, in the initial user namespace.
///
/// # Errors
///
/// `ENOMEM`.
pub fn groups() -> Result<KVec<u32>> {
    let mut groups = KVec::new();
    loop {
        let mut gid = 0;
        // SAFETY: `gid` is valid for writes. The groups of `current` do not change
        // under it.
        let more = unsafe { bindings::current_group(groups.len() as u32, &mut gid) };
        if !more {
            return Ok(groups);
        }
        groups.push(gid, GFP_KERNEL)?;
    }
}

/// `__NEW_UTS_LEN` and a NUL.
const UTS_LEN: usize = 65;

fn uts(get: unsafe extern "C" fn(*mut kernel::ffi::c_char)) -> Result<KVec<u8>> {
    let mut buf = [0u8; UTS_LEN];
    // SAFETY: The callers below name functions that write UTS_LEN bytes.
    unsafe { get(buf.as_mut_ptr().cast()) };
    let mut name = KVec::new();
    for byte in buf.iter().take_while(|byte| **byte != 0) {
        name.push(*byte, GFP_KERNEL)?;
    }
    Ok(name)
}

/// The host name, in the UTS namespace of the current task (the initial one if that is
/// exiting). May sleep.
///
/// # Errors
///
/// `ENOMEM`.
pub fn node_name() -> Result<KVec<u8>> {
    uts(bindings::utsname_node)
}

/// The release of the running kernel, as `uname -r` prints it.
///
/// # Errors
///
/// `ENOMEM`.
pub fn kernel_release() -> Result<KVec<u8>> {
    uts(bindings::utsname_release)
}

/// A task's command name.
#[derive(Clone, Copy)]
pub struct Comm([u8; COMM_LEN]);

impl Comm {
    /// Of a task.
    pub(crate) fn of(task: &Task) -> Self {
        let mut buf = [0u8; COMM_LEN];
        // SAFETY: `buf` has TASK_COMM_LEN bytes.
        unsafe { bindings::task_comm(buf.as_mut_ptr().cast(), task.as_ptr()) };
        Comm(buf)
    }

    /// Its bytes, which may be any but 0.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

impl fmt::Display for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use kernel::fmt::Write;
        for &b in self.0.iter().take_while(|&&b| b != 0) {
            f.write_char(if b.is_ascii_graphic() || b == b' ' {
                b.into()
            } else {
                '?'
            })?;
        }
        Ok(())
    }
}

#[kunit_tests(kernel_ext_task)]
mod tests {
    use super::*;

    #[test]
    fn current() {
        assert!(current_pid() > 0);
        assert!(current_tgid() > 0);
        assert!(!fatal_signal_pending());
        let task = TaskRef::current();
        assert!(!task.clone().fatal_signal_pending());
        assert!(!task.process_has_ended());
        assert!(!task.comm().as_bytes().is_empty());
    }
}
