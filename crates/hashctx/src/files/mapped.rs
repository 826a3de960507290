//! Looks at a part of a file where the kernel has it: what is not copied first is hashed in some
//! four fifths of the time.
//!
//! A process that touches a mapped page that a file no longer has, or that its disk cannot give, is
//! sent SIGBUS, which ends a process. Not here: zeros take the place of the part, and the caller is
//! told that what it saw is worth nothing. Any other SIGBUS does what it would do without this
//! module.
//!
//! Limit: a thread looks at one part at a time, and at what it mapped itself.

#![expect(unsafe_code, reason = "there is no safe way to map a file, nor to live on where it is cut short")]

use std::fs::File;
use std::mem;
use std::os::fd::AsRawFd;
use std::ptr;
use std::slice;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, compiler_fence};

use libc::{c_int, c_void, siginfo_t};

/// Calls `look` with `size` bytes of a file from `offset`, a multiple of the size of a page, on.
/// `None` where they cannot be mapped, or are not all there: reading them then says why.
///
/// They may change while they are looked at, as between two reads: `look` must do with any bytes.
pub(crate) fn look<T>(file: &File, offset: u64, size: usize, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
    BEFORE.get_or_init(install).as_ref()?;
    let mapping = Mapping::new(file, offset, size)?;
    HERE.with(|here| {
        let part = Part::enter(here, &mapping)?;
        let seen = look(mapping.bytes());
        part.is_whole().then_some(seen)
    })
}

/// A part of a file in memory.
struct Mapping {
    start: *mut c_void,
    size: usize,
}

impl Mapping {
    fn new(file: &File, offset: u64, size: usize) -> Option<Self> {
        let offset = offset.try_into().ok()?;
        let (access, fd) = (libc::PROT_READ, file.as_raw_fd());
        // SAFETY: the kernel chooses the place, so that nothing else loses its own.
        let start = unsafe { libc::mmap(ptr::null_mut(), size, access, libc::MAP_SHARED, fd, offset) };
        (start != libc::MAP_FAILED).then_some(Self { start, size })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: all of it is mapped and can be read until `self` is dropped: a page that cannot
        // be had is replaced by one of zeros when it is touched. Others may write to the file
        // meanwhile. What is looked at is hashed and nothing else: no address, length or branch
        // comes from it.
        unsafe { slice::from_raw_parts(self.start.cast(), self.size) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is what was mapped, and no borrow of it can be left.
        unsafe { libc::munmap(self.start, self.size) };
    }
}

thread_local! {
    /// What the thread looks at. Made without code and dropped without any, so that a signal's
    /// handler may ask for it.
    static HERE: Here = const {
        Here { start: AtomicUsize::new(0), size: AtomicUsize::new(0), spoilt: AtomicBool::new(false) }
    };
}

/// Only one thread sees it, but its handler may come between any two steps.
struct Here {
    start: AtomicUsize,
    /// 0 where the thread looks at nothing.
    size: AtomicUsize,
    spoilt: AtomicBool,
}

/// A part that is looked at until this is dropped.
struct Part<'h>(&'h Here);

impl<'h> Part<'h> {
    /// `None` where the thread looks at another one.
    fn enter(here: &'h Here, mapping: &Mapping) -> Option<Self> {
        if here.size.load(Ordering::Relaxed) != 0 {
            return None;
        }
        here.spoilt.store(false, Ordering::Relaxed);
        here.start.store(mapping.start.addr(), Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        here.size.store(mapping.size, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        Some(Self(here))
    }

    /// Whether all that was looked at so far was the file's.
    fn is_whole(&self) -> bool {
        compiler_fence(Ordering::SeqCst);
        !self.0.spoilt.load(Ordering::Relaxed)
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        compiler_fence(Ordering::SeqCst);
        self.0.size.store(0, Ordering::Relaxed);
    }
}

impl Here {
    /// Puts zeros in the place of the part, if the address is in it.
    fn spoil(&self, address: usize) -> bool {
        let (start, size) = (self.start.load(Ordering::Relaxed), self.size.load(Ordering::Relaxed));
        if address.checked_sub(start).is_none_or(|at| at >= size) {
            return false;
        }
        self.spoilt.store(true, Ordering::Relaxed);
        let (place, zeros) = (ptr::without_provenance_mut(start), libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: `Mapping` holds this place and nothing but reads goes there. A handler may make
        // the call.
        let mapped = unsafe { libc::mmap(place, size, libc::PROT_READ, zeros | libc::MAP_FIXED, -1, 0) };
        mapped != libc::MAP_FAILED
    }
}

/// What was to be done about SIGBUS before; `None` where that could not be changed.
static BEFORE: OnceLock<Option<libc::sigaction>> = OnceLock::new();

fn install() -> Option<libc::sigaction> {
    let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = on_bus_error;
    let mut action = default_action();
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    let mut before = default_action();
    // SAFETY: both are whole; the handler has the form that SA_SIGINFO asks for, and calls only
    // what one may call.
    let failed = unsafe { libc::sigaction(libc::SIGBUS, &raw const action, &raw mut before) };
    (failed == 0).then_some(before)
}

fn default_action() -> libc::sigaction {
    // SAFETY: it has numbers and an optional pointer: all may be zero, and SIG_DFL is.
    unsafe { mem::zeroed() }
}

extern "C" fn on_bus_error(signal: c_int, info: *mut siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel hands over a whole one, and says where the fault was in each that is its
    // own.
    let fault = unsafe { ((*info).si_code > 0).then(|| (*info).si_addr().addr()) };
    if fault.is_some_and(|address| HERE.with(|here| here.spoil(address))) {
        return;
    }
    let before = BEFORE.get().copied().flatten().unwrap_or_else(default_action);
    // SAFETY: the action was in force before, or is the default. A fault comes again when its
    // instruction does; a signal that a process sent has to be sent again.
    unsafe {
        libc::sigaction(signal, &raw const before, ptr::null_mut());
        if fault.is_none() {
            libc::raise(signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    const SIZE: usize = 1 << 20;

    fn file() -> (File, Vec<u8>) {
        let bytes: Vec<u8> = (0..2 * SIZE).map(|at| (at / 7 % 251).to_le_bytes()[0]).collect();
        let mut file = tempfile::tempfile().expect("a temp file");
        file.write_all(&bytes).expect("written");
        (file, bytes)
    }

    #[test]
    fn each_part_is_what_the_file_has() {
        let (file, bytes) = file();
        for offset in [0, SIZE] {
            let seen = look(&file, offset as u64, SIZE, <[u8]>::to_vec).expect("mapped");
            assert!(seen == bytes[offset..offset + SIZE]);
        }
    }

    #[test]
    fn a_file_cut_short_under_the_eyes_ends_nothing_and_is_told() {
        let (file, bytes) = file();
        for _ in 0..3 {
            let seen = look(&file, 0, SIZE, |part| {
                file.set_len(SIZE as u64 / 2).expect("cut");
                part.iter().map(|byte| u64::from(*byte)).sum::<u64>()
            });
            assert_eq!(seen, None);
            file.set_len(bytes.len() as u64).expect("grown");
            assert_eq!(look(&file, 0, SIZE / 2, <[u8]>::to_vec).as_deref(), bytes.get(..SIZE / 2));
        }
    }

    #[test]
    fn a_part_that_was_never_there_is_told() {
        let (file, _) = file();
        assert_eq!(look(&file, 4 * SIZE as u64, SIZE, <[u8]>::to_vec), None);
        assert_eq!(look(&file, 1, SIZE, <[u8]>::to_vec), None, "no place where a page begins");
        assert_eq!(look(&file, 0, 0, <[u8]>::to_vec), None);
    }

    #[test]
    fn another_bus_error_ends_the_process_as_ever() {
        const CHILD: &str = "HASHCTX_TEST_BUS_ERROR";
        let (file, _) = file();
        assert!(look(&file, 0, SIZE, <[u8]>::len).is_some());
        if std::env::var_os(CHILD).is_some() {
            let mapping = Mapping::new(&file, 0, SIZE).expect("mapped");
            file.set_len(0).expect("cut");
            unreachable!("nobody lives on to see {:?}", mapping.bytes().first());
        }
        let mut child = Command::new(std::env::current_exe().expect("this test"));
        let name = "files::mapped::tests::another_bus_error_ends_the_process_as_ever";
        let output = child.args(["--exact", name]).env(CHILD, "1").output().expect("run");
        assert_eq!(output.status.signal(), Some(libc::SIGBUS), "{output:?}");
    }
}
